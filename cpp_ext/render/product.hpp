// Small dense products: c[rows, columns] = start + a b, where b's rows are whole vectors and a is read number by
// number.
#pragma once

#include "math.hpp"

namespace everface::render {
namespace EVERFACE_ISA {

#if EVERFACE_VECTOR_BYTES == 64
constexpr int kTileRows = 12;
#else
constexpr int kTileRows = 6;
#endif

// a[row * row_step + k * step], k < depth.
template <class R>
struct Rows {
  const R* at;
  std::int64_t row_step, step, depth;
};

// Where sums start: rows of c, one row for all (step 0), or null for zeros.
template <class R>
struct Start {
  const R* at;
  std::int64_t row_step;
};

template <int M, int N, class R>
EVERFACE_INLINE void product_tile(const Rows<R>& a, const R* b, std::int64_t ldb, const Start<R>& start, R* c,
                                  std::int64_t ldc) {
  Vec<R> acc[M][N];
  for (int i = 0; i < M; ++i)
    for (int j = 0; j < N; ++j)
      acc[i][j] = start.at ? load(start.at + i * start.row_step + j * kLanes<R>) : splat(R(0));
  for (std::int64_t k = 0; k < a.depth; ++k) {
    Vec<R> right[N];
    EVERFACE_UNROLL
    for (int j = 0; j < N; ++j) right[j] = load(b + k * ldb + j * kLanes<R>);
    EVERFACE_UNROLL
    for (int i = 0; i < M; ++i) {
      const Vec<R> one = splat(a.at[i * a.row_step + k * a.step]);
      EVERFACE_UNROLL
      for (int j = 0; j < N; ++j) acc[i][j] += one * right[j];
    }
  }
  EVERFACE_UNROLL
  for (int i = 0; i < M; ++i) EVERFACE_UNROLL
  for (int j = 0; j < N; ++j) store(c + i * ldc + j * kLanes<R>, acc[i][j]);
}

template <int M, class R>
inline void product_rows(const Rows<R>& a, const R* b, std::int64_t ldb, std::int64_t columns, const Start<R>& start,
                         R* c, std::int64_t ldc) {
  std::int64_t j = 0;
  const auto shifted = [&] { return Start<R>{start.at ? start.at + j : nullptr, start.row_step}; };
  for (; j + 2 * kLanes<R> <= columns; j += 2 * kLanes<R>) product_tile<M, 2>(a, b + j, ldb, shifted(), c + j, ldc);
  for (; j < columns; j += kLanes<R>) product_tile<M, 1>(a, b + j, ldb, shifted(), c + j, ldc);
}

// columns: a multiple of kPad.
template <class R>
inline void product(Rows<R> a, std::int64_t rows, const R* b, std::int64_t ldb, std::int64_t columns, Start<R> start,
                    R* c, std::int64_t ldc) {
  const auto next = [&](std::int64_t done) {
    a.at += done * a.row_step, c += done * ldc, rows -= done;
    if (start.at) start.at += done * start.row_step;
  };
  for (; rows >= kTileRows; next(kTileRows)) product_rows<kTileRows>(a, b, ldb, columns, start, c, ldc);
  for (; rows >= 4; next(4)) product_rows<4>(a, b, ldb, columns, start, c, ldc);
  for (; rows >= 1; next(1)) product_rows<1>(a, b, ldb, columns, start, c, ldc);
}

// to [count] += from, whole vectors.
template <class R>
inline void add_to(R* to, const R* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += kLanes<R>) store(to + i, load(to + i) + load(from + i));
}

}  // namespace EVERFACE_ISA
}  // namespace everface::render
