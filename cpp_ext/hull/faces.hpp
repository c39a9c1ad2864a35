// Distances of many points to the hull of vertices known by their Gram matrix only.
#pragma once

#include "active_set.hpp"

namespace everface::hull::EVERFACE_ISA {

// h: [count, ld_h] v_i . p, norm2: [count]; distance2: [count]; weight: null or [count, m].
inline void gram_distances(const View& view, const double* h, std::int64_t ld_h, const double* norm2,
                           std::int64_t count, double* scratch, double* distance2, double* weight) {
  Corral c(view, scratch);
  for (std::int64_t i = 0; i < count; ++i) {
    const double* own = h + i * ld_h;
    orthogonal_start(c, own);
    solve_simplex(c, own, norm2[i]);
    distance2[i] = most(0.0, norm2[i] - weighted(c, own) + weighted(c, c.y) - view.shift);
    if (!weight) continue;
    double* to = weight + i * view.m;
    for (std::int64_t j = 0; j < view.m; ++j) to[j] = 0.0;
    for (std::int64_t a = 0; a < c.k; ++a) to[c.S[a]] = c.w[a];
  }
}

}  // namespace everface::hull::EVERFACE_ISA
