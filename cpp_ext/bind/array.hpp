// Arrays at the border to Python: each argument's type, shape, order, place and writability are checked here, so that
// nothing behind it has to. The memory stays the caller's, and is not copied.
//
// An argument is a NumPy array; a DLPack capsule, which PyTorch makes in a quarter of a microsecond, for what NumPy
// lacks (CUDA memory, bfloat16); or any object that has __dlpack__. NumPy's uint16 stands for bfloat16.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <vector>

#include "everface/core/number.hpp"

namespace everface::bind {

namespace py = pybind11;

enum class Type { kFloat32, kFloat64, kBfloat16, kInt32, kInt64, kOther };

template <class T>
constexpr Type type_of() {
  if constexpr (std::is_same_v<T, float>) return Type::kFloat32;
  if constexpr (std::is_same_v<T, double>) return Type::kFloat64;
  if constexpr (std::is_same_v<T, bf16>) return Type::kBfloat16;
  if constexpr (std::is_same_v<T, std::int32_t>) return Type::kInt32;
  if constexpr (std::is_same_v<T, std::int64_t>) return Type::kInt64;
}

const char* name_of(Type type);

// Where memory lies: on the host, or on a CUDA device of that number.
struct Place {
  int cuda = -1;
  bool operator==(const Place& other) const { return cuda == other.cuda; }
};

// One axis as it was expected: of a size, or of any size under a name.
struct Axis {
  Axis(std::int64_t size) : size(size) {}  // NOLINT: sizes and names mix in the lists below
  Axis(const char* name) : name(name) {}   // NOLINT
  std::int64_t size = -1;
  const char* name = nullptr;
};
using Shape = std::initializer_list<Axis>;

// What an argument is, before anybody has expected anything of it.
class Array {
 public:
  // Throws py::value_error if the object is no array.
  Array(std::string name, const py::object& object);

  bool writable() const { return writable_; }
  const py::object& owner() const { return owner_; }
  Type type() const { return type_; }
  Place place() const { return place_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  std::int64_t size(std::size_t axis) const { return shape_[axis]; }
  std::size_t rank() const { return shape_.size(); }
  std::int64_t elements() const;

  // The first number of a C-ordered array of T of that shape at that place. Throws py::value_error naming the argument,
  // what was expected and what was found.
  template <class T>
  const T* read(Shape shape, Place place = {}) const {
    check(type_of<T>(), shape, place, false);
    return static_cast<const T*>(data_);
  }
  // The same of any shape.
  template <class T>
  const T* read() const {
    const bool fits = type_ == type_of<T>() && c_order_ && place_ == Place();
    if (!fits) refuse(std::string(name_of(type_of<T>())) + " in C order on the CPU");
    return static_cast<const T*>(data_);
  }
  template <class T>
  T* write(Shape shape, Place place = {}) const {
    check(type_of<T>(), shape, place, true);
    return static_cast<T*>(data_);
  }
  [[noreturn]] void refuse(const std::string& expected) const;

 private:
  void from_numpy(const py::array& array);
  void from_capsule(const py::capsule& capsule);
  void check(Type type, Shape shape, Place place, bool writable) const;
  std::string describe() const;

  std::string name_;
  py::object owner_;  // keeps the memory
  void* data_ = nullptr;
  Type type_ = Type::kOther;
  Place place_;
  std::vector<std::int64_t> shape_;
  bool c_order_ = false, writable_ = false;
};

// Calls body with a number of the array's type, which is one of T. Throws py::value_error if it is another.
template <class... T, class Body>
void with_type(const Array& array, Body&& body) {
  if (((array.type() == type_of<T>() && (body(T{}), true)) || ...)) return;
  std::string names;
  ((names += (names.empty() ? "" : " or ") + std::string(name_of(type_of<T>()))), ...);
  array.refuse(names);
}

// The same in one step; None gives null.
template <class T>
const T* read(const char* name, const py::object& object, Shape shape, Place place = {}) {
  return object.is_none() ? nullptr : Array(name, object).read<T>(shape, place);
}
template <class T>
T* write(const char* name, const py::object& object, Shape shape, Place place = {}) {
  return object.is_none() ? nullptr : Array(name, object).write<T>(shape, place);
}

}  // namespace everface::bind
