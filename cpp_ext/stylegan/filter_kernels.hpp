// What the drivers of filter.cpp and the kernels of filter.inl (one set per instruction set) share.
#pragma once

#include "everface/filter.hpp"

namespace everface::stylegan {

template <class E>
struct FilterKernels {
  using R = Real<E>;
  // Rows of the result, counted over all images (and planes, where channels are not last); line has room for a row of
  // x and a few vectors more.
  void (*rows)(const Resampling& job, const E* x, const R* taps, E* y, R* line, std::int64_t begin, std::int64_t end);
  // Runs of `inner` elements of one channel, or, where inner is 1, pixels of all channels.
  void (*bias_act)(const BiasAct<E>& job, const E* x, const R* bias, E* y, std::int64_t begin, std::int64_t end);
  // Elements.
  void (*bias_act_grad)(const BiasAct<E>& job, const E* dy, const E* y, E* dx, std::int64_t begin, std::int64_t end);
};

// Of the set that the convolutions' kernels chose.
template <class E>
const FilterKernels<E>& filter_kernels();

}  // namespace everface::stylegan
