// Square transposes in registers.
#pragma once

#include "everface/core/simd.hpp"

namespace everface::core {
namespace EVERFACE_ISA {

// The lanes of rows a and b, S rows apart, that change places in one step.
template <int S, class R, int... I>
EVERFACE_INLINE void exchange(Vec<R>& a, Vec<R>& b, std::integer_sequence<int, I...>) {
  constexpr int lanes = kLanes<R>;
  const Vec<R> low = shuffle<R>(a, b, std::integer_sequence<int, ((I & S) ? lanes + I - S : I)...>());
  b = shuffle<R>(a, b, std::integer_sequence<int, ((I & S) ? lanes + I : I + S)...>());
  a = low;
}

// rows[i][l] and rows[l][i] change places (Eklundh's method).
template <int S = 1, class R>
EVERFACE_INLINE void transpose(Vec<R>* rows) {
  constexpr int lanes = kLanes<R>;
  if constexpr (S < lanes) {
    EVERFACE_UNROLL
    for (int i = 0; i < lanes; ++i)
      if (!(i & S)) exchange<S, R>(rows[i], rows[i + S], std::make_integer_sequence<int, lanes>());
    transpose<2 * S, R>(rows);
  }
}

}  // namespace EVERFACE_ISA
}  // namespace everface::core
