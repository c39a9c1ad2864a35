// The memory behind a View.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "kernels.hpp"

namespace everface::hull {

// Memory on cache-line boundaries, zeroed unless the caller writes all of it first.
template <class T>
class Aligned {
 public:
  Aligned() = default;
  explicit Aligned(std::size_t count, bool zeroed = true)
      : data_(count ? static_cast<T*>(::operator new(count * sizeof(T), kLine)) : nullptr) {
    for (std::size_t i = 0; zeroed && i < count; ++i) data_.get()[i] = T(0);
  }
  T* get() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kLine{64};
  struct Free {
    void operator()(T* at) const { ::operator delete(at, kLine); }
  };
  std::unique_ptr<T, Free> data_;
};

class Prepared {
 public:
  View view;
  const Kernels* kernels = nullptr;
  double unscale = 1.0;  // our distances to the caller's, dilation included
  double beta = 0.0;
  double stretch = 1.0;  // 1 + m beta
  int item = 8;          // bytes of a query number
  Aligned<double> vertices, gram, diagonal, inverse, packed_inverse, centre;
  Aligned<double> packed_f64;
  Aligned<float> packed_f32;
};

}  // namespace everface::hull
