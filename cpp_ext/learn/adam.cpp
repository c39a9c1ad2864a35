#include "adam.hpp"

#include <algorithm>
#include <cmath>

#include "everface/core/isa.hpp"

namespace everface::learn {
namespace {

using Pass = void (*)(std::int64_t, AdamRates, const float*, float*, float*, float*);

}  // namespace

#define EVERFACE_DECLARE(isa)                                                    \
  namespace isa {                                                                \
  void adam_pass(std::int64_t, AdamRates, const float*, float*, float*, float*); \
  static Pass pass() { return adam_pass; }                                       \
  }
EVERFACE_DECLARE(base)
#if defined(EVERFACE_X86_KERNELS)
EVERFACE_DECLARE(avx2)
EVERFACE_DECLARE(avx512)
#endif

void adam(std::int64_t count, std::int64_t step, float learning_rate, const float* gradient, float* value, float* mean,
          float* square, Pool& pool) {
  static const Pass pass = choose_kernels<Pass>({
      {Isa::kBase, base::pass},
#if defined(EVERFACE_X86_KERNELS)
      {Isa::kAvx2, avx2::pass},
      {Isa::kAvx512, avx512::pass},
#endif
  });
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
