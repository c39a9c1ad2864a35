// What the CPU and the CUDA renderer compute alike, number by number.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define EVERFACE_HD __host__ __device__
#else
#define EVERFACE_HD
#endif

namespace everface::render {

// How much a bin attracts the second pass, by the weights of its interval and the two beside it: blurred, and lifted by
// a constant so that nothing is missed for good (MipNeRF, section 3.2).
template <class R>
EVERFACE_HD static inline R attraction(R before, R here, R after) {
  const R left = before < here ? here : before, right = here < after ? after : here;
  return R(0.5) * (left + right) + R(0.01) + R(1e-5);
}

// Sums of the bins [samples - 2], from 0 to 1, from the weights [samples - 1] of the intervals. Bins lie between the
// middles of the intervals; the outer ones count for none, as in the published networks.
template <class R>
EVERFACE_HD static inline void cumulate(const R* weights, std::int64_t samples, R* sums) {
  sums[0] = R(0);
  for (std::int64_t i = 1; i + 2 < samples; ++i)
    sums[i] = sums[i - 1] + attraction(weights[i - 1], weights[i], weights[i + 1]);
  const R scale = R(1) / sums[samples - 3];
  for (std::int64_t i = 1; i + 2 < samples; ++i) sums[i] *= scale;
}

// The depth of a quantile; `from` is where the search starts and ends, and any number from 0 to samples - 3 will do.
template <class R>
EVERFACE_HD static inline R finer_depth(const R* depths, const R* sums, std::int64_t samples, R quantile,
                                        std::int64_t* from) {
  const std::int64_t last = samples - 3;
  std::int64_t below = *from;
  while (below < last && sums[below + 1] <= quantile) ++below;
  while (below > 0 && sums[below] > quantile) --below;
  *from = below;
  const std::int64_t above = sums[below] <= quantile && below < last ? below + 1 : below;
  const R rise = sums[above] - sums[below], width = rise < R(1e-5) ? R(1) : rise;
  const R start = R(0.5) * (depths[below] + depths[below + 1]), end = R(0.5) * (depths[above] + depths[above + 1]);
  return start + (quantile - sums[below]) / width * (end - start);
}

// What one interval takes of the light: exp(-matter) of it goes on.
template <class R>
struct Step {
  R weight, light;
};
template <class R>
EVERFACE_HD static inline Step<R> pass(R light, R left_over) {
  return {(R(1) - left_over) * light, left_over * light};
}

}  // namespace everface::render
