// What the CPU and the CUDA renderer compute alike, number by number.
#pragma once

#include <cmath>
#include <cstdint>

#include "everface/core/number.hpp"

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

template <class R>
EVERFACE_HD static inline R softplus_of(R x) {
  return x > R(0) ? x + ::log1p(::exp(-x)) : ::log1p(::exp(x));
}

template <class R>
EVERFACE_HD static inline R sigmoid_of(R x) {
  return R(1) / (R(1) + ::exp(-x));
}

// From the shares' gradients [n] to those of the densities before softplus, all by depth; weights [n - 1]. `light` [n]
// is scratch: what is left behind each interval.
template <class R>
EVERFACE_HD static inline void density_gradients(const R* weights, const R* shares, const R* densities, const R* depths,
                                                 std::int64_t n, R by_opacity, R* light, R* out) {
  R left = 1;
  for (std::int64_t k = 0; k + 1 < n; ++k) left -= weights[k], light[k] = left < R(0) ? R(0) : left;
  for (std::int64_t i = 0; i < n; ++i) out[i] = 0;
  R behind = 0;  // gradient times weight of the intervals behind, all of which a denser one darkens
  for (std::int64_t k = n - 2; k >= 0; --k) {
    const R by_weight = R(0.5) * (shares[k] + shares[k + 1]) + by_opacity;
    const R by_matter = by_weight * light[k] - behind;
    behind += by_weight * weights[k];
    const R slope = sigmoid_of(R(0.5) * (densities[k] + densities[k + 1]) - R(1));
    const R half = R(0.5) * by_matter * (depths[k + 1] - depths[k]) * slope;
    out[k] += half, out[k + 1] += half;
  }
}

// The four texels of a plane around (u, v), in texels from the centre of the first, as numbers in [3, height, width],
// and their weights: zero outside. A u or v that is no number counts as outside.
template <class R>
EVERFACE_HD static inline void find_texels(R u, R v, long width, long height, int plane, int* texel, R* weight) {
  const R at[2] = {u, v};
  const long side[2] = {width, height};
  long low[2];
  R part[2];
  for (int a = 0; a < 2; ++a) {
    R x = at[a] > R(-2) ? at[a] : R(-2);
    if (x > R(side[a] + 1)) x = R(side[a] + 1);
    low[a] = static_cast<long>(::floor(static_cast<double>(x))), part[a] = x - R(low[a]);
  }
  for (int corner = 0; corner < 4; ++corner) {
    const long x = low[0] + corner % 2, y = low[1] + corner / 2;
    const bool inside = x >= 0 && y >= 0 && x < width && y < height;
    const R across = corner % 2 ? part[0] : R(1) - part[0], down = corner / 2 ? part[1] : R(1) - part[1];
    texel[corner] = inside ? static_cast<int>((plane * height + y) * width + x) : 0;
    weight[corner] = inside ? across * down : R(0);
  }
}

}  // namespace everface::render
