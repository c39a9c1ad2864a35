// Per-element formulas that the CPU and the CUDA kernels share.
#pragma once

#include "everface/core/number.hpp"

namespace everface::hull {

// Within this fraction of the hull's radius a query counts as touching the hull, and its gap is relative to this
// distance: nearer than that, the weights' own rounding decides.
constexpr double kTouchingF64 = 1e-6, kTouchingF32 = 1e-3;

// With residual r = q - x and slack = max_i r.(v_i - x) >= 0, the hyperplane through the best vertex, normal to r,
// bounds the distance from below by |r| - slack / |r|. Returns (|r|^2 - bound^2) / max(|r|^2, touching2).
EVERFACE_HD static inline double relative_gap(double distance2, double slack, double touching2) {
  if (!(slack > 0.0) || !(distance2 > 0.0)) return 0.0;
  const double ratio = slack < distance2 ? slack / distance2 : 1.0;
  const double scale2 = distance2 > touching2 ? distance2 : touching2;
  return distance2 * (ratio * (2.0 - ratio)) / scale2;
}

// A coordinate of the caller's in ours.
EVERFACE_HD static inline double to_ours(double x, double centre, double scale) { return (x - centre) * scale; }

// One entry of X X^T + shift, rows of X with stride d.
EVERFACE_HD static inline double gram_entry(const double* rows, long d, long i, long j, double shift) {
  double total = shift;
  for (long k = 0; k < d; ++k) total += rows[i * d + k] * rows[j * d + k];
  return total;
}

// The rounding error to expect in slack and distance2 when they come from inner products of item precision epsilon.
EVERFACE_HD static inline double inner_product_error(double epsilon, double norm2, double radius2, double root) {
  // root = |q| |v| of the largest vertex; the vertices' own products are always summed in float64.
  return 2.0 * epsilon * root + 16.0 * 2.2e-16 * (radius2 + 1e-3 * norm2);
}

}  // namespace everface::hull
