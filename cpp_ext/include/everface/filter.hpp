// StyleGAN2's two other operators on the CPU, free of any framework: resampling with a separable FIR filter, and bias
// with activation (Karras et al. 2020, arXiv 1912.04958, appendix B; Karras et al. 2021, arXiv 2106.12423).
#pragma once

#include <cstdint>

#include "everface/core/number.hpp"
#include "everface/core/pool.hpp"

namespace everface::stylegan {

// Along one axis, with p = out * down + k: y[out] = sum_k taps[count - 1 - k] x[(p - before) / up], where the division
// is exact and its result inside of the image; other terms are zero.
struct Axis {
  std::int64_t in = 0, out = 0, before = 0;
};

// Images are dense: [batch, channels, height, width], or channels last. Gradients are the same operator with up and
// down exchanged, the taps turned round, and other margins.
struct Resampling {
  std::int64_t batch = 0, channels = 0;
  Axis rows, columns;
  std::int64_t up = 1, down = 1;
  std::int64_t taps = 0;
  bool channels_last = false;
};

template <class E>
void upfirdn(const Resampling& job, const E* x, const Real<E>* taps, E* y, Pool& pool);

// x[outer, channels, inner], so that any dense layout is one: inner is 1 where channels are last.
template <class E>
struct BiasAct {
  std::int64_t outer = 0, channels = 0, inner = 0;
  Real<E> slope = 1, gain = 1, clamp = Real<E>(3.4e38);
};

// y = clamp(lrelu(x + bias) gain); the bias may be null.
template <class E>
void bias_act(const BiasAct<E>& job, const E* x, const Real<E>* bias, E* y, Pool& pool);

// dx = dy gain lrelu'(x + bias), zero where y is clamped; the gain is above 0, so that y tells the sign.
template <class E>
void bias_act_grad(const BiasAct<E>& job, const E* dy, const E* y, E* dx, Pool& pool);

}  // namespace everface::stylegan
