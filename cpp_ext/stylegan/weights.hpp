// Weights [out, in, taps, taps] to the packed operand of the products, and products' gradients back to weights.
#pragma once

#include "algo.hpp"
#include "layer.hpp"
#include "transpose.hpp"

namespace everface::stylegan {
namespace EVERFACE_ISA {

template <class E>
constexpr std::int64_t depth_multiple() {
  return sizeof(E) == 2 ? 32 : 1;  // the inner dimension of an AMX tile
}

template <class E>
EVERFACE_INLINE void store_weights(E* u, Vec<Real<E>> first, Vec<Real<E>> second, std::int64_t width) {
  if constexpr (sizeof(E) == 2) {
    (void)width;  // pairs of the inner dimension lie side by side
    const word_bits low = __builtin_convertvector(narrow(first), word_bits);
    const word_bits high = __builtin_convertvector(narrow(second), word_bits);
    const word_bits pairs = low | (high << 16);
    std::memcpy(u, &pairs, sizeof pairs);
  } else {
    store(u, first);
    store(u + width, second);
  }
}

// Taps of lanes inner channels by lanes outer ones, one vector of outer channels per inner channel and tap.
template <int Area, class R>
EVERFACE_INLINE void gather_taps(const R* w, bool transposed, std::int64_t inner_step, std::int64_t lane_step,
                                 int inner, int outer, R (*taps)[Lanes<R>::count]) {
  constexpr int lanes = Lanes<R>::count;
  if (inner < lanes || outer < lanes) {
    for (int k = 0; k < lanes; ++k)
      for (int t = 0; t < Area; ++t)
        for (int l = 0; l < lanes; ++l)
          taps[k * Area + t][l] = k < inner && l < outer ? w[k * inner_step + l * lane_step + t] : R(0);
    return;
  }
  const std::int64_t row_step = transposed ? inner_step : lane_step;  // a row of w is contiguous
  for (int t = 0; t < Area; ++t) {
    Vec<R> rows[lanes];
    EVERFACE_UNROLL
    for (int i = 0; i < lanes; ++i) rows[i] = load(w + i * row_step + t * lanes);
    transpose<1, R>(rows);
    EVERFACE_UNROLL
    for (int i = 0; i < lanes; ++i) store(taps[t * lanes + i], rows[i]);
  }
  if (!transposed) return;
  R other[lanes * Area][lanes];
  for (int t = 0; t < Area; ++t) {
    Vec<R> rows[lanes];
    EVERFACE_UNROLL
    for (int i = 0; i < lanes; ++i) rows[i] = load(taps[i * Area + t]);
    transpose<1, R>(rows);
    EVERFACE_UNROLL
    for (int i = 0; i < lanes; ++i) store(other[i * Area + t], rows[i]);
  }
  std::memcpy(taps, other, sizeof other);
}

// The taps of one vector of outer channels through G on both axes.
template <Algo A, class R>
EVERFACE_INLINE void transform_weight(const R (*taps)[Lanes<R>::count], bool flip, Vec<R>* u) {
  constexpr AlgoShape s = shape_of(A);
  constexpr int area = s.taps * s.taps, n = s.classes;
  Vec<R> tap[area], half[n * s.taps];
  EVERFACE_UNROLL
  for (int t = 0; t < area; ++t) tap[t] = load(taps[flip ? area - 1 - t : t]);
  EVERFACE_UNROLL
  for (int j = 0; j < s.taps; ++j) Transform<A>::g(tap + j, s.taps, half + j, s.taps);
  EVERFACE_UNROLL
  for (int p = 0; p < n; ++p) Transform<A>::g(half + p * s.taps, 1, u + p * n, 1);
}

// Packs the vectors of output channels begin <= b < end (of the convolution that is run: in, if transposed).
template <Algo A, class E>
void pack_weights(bool transposed, const Real<E>* w, std::int64_t out, std::int64_t in, E* u, std::int64_t begin,
                  std::int64_t end) {
  using R = Real<E>;
  constexpr AlgoShape s = shape_of(A);
  constexpr int lanes = Lanes<E>::count, area = s.taps * s.taps, classes = s.classes * s.classes;
  const std::int64_t inner = transposed ? out : in, outer = transposed ? in : out;
  const std::int64_t vectors = (outer + lanes - 1) / lanes;
  const std::int64_t multiple = depth_multiple<E>(), depth = (inner + multiple - 1) / multiple * multiple;
  const std::int64_t inner_step = (transposed ? in : 1) * area, lane_step = (transposed ? 1 : in) * area;
  const bool flip = transposed && A != Algo::kDown;
  for (std::int64_t b = begin; b < end; ++b) {
    const int rest = static_cast<int>(outer - b * lanes < lanes ? outer - b * lanes : lanes);
    const bool single = b % 2 == 0 && b + 1 == vectors;
    const std::int64_t width = single ? lanes : 2 * lanes;
    E* block = u + b / 2 * 2 * lanes * depth;
    const R* source = w + b * lanes * lane_step;
    R taps[lanes * area][lanes];
    for (std::int64_t k = 0; k < depth; k += 2) {
      if (k % lanes == 0) {
        const std::int64_t left = inner - k < 0 ? 0 : inner - k < lanes ? inner - k : lanes;
        gather_taps<area, R>(source + k * inner_step, transposed, inner_step, lane_step, static_cast<int>(left), rest,
                             taps);
      }
      Vec<R> even[classes], odd[classes];
      transform_weight<A, R>(taps + k % lanes * area, flip, even);
      if (k + 1 < depth) transform_weight<A, R>(taps + (k % lanes + 1) * area, flip, odd);
      E* place = block + k * width + b % 2 * lanes * (sizeof(E) == 2 ? 2 : 1);
      for (int c = 0; c < classes; ++c, place += depth * vectors * lanes) {
        if (sizeof(E) == 2 || k + 1 < depth)
          store_weights<E>(place, even[c], odd[c], width);
        else if constexpr (sizeof(E) != 2)
          store(place, even[c]);
      }
    }
  }
}

// The taps' gradients of one vector of output channels and one input channel: GT du G.
template <Algo A, class R>
EVERFACE_INLINE void taps_of(const R* du, std::int64_t class_step, Vec<R>* tap) {
  constexpr AlgoShape s = shape_of(A);
  constexpr int n = s.classes, taps = s.taps;
  Vec<R> u[n * n], half[taps * n];
  EVERFACE_UNROLL
  for (int i = 0; i < n * n; ++i) u[i] = load(du + i * class_step);
  EVERFACE_UNROLL
  for (int q = 0; q < n; ++q) Transform<A>::gt(u + q, n, half + q, n);
  EVERFACE_UNROLL
  for (int i = 0; i < taps; ++i) Transform<A>::gt(half + i * n, 1, tap + i * taps, 1);
}

// dw = GT du G + 2 w square_grad for the input channels begin <= c < end, a square of channels at a time. du has rows of
// ld, a multiple of the vector.
template <Algo A, class R>
void unpack_weights(const R* du, std::int64_t ld, const R* w, const R* square_grad, std::int64_t out, std::int64_t in,
                    R* dw, std::int64_t begin, std::int64_t end) {
  constexpr int lanes = Lanes<R>::count, area = shape_of(A).taps * shape_of(A).taps;
  for (std::int64_t c = begin; c < end; c += lanes) {
    const int inner = end - c < lanes ? static_cast<int>(end - c) : lanes;
    for (std::int64_t o = 0; o < out; o += lanes) {
      const int outer = out - o < lanes ? static_cast<int>(out - o) : lanes;
      Vec<R> rows[lanes * area];  // first by channel and tap, then, turned, by output channel
      for (int i = 0; i < inner; ++i) taps_of<A, R>(du + (c + i) * ld + o, in * ld, rows + i * area);
      for (int i = inner * area; i < lanes * area; ++i) rows[i] = Vec<R>{};
      for (int t = 0; t < area; ++t) transpose<1, R>(rows + t * lanes);
      for (int l = 0; l < outer; ++l) {
        const std::int64_t at = ((o + l) * in + c) * area;
        R buffer[lanes * area];
        EVERFACE_UNROLL
        for (int t = 0; t < area; ++t) store(buffer + t * lanes, rows[t * lanes + l]);
        if (square_grad) {
          for (int i = 0; i < inner; ++i) {
            const R square = 2 * square_grad[(o + l) * in + c + i];
            EVERFACE_UNROLL
            for (int t = 0; t < area; ++t) buffer[i * area + t] += square * w[at + i * area + t];
          }
        }
        std::memcpy(dw + at, buffer, sizeof(R) * static_cast<unsigned>(inner * area));
      }
    }
  }
}

}  // namespace EVERFACE_ISA
}  // namespace everface::stylegan
