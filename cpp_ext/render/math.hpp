// exp, softplus and sigmoid of vectors, to about one unit in the last place of a float.
#pragma once

#include <cmath>

#include "everface/core/simd.hpp"

namespace everface::render {
namespace EVERFACE_ISA {

using namespace core::EVERFACE_ISA;  // NOLINT: the vectors of this instruction set

// exp of numbers that are not above 0; below -87 it is that of -87, about 1e-38.
EVERFACE_INLINE Vec<float> exp_falling(Vec<float> x) {
  constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number, in the lowest bits
  x = maximum(x, splat(-87.0f));
  const Vec<float> shifted = x * 1.44269504f + magic;
  const Vec<float> n = shifted - magic;
  const Vec<float> r = x - n * 0.693359375f + n * 2.12194440e-4f;
  Vec<float> p = splat(1.394858118e-3f);
  p = p * r + 8.375128731e-3f;
  p = p * r + 4.166621715e-2f;
  p = p * r + 0.1666641533f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  Whole<float> bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + (127 - 0x4B400000)) << 23;
  Vec<float> power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

EVERFACE_INLINE Vec<double> exp_falling(Vec<double> x) {
  double lanes[kLanes<double>];
  store(lanes, x);
  for (double& lane : lanes) lane = ::exp(lane);
  return load(lanes);
}

// log(1 + x) for 0 <= x <= 1.
EVERFACE_INLINE Vec<float> log_above_one(Vec<float> x) {
  Vec<float> p = splat(5.253457930e-3f);
  p = p * x - 2.958850749e-2f;
  p = p * x + 7.836166769e-2f;
  p = p * x - 0.1367476970f;
  p = p * x + 0.1911143065f;
  p = p * x - 0.2484436929f;
  p = p * x + 0.3331927061f;
  p = p * x - 0.4999950230f;
  p = p * x + 1.0f;
  return p * x;
}

EVERFACE_INLINE Vec<double> log_above_one(Vec<double> x) {
  double lanes[kLanes<double>];
  store(lanes, x);
  for (double& lane : lanes) lane = ::log1p(lane);
  return load(lanes);
}

template <class R>
EVERFACE_INLINE Vec<R> no_more_than_zero(Vec<R> x) {
  return minimum(x, splat(R(0)) - x);  // -|x|
}

template <class R>
EVERFACE_INLINE Vec<R> softplus(Vec<R> x) {
  return maximum(x, splat(R(0))) + log_above_one(exp_falling(no_more_than_zero<R>(x)));
}

template <class R>
EVERFACE_INLINE Vec<R> sigmoid(Vec<R> x) {
  const Vec<R> e = exp_falling(no_more_than_zero<R>(x));
  const Vec<R> one = splat(R(1));
  return (x < splat(R(0)) ? e : one) / (one + e);
}

}  // namespace EVERFACE_ISA
}  // namespace everface::render
