// Adam (Kingma and Ba 2015) as PyTorch computes it, one pass over weights, moments and gradients.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "everface/core/pool.hpp"

namespace everface::learn {

constexpr float kMomentum = 0.9f, kDecay = 0.999f, kEpsilon = 1e-8f;

// step counts from 1.
inline void adam(std::int64_t count, std::int64_t step, float learning_rate, const float* gradient, float* value,
                 float* mean, float* square, Pool& pool) {
  const double exponent = static_cast<double>(step);
  const auto rate = static_cast<float>(static_cast<double>(learning_rate) / (1 - std::pow(0.9, exponent)));
  const auto correction = static_cast<float>(1 / std::sqrt(1 - std::pow(0.999, exponent)));
  constexpr std::int64_t share = 1 << 15;
  pool.dynamic((count + share - 1) / share, [&](std::int64_t task, int) {
    const std::int64_t end = std::min(count, (task + 1) * share);
    for (std::int64_t i = task * share; i < end; ++i) {
      const float g = gradient[i];
      const float m = mean[i] = mean[i] + (g - mean[i]) * (1 - kMomentum);
      const float v = square[i] = square[i] * kDecay + g * g * (1 - kDecay);
      value[i] -= rate * m / (std::sqrt(v) * correction + kEpsilon);
    }
  });
}

}  // namespace everface::learn
