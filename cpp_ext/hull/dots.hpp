// Inner products of rows as they lie in memory: cheaper than packing for a Gram matrix of few rows.
#pragma once

#include "kernels.hpp"
#include "vectors.hpp"

namespace everface::hull::EVERFACE_ISA {

#if EVERFACE_VECTOR_BYTES == 64 || defined(__aarch64__)
constexpr int kDotTile = 4;  // 16 sums and 4 vectors of 32 registers
#else
constexpr int kDotTile = 3;
#endif

// out[r, c] (+)= a_r . b_c over whole vectors of `depth`; what lies beyond `rows` and `columns` is not written.
template <int Tile>
inline void dot_tile(const double* a, const double* b, std::int64_t ld, std::int64_t depth, std::int64_t rows,
                     std::int64_t columns, double* out, std::int64_t ld_out, bool add) {
  const double *left[Tile], *right[Tile];
  for (int t = 0; t < Tile; ++t) {
    left[t] = a + least<std::int64_t>(t, rows - 1) * ld;
    right[t] = b + least<std::int64_t>(t, columns - 1) * ld;
  }
  Vec<double> acc[Tile][Tile] = {};
  for (std::int64_t k = 0; k < depth; k += kLanes<double>) {
    Vec<double> y[Tile];
#pragma GCC unroll 4
    for (int c = 0; c < Tile; ++c) y[c] = load(right[c] + k);
#pragma GCC unroll 4
    for (int r = 0; r < Tile; ++r) {
      const Vec<double> x = load(left[r] + k);
#pragma GCC unroll 4
      for (int c = 0; c < Tile; ++c) acc[r][c] += x * y[c];
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < Tile; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < Tile; ++c) {
      const double total = sum<double>(acc[r][c]);
      if (r < rows && c < columns) out[r * ld_out + c] = add ? out[r * ld_out + c] + total : total;
    }
  }
}

// The upper triangle of A A^T (and a little below it), added to what is there or not; rows padded with zeros.
inline void gram_dots(const double* a, std::int64_t lda, std::int64_t m, std::int64_t depth, double* out,
                      std::int64_t ld_out, bool add) {
  constexpr int tile = kDotTile;
  for (std::int64_t i = 0; i < m; i += tile) {
    for (std::int64_t j = i; j < m; j += tile) {
      dot_tile<tile>(a + i * lda, a + j * lda, lda, depth, least<std::int64_t>(tile, m - i),
                     least<std::int64_t>(tile, m - j), out + i * ld_out + j, ld_out, add);
    }
  }
}

}  // namespace everface::hull::EVERFACE_ISA
