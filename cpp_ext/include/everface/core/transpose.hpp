// Square transposes in registers.
#pragma once

#include "everface/core/simd.hpp"

namespace everface::core {
namespace EVERFACE_ISA {

// rows[i][l] and rows[l][i] change places (Eklundh's method).
template <int S = 1, class R>
EVERFACE_INLINE void transpose(Vec<R>* rows) {
  constexpr int lanes = Lanes<R>::count;
  if constexpr (S < lanes) {
    typename MaskOf<R>::type low, high;
    EVERFACE_UNROLL
    for (int l = 0; l < lanes; ++l) {
      low[l] = (l & S) ? lanes + l - S : l;
      high[l] = (l & S) ? lanes + l : l + S;
    }
    EVERFACE_UNROLL
    for (int i = 0; i < lanes; ++i) {
      if (i & S) continue;
      const Vec<R> a = rows[i], b = rows[i + S];
      rows[i] = __builtin_shuffle(a, b, low);
      rows[i + S] = __builtin_shuffle(a, b, high);
    }
    transpose<2 * S, R>(rows);
  }
}

}  // namespace EVERFACE_ISA
}  // namespace everface::core
