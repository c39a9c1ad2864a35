// Inner products and sums of vectors in memory.
#pragma once

#include <cmath>

#include "everface/core/simd.hpp"

namespace everface::hull::EVERFACE_ISA {

using namespace core::EVERFACE_ISA;  // NOLINT: the vectors of this instruction set

inline double dot(const double* a, const double* b, std::int64_t n) {
  constexpr std::int64_t lanes = kLanes<double>;
  Vec<double> s0{}, s1{};
  std::int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    s0 += load(a + i) * load(b + i);
    s1 += load(a + i + lanes) * load(b + i + lanes);
  }
  for (; i + lanes <= n; i += lanes) s0 += load(a + i) * load(b + i);
  double total = sum<double>(s0 + s1);
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

// y += a x over whole vectors: both are padded.
inline void axpy(double a, const double* x, double* y, std::int64_t n) {
  const Vec<double> av = splat(a);
  for (std::int64_t i = 0; i < n; i += kLanes<double>) store(y + i, load(y + i) + av * load(x + i));
}

}  // namespace everface::hull::EVERFACE_ISA
