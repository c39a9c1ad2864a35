#include "adam.hpp"

#include <algorithm>
#include <cmath>

#include "everface/core/tables.hpp"

namespace everface::learn {

EVERFACE_TABLES(EVERFACE_FLOAT_SETS, AdamPass, adam_pass)

void adam(std::int64_t count, std::int64_t step, float learning_rate, const float* gradient, float* value, float* mean,
          float* square, Pool& pool) {
  static const AdamPass pass = choose_adam_pass();
  const auto exponent = static_cast<double>(step);
  const AdamRates rates{static_cast<float>(static_cast<double>(learning_rate) / (1 - std::pow(0.9, exponent))),
                        static_cast<float>(1 / std::sqrt(1 - std::pow(0.999, exponent)))};
  constexpr std::int64_t share = 1 << 15;
  pool.dynamic((count + share - 1) / share, [&](std::int64_t task, int) {
    const std::int64_t at = task * share;
    pass(std::min(share, count - at), rates, gradient + at, value + at, mean + at, square + at);
  });
}

}  // namespace everface::learn
