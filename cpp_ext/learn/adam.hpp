// Adam (Kingma and Ba 2015) as PyTorch computes it, one pass over weights, moments and gradients.
#pragma once

#include <cstdint>

#include "everface/core/pool.hpp"

namespace everface::learn {

// Of one step: the learning rate and the second moment's root, corrected for the moments' start at zero.
struct AdamRates {
  float rate, correction;
};

constexpr float kMomentum = 0.9f, kDecay = 0.999f, kEpsilon = 1e-8f;

// The pass of one instruction set over numbers of its own.
using AdamPass = void (*)(std::int64_t count, AdamRates rates, const float* gradient, float* value, float* mean,
                          float* square);

// step counts from 1.
void adam(std::int64_t count, std::int64_t step, float learning_rate, const float* gradient, float* value, float* mean,
          float* square, Pool& pool);

}  // namespace everface::learn
