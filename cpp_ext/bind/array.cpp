#include "array.hpp"

#include <cstring>
#include <utility>

#include "dlpack.hpp"

namespace everface::bind {
namespace {

std::string name_of(Place place) { return place.cuda < 0 ? "on the CPU" : "on cuda:" + std::to_string(place.cuda); }

Type type_of(char kind, std::int64_t bytes) {
  if (kind == 'f' && bytes == 4) return Type::kFloat32;
  if (kind == 'f' && bytes == 8) return Type::kFloat64;
  if (kind == 'u' && bytes == 2) return Type::kBfloat16;
  if (kind == 'i' && bytes == 4) return Type::kInt32;
  if (kind == 'i' && bytes == 8) return Type::kInt64;
  return Type::kOther;
}

Type type_of(const dlpack::Tensor& tensor) {
  if (tensor.lanes != 1) return Type::kOther;
  if (tensor.type_code == dlpack::kBfloat && tensor.bits == 16) return Type::kBfloat16;
  if (tensor.type_code == dlpack::kFloat && tensor.bits >= 32) return type_of('f', tensor.bits / 8);
  if (tensor.type_code == dlpack::kInt && tensor.bits >= 32) return type_of('i', tensor.bits / 8);
  return Type::kOther;
}

// strides count elements where unit is 1, bytes where it is an element's size. An array without elements has any order.
template <class Int>
bool in_c_order(const std::vector<std::int64_t>& shape, const Int* strides, std::int64_t unit) {
  std::int64_t step = unit;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    if (shape[axis] == 0) return true;
    if (shape[axis] != 1 && strides[axis] != step) {
      for (std::size_t rest = axis; rest-- > 0;)
        if (shape[rest] == 0) return true;
      return false;
    }
    step *= shape[axis];
  }
  return true;
}

std::string text_of(Shape shape) {
  std::string text = "[";
  for (const Axis& axis : shape) {
    if (text.size() > 1) text += ", ";
    text += axis.name != nullptr ? axis.name : std::to_string(axis.size);
  }
  return text + "]";
}

}  // namespace

const char* name_of(Type type) {
  constexpr const char* names[] = {"float32", "float64", "bfloat16", "int32", "int64", "another type"};
  return names[static_cast<int>(type)];
}

Array::Array(std::string name, const py::object& object) : name_(std::move(name)), owner_(object) {
  if (py::isinstance<py::array>(object)) {
    from_numpy(py::reinterpret_borrow<py::array>(object));
    return;
  }
  if (!PyCapsule_CheckExact(object.ptr())) {
    if (!py::hasattr(object, "__dlpack__")) {
      throw py::value_error(name_ + ": expected an array, found " +
                            py::cast<std::string>(py::type::of(object).attr("__name__")));
    }
    owner_ = object.attr("__dlpack__")();
  }
  from_capsule(py::reinterpret_borrow<py::capsule>(owner_));
}

void Array::from_numpy(const py::array& array) {
  const py::dtype dtype = array.dtype();
  const bool native = dtype.byteorder() == '=' || dtype.byteorder() == '|';
  type_ = native ? type_of(dtype.kind(), dtype.itemsize()) : Type::kOther;
  shape_.assign(array.shape(), array.shape() + array.ndim());
  c_order_ = in_c_order(shape_, array.strides(), dtype.itemsize());
  // Kernels load whole numbers: an odd address would be undefined behaviour, and a trap on some processors.
  if (reinterpret_cast<std::uintptr_t>(array.data()) % static_cast<std::uintptr_t>(dtype.alignment()) != 0) {
    c_order_ = false;
  }
  writable_ = array.writeable();
  data_ = const_cast<void*>(array.data());
}

void Array::from_capsule(const py::capsule& capsule) {
  const char* kind = PyCapsule_GetName(capsule.ptr());
  const dlpack::Tensor* tensor = nullptr;
  writable_ = true;
  if (kind != nullptr && std::strcmp(kind, "dltensor") == 0) {
    tensor = &static_cast<dlpack::Managed*>(PyCapsule_GetPointer(capsule.ptr(), kind))->tensor;
  } else if (kind != nullptr && std::strcmp(kind, "dltensor_versioned") == 0) {
    const auto* managed = static_cast<dlpack::Versioned*>(PyCapsule_GetPointer(capsule.ptr(), kind));
    if (managed->major == 1) tensor = &managed->tensor;
    writable_ = (managed->flags & dlpack::Versioned::kReadOnly) == 0;
  }
  if (tensor == nullptr) {
    throw py::value_error(name_ + ": expected an unused DLPack capsule, found one named " +
                          (kind == nullptr ? "nothing" : kind));
  }
  if (tensor->device_type == dlpack::kCuda) {
    place_.cuda = tensor->device_id;
  } else if (tensor->device_type != dlpack::kHost && tensor->device_type != dlpack::kCudaHost) {
    throw py::value_error(name_ + ": expected memory of the CPU or of a CUDA device");
  }
  type_ = type_of(*tensor);
  shape_.assign(tensor->shape, tensor->shape + tensor->rank);
  c_order_ = tensor->strides == nullptr || in_c_order(shape_, tensor->strides, 1);
  data_ = static_cast<std::byte*>(tensor->data) + tensor->byte_offset;
}

void Array::check(Type type, Shape shape, Place place, bool writable) const {
  bool fits = type == type_ && place == place_ && shape.size() == shape_.size() && c_order_ && (writable_ || !writable);
  for (std::size_t axis = 0; fits && axis < shape_.size(); ++axis) {
    const Axis& expected = shape.begin()[axis];
    fits = expected.name != nullptr || expected.size == shape_[axis];
  }
  if (fits) return;
  refuse(std::string(writable ? "writable " : "") + name_of(type) + " " + text_of(shape) + " in C order " +
         name_of(place));
}

std::int64_t Array::elements() const {
  std::int64_t count = 1;
  for (const std::int64_t side : shape_) count *= side;
  return count;
}

void Array::refuse(const std::string& expected) const {
  throw py::value_error(name_ + ": expected " + expected + ", found " + describe());
}

std::string Array::describe() const {
  std::string text = std::string(writable_ ? "" : "read-only ") + name_of(type_) + " [";
  for (std::size_t axis = 0; axis < shape_.size(); ++axis) {
    text += (axis > 0 ? ", " : "") + std::to_string(shape_[axis]);
  }
  return text + "]" + (c_order_ ? " " : " in another order ") + name_of(place_);
}

}  // namespace everface::bind
