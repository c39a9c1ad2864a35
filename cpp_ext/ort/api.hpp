// ONNX Runtime's C API with errors as exceptions, and those as its statuses again. Nothing of the runtime is linked: it
// hands over a table of functions when it loads the library.
#pragma once

#include <onnxruntime_c_api.h>

#include <array>
#include <climits>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "everface/core/number.hpp"

namespace everface::ort {

// A graph that breaks an operator's contract; the message names the input or attribute.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <class E>
constexpr ONNXTensorElementDataType type_of() {
  return sizeof(E) == 2 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
}

struct Tensor {
  const void* data = nullptr;  // null for an optional input that is absent
  std::vector<std::int64_t> shape;

  template <class T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
  explicit operator bool() const { return data != nullptr; }
};

std::string show(const std::vector<std::int64_t>& shape);

class Api {
 public:
  explicit Api(const OrtApi* api) : api_(api) {}

  const OrtApi* operator->() const { return api_; }
  void check(OrtStatus* status, const char* subject = "everface operators") const;

  std::int64_t integer(const OrtKernelInfo* info, const char* name) const;
  float real(const OrtKernelInfo* info, const char* name) const;
  Tensor constant(const OrtKernelInfo* info, std::size_t index, const char* name) const;  // float32
  Tensor input(const OrtKernelContext* context, std::size_t index, const char* name, ONNXTensorElementDataType type,
               bool optional = false) const;
  void* output(OrtKernelContext* context, const std::vector<std::int64_t>& shape) const;

 private:
  Tensor view(const OrtValue* value, const char* name, ONNXTensorElementDataType type) const;

  const OrtApi* api_;
};

void require(bool ok, const char* subject, const std::string& expected, const std::string& found);

// The number of elements, or a Failure where it is negative or beyond what any machine holds.
std::int64_t elements(const std::vector<std::int64_t>& shape, const char* name);

template <class Body>
OrtStatus* guarded(const OrtApi* api, const Body& body) {
  try {
    body();
    return nullptr;
  } catch (const Failure& failure) {
    return api->CreateStatus(ORT_INVALID_ARGUMENT, failure.what());
  } catch (const std::bad_alloc&) {
    return api->CreateStatus(ORT_FAIL, "everface operators: out of memory");
  } catch (const std::exception& error) {
    return api->CreateStatus(ORT_FAIL, error.what());
  }
}

// An operator for one kernel class, which has: kName, Element, Output, a constructor from (Api, info), and compute().
// Of its five inputs the first holds Elements and the others floats; the last is optional.
template <class Kernel>
struct Operator : OrtCustomOp {
  using Element = typename Kernel::Element;
  Operator() : OrtCustomOp{} {
    version = ORT_API_VERSION;
    GetName = [](const OrtCustomOp*) { return Kernel::kName; };
    GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };
    GetInputTypeCount = [](const OrtCustomOp*) { return std::size_t{5}; };
    GetInputType = [](const OrtCustomOp*, std::size_t i) { return i == 0 ? type_of<Element>() : type_of<float>(); };
    GetInputCharacteristic = [](const OrtCustomOp*, std::size_t i) {
      return i == 4 ? INPUT_OUTPUT_OPTIONAL : INPUT_OUTPUT_REQUIRED;
    };
    GetInputMemoryType = [](const OrtCustomOp*, std::size_t) { return OrtMemTypeDefault; };
    GetOutputTypeCount = [](const OrtCustomOp*) { return std::size_t{1}; };
    GetOutputType = [](const OrtCustomOp*, std::size_t) { return type_of<typename Kernel::Output>(); };
    GetOutputCharacteristic = [](const OrtCustomOp*, std::size_t) { return INPUT_OUTPUT_REQUIRED; };
    GetVariadicInputMinArity = GetVariadicOutputMinArity = [](const OrtCustomOp*) { return 0; };
    GetVariadicInputHomogeneity = GetVariadicOutputHomogeneity = [](const OrtCustomOp*) { return 0; };
    GetStartVersion = [](const OrtCustomOp*) { return 1; };
    GetEndVersion = [](const OrtCustomOp*) { return INT_MAX; };
    CreateKernelV2 = [](const OrtCustomOp*, const OrtApi* api, const OrtKernelInfo* info, void** kernel) {
      return guarded(api, [&] { *kernel = new Kernel(Api(api), info); });
    };
    KernelComputeV2 = [](void* kernel, OrtKernelContext* context) {
      auto* self = static_cast<Kernel*>(kernel);
      return guarded(self->api.operator->(), [&] { self->compute(context); });
    };
    KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
  }
};

// Those of this library, for float32 and bfloat16.
using Operators = std::array<const OrtCustomOp*, 2>;
Operators modulated_conv_operators();
Operators to_rgb_operators();

}  // namespace everface::ort
