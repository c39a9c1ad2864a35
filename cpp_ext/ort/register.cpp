// The library's one exported function, which ONNX Runtime calls by its name.
#include <mutex>
#include <utility>
#include <vector>

#include "modulated_conv.hpp"
#include "to_rgb.hpp"

namespace {

constexpr const char* kDomain = "everface";

using everface::bf16;
using everface::ort::ModulatedConv;
using everface::ort::Operator;
using everface::ort::ToRGB;

OrtStatus* make_domain(const OrtApi* api, OrtCustomOpDomain** domain) {
  static const Operator<ModulatedConv<float>> conv_float;
  static const Operator<ModulatedConv<bf16>> conv_bf16;
  static const Operator<ToRGB<float>> rgb_float;
  static const Operator<ToRGB<bf16>> rgb_bf16;
  if (OrtStatus* status = api->CreateCustomOpDomain(kDomain, domain)) return status;
  const OrtCustomOp* all[] = {&conv_float, &conv_bf16, &rgb_float, &rgb_bf16};
  for (const OrtCustomOp* op : all) {
    if (OrtStatus* status = api->CustomOpDomain_Add(*domain, op)) {
      api->ReleaseCustomOpDomain(*domain);
      return status;
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
