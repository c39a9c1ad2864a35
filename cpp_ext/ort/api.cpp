#include "api.hpp"

namespace everface::ort {
namespace {

// Dimensions and products of them beyond these are hostile: they would overflow before any allocation fails.
constexpr std::int64_t kMostElements = std::int64_t{1} << 40;

}  // namespace

std::string show(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

void require(bool ok, const char* subject, const std::string& expected, const std::string& found) {
  if (!ok) throw Failure(std::string(subject) + ": expected " + expected + ", found " + found);
}

std::int64_t elements(const std::vector<std::int64_t>& shape, const char* name) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) {
    if (size < 0 || (size > 0 && count > kMostElements / size))
      throw Failure(std::string(name) + ": expected a sensible size, found " + show(shape));
    count *= size;
  }
  return count;
}

void Api::check(OrtStatus* status, const char* subject) const {
  if (status == nullptr) return;
  const std::string message = api_->GetErrorMessage(status);
  api_->ReleaseStatus(status);
  throw Failure(std::string(subject) + ": " + message);
}

std::int64_t Api::integer(const OrtKernelInfo* info, const char* name) const {
  std::int64_t value = 0;
  check(api_->KernelInfoGetAttribute_int64(info, name, &value), name);
  return value;
}

float Api::real(const OrtKernelInfo* info, const char* name) const {
  float value = 0;
  check(api_->KernelInfoGetAttribute_float(info, name, &value), name);
  return value;
}

Tensor Api::view(const OrtValue* value, const char* name, ONNXTensorElementDataType type) const {
  int is_tensor = 0;
  check(api_->IsTensor(value, &is_tensor));
  if (!is_tensor) throw Failure(std::string(name) + ": expected a tensor");
  OrtTensorTypeAndShapeInfo* info = nullptr;
  check(api_->GetTensorTypeAndShape(value, &info));
  Tensor tensor;
  ONNXTensorElementDataType found = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  std::size_t rank = 0;
  OrtStatus* status = api_->GetTensorElementType(info, &found);
  if (status == nullptr) status = api_->GetDimensionsCount(info, &rank);
  if (status == nullptr) {
    tensor.shape.resize(rank);
    status = api_->GetDimensions(info, tensor.shape.data(), rank);
  }
  api_->ReleaseTensorTypeAndShapeInfo(info);
  check(status);
  if (found != type) throw Failure(std::string(name) + ": unexpected element type " + std::to_string(found));
  elements(tensor.shape, name);
  void* data = nullptr;
  check(api_->GetTensorMutableData(const_cast<OrtValue*>(value), &data));
  static const std::int64_t nothing = 0;
  tensor.data = data ? data : &nothing;  // an empty tensor may have no address, but is not absent
  return tensor;
}

Tensor Api::constant(const OrtKernelInfo* info, std::size_t index, const char* name) const {
  std::size_t count = 0;
  check(api_->KernelInfo_GetInputCount(info, &count));
  int is_constant = 0;
  const OrtValue* value = nullptr;
  if (index < count) check(api_->KernelInfoGetConstantInput_tensor(info, index, &is_constant, &value));
  if (!is_constant || value == nullptr) throw Failure(std::string(name) + ": expected a constant initializer");
  return view(value, name, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
}

Tensor Api::input(const OrtKernelContext* context, std::size_t index, const char* name, ONNXTensorElementDataType type,
                  bool optional) const {
  std::size_t count = 0;
  check(api_->KernelContext_GetInputCount(context, &count));
  const OrtValue* value = nullptr;
  if (index < count) check(api_->KernelContext_GetInput(context, index, &value));
  if (value == nullptr) {
    if (optional) return {};
    throw Failure(std::string(name) + ": missing");
  }
  return view(value, name, type);
}

void* Api::output(OrtKernelContext* context, const std::vector<std::int64_t>& shape) const {
  OrtValue* value = nullptr;
  check(api_->KernelContext_GetOutput(context, 0, shape.data(), shape.size(), &value));
  void* data = nullptr;
  check(api_->GetTensorMutableData(value, &data));
  return data;
}

}  // namespace everface::ort
