// The library's one exported function, which ONNX Runtime calls by its name.
#include <mutex>
#include <utility>
#include <vector>

#include "api.hpp"

namespace {

constexpr const char* kDomain = "everface";

OrtStatus* make_domain(const OrtApi* api, OrtCustomOpDomain** domain) {
  if (OrtStatus* status = api->CreateCustomOpDomain(kDomain, domain)) return status;
  for (const auto& operators : {everface::ort::modulated_conv_operators(), everface::ort::to_rgb_operators()}) {
    for (const OrtCustomOp* op : operators) {
      if (OrtStatus* status = api->CustomOpDomain_Add(*domain, op)) {
        api->ReleaseCustomOpDomain(*domain);
        return status;
      }
    }
  }
  return nullptr;
}

// Session options refer to their domains by address, and the runtime never says when it is done with one: there is one
// domain for each runtime in the process, and it stays.
OrtStatus* add_domain(const OrtApi* api, OrtSessionOptions* options) {
  static std::mutex mutex;
  static std::vector<std::pair<const OrtApi*, OrtCustomOpDomain*>> domains;
  const std::lock_guard<std::mutex> guard(mutex);
  for (const auto& [known, domain] : domains)
    if (known == api) return api->AddCustomOpDomain(options, domain);
  OrtCustomOpDomain* domain = nullptr;
  if (OrtStatus* status = make_domain(api, &domain)) return status;
  domains.emplace_back(api, domain);
  return api->AddCustomOpDomain(options, domain);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) OrtStatus* ORT_API_CALL RegisterCustomOps(OrtSessionOptions* options,
                                                                                            const OrtApiBase* base) {
  const OrtApi* api = base->GetApi(ORT_API_VERSION);
  if (api == nullptr) {
    const OrtApi* oldest = base->GetApi(1);
    return oldest ? oldest->CreateStatus(ORT_FAIL, "everface operators: expected ONNX Runtime 1.17 or later") : nullptr;
  }
  return add_domain(api, options);
}
