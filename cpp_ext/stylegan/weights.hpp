// Weights [out, in, taps, taps] to the packed operand of the products, and products' gradients back to weights.
#pragma once

#include "algo.hpp"
#include "everface/core/transpose.hpp"
#include "layer.hpp"

namespace everface::stylegan {
namespace EVERFACE_ISA {

// Inner channels that lie side by side in the packed operand.
template <class E>
constexpr int inner_together() {
  return sizeof(E) == 2 ? 2 : 1;
}

// One vector of outer channels of one class: weights[inner][class].
template <class E, int Classes>
EVERFACE_INLINE void store_weights(E* u, const Vec<Real<E>> (&weights)[inner_together<E>()][Classes], int cls) {
  if constexpr (sizeof(E) == 2) {
    const word_bits low = __builtin_convertvector(narrow(weights[0][cls]), word_bits);
    const word_bits high = __builtin_convertvector(narrow(weights[1][cls]), word_bits);
    const word_bits pairs = low | (high << 16);
    std::memcpy(u, &pairs, sizeof pairs);
  } else {
    store(u, weights[0][cls]);
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

// Packs the blocks of two vectors of output channels begin <= b < end (of the convolution that is run: in, if
// transposed). A block's vectors are written together: each of them alone is half of a cache line.
template <Algo A, class E>
void pack_weights(bool transposed, const Real<E>* w, std::int64_t out, std::int64_t in, E* u, std::int64_t begin,
                  std::int64_t end) {
  using R = Real<E>;
  constexpr AlgoShape s = shape_of(A);
  constexpr int lanes = Lanes<E>::count, area = s.taps * s.taps, classes = s.classes * s.classes;
  constexpr int together = inner_together<E>();
  const std::int64_t inner = transposed ? out : in, outer = transposed ? in : out;
  const std::int64_t multiple = Products<E>::depth, depth = (inner + multiple - 1) / multiple * multiple;
  const std::int64_t step = class_step<E>(depth, (outer + lanes - 1) / lanes * lanes);
  const std::int64_t inner_step = (transposed ? in : 1) * area, lane_step = (transposed ? 1 : in) * area;
  const bool flip = transposed && A != Algo::kDown;
  for (std::int64_t b = begin; b < end; ++b) {
    const std::int64_t first = b * 2 * lanes;
    const int vectors = outer - first > lanes ? 2 : 1;
    R taps[2][lanes * area][lanes];
    for (std::int64_t k = 0; k < depth; k += together) {
      Vec<R> weights[2][together][classes];
      for (int v = 0; v < vectors; ++v) {
        if (k % lanes == 0) {
          const std::int64_t left = inner - k, rest = outer - first - v * lanes;
          gather_taps<area, R>(w + (first + v * lanes) * lane_step + k * inner_step, transposed, inner_step, lane_step,
                               static_cast<int>(left < lanes ? left : lanes),
                               static_cast<int>(rest < lanes ? rest : lanes), taps[v]);
        }
        EVERFACE_UNROLL
        for (int i = 0; i < together; ++i)
          transform_weight<A, R>(taps[v] + (k % lanes + i) * area, flip, weights[v][i]);
      }
      E* place = u + first * depth + k * vectors * lanes;
      for (int c = 0; c < classes; ++c, place += step) {
        store_weights<E>(place, weights[0], c);
        if (vectors == 2) store_weights<E>(place + lanes * together, weights[1], c);
      }
    }
  }
}

// The same from taps[vector][inner][tap][lane], for a slice of the inner dimension: cheap enough to be done again for
// each image, where the packed operand would take several times the memory of the weights.
template <Algo A, class E>
void expand_weights(const Real<E>* taps, std::int64_t inner, std::int64_t first, int width, std::int64_t begin,
                    std::int64_t end, E* u) {
  using R = Real<E>;
  constexpr AlgoShape s = shape_of(A);
  constexpr int lanes = Lanes<E>::count, area = s.taps * s.taps, classes = s.classes * s.classes;
  const std::int64_t class_step = (end - begin) * width;
  for (int v = 0; v < width / lanes; ++v) {
    for (std::int64_t k = begin; k < end; ++k) {
      const R* source = taps + ((first + v) * inner + k) * area * lanes;
      Vec<R> weight[classes];
      transform_weight<A, R>(reinterpret_cast<const R(*)[lanes]>(source), false, weight);
      E* place = u + (k - begin) * width + v * lanes;
      EVERFACE_UNROLL
      for (int c = 0; c < classes; ++c) store(place + c * class_step, weight[c]);
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

// One square of channels: rows hold its taps' gradients by input channel and tap, and are turned to be stored.
template <int Area, class R>
EVERFACE_INLINE void store_taps(Vec<R>* rows, int inner, int outer, std::int64_t in, const R* w, const R* square_grad,
                                R* dw) {
  constexpr int lanes = Lanes<R>::count;
  for (int t = 0; t < Area; ++t) transpose<1, R>(rows + t * lanes);
  for (int l = 0; l < outer; ++l) {
    R buffer[lanes * Area];
    EVERFACE_UNROLL
    for (int t = 0; t < Area; ++t) store(buffer + t * lanes, rows[t * lanes + l]);
    if (square_grad) {
      for (int i = 0; i < inner; ++i) {
        const R square = 2 * square_grad[l * in + i];
        EVERFACE_UNROLL
        for (int t = 0; t < Area; ++t) buffer[i * Area + t] += square * w[(l * in + i) * Area + t];
      }
    }
    std::memcpy(dw + l * in * Area, buffer, sizeof(R) * static_cast<unsigned>(inner * Area));
  }
}

// dw = GT du G + 2 w square_grad for the input channels begin <= c < end. du has rows of ld, a multiple of the vector;
// four of its vectors are read at a time, because the many classes are as many streams of memory.
template <Algo A, class R>
void unpack_weights(const R* du, std::int64_t ld, const R* w, const R* square_grad, std::int64_t out, std::int64_t in,
                    R* dw, std::int64_t begin, std::int64_t end) {
  constexpr int lanes = Lanes<R>::count, area = shape_of(A).taps * shape_of(A).taps, group = 4;
  const std::int64_t step = class_step<R>(in, ld);
  for (std::int64_t c = begin; c < end; c += lanes) {
    const int inner = end - c < lanes ? static_cast<int>(end - c) : lanes;
    for (std::int64_t o = 0; o < out; o += group * lanes) {
      Vec<R> rows[group][lanes * area] = {};
      for (int i = 0; i < inner; ++i)
        for (int g = 0; g < group && o + g * lanes < ld; ++g)
          taps_of<A, R>(du + (c + i) * ld + o + g * lanes, step, rows[g] + i * area);
      for (int g = 0; g < group && o + g * lanes < out; ++g) {
        const std::int64_t first = o + g * lanes, at = first * in + c;
        const int outer = out - first < lanes ? static_cast<int>(out - first) : lanes;
        store_taps<area, R>(rows[g], inner, outer, in, w + at * area, square_grad ? square_grad + at : nullptr,
                            dw + at * area);
      }
    }
  }
}

}  // namespace EVERFACE_ISA
}  // namespace everface::stylegan
