// Adam's pass of one instruction set (see cmake/kernels.cmake): on two cores it waits for memory, not for square roots.
#include "adam.hpp"

namespace everface::learn {
namespace EVERFACE_ISA {
namespace {

void pass(std::int64_t count, AdamRates rates, const float* __restrict gradient, float* __restrict value,
          float* __restrict mean, float* __restrict square) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float g = gradient[i];
    const float m = mean[i] = mean[i] + (g - mean[i]) * (1 - kMomentum);
    const float v = square[i] = square[i] * kDecay + g * g * (1 - kDecay);
    value[i] -= rates.rate * m / (__builtin_sqrtf(v) * rates.correction + kEpsilon);
  }
}

}  // namespace

AdamPass adam_pass() { return pass; }

}  // namespace EVERFACE_ISA
}  // namespace everface::learn
