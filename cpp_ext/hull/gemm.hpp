// out = A B^T with B packed in panels of columns: the one matrix product of this room.
#pragma once

#include "kernels.hpp"
#include "simd.hpp"

namespace everface::hull::EVERFACE_ISA {

template <class T>
constexpr std::int64_t kPanel = EVERFACE_TILE_VECTORS * kLanes<T>;

// Columns that a panel starting at `column` holds in memory: the last one has only as many vectors as it needs.
template <class T>
inline std::int64_t panel_width(std::int64_t rows, std::int64_t column) {
  const std::int64_t left = rows - column;
  if (left >= kPanel<T>) return kPanel<T>;
  return (left + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

template <class T>
inline std::int64_t packed_columns(std::int64_t rows) {
  return (rows + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

inline std::size_t packed_size(std::int64_t rows, std::int64_t depth, std::size_t item) {
  const std::int64_t columns = item == 4 ? packed_columns<float>(rows) : packed_columns<double>(rows);
  return static_cast<std::size_t>(columns * depth) * item;
}

// Order in memory: chunks of depth, panels, depth, columns.
template <class T>
inline void pack(const double* in, std::int64_t rows, std::int64_t depth, std::int64_t ld, T* out) {
  for (std::int64_t k0 = 0; k0 < depth; k0 += kDepth) {
    const std::int64_t k1 = least(k0 + kDepth, depth);
    for (std::int64_t j0 = 0; j0 < rows; j0 += kPanel<T>) {
      const std::int64_t width = panel_width<T>(rows, j0);
      for (std::int64_t j = 0; j < width; ++j) {
        const double* from = in + (j0 + j) * ld;
        if (j0 + j < rows) {
          for (std::int64_t k = k0; k < k1; ++k) out[(k - k0) * width + j] = static_cast<T>(from[k]);
        } else {
          for (std::int64_t k = k0; k < k1; ++k) out[(k - k0) * width + j] = T(0);
        }
      }
      out += (k1 - k0) * width;
    }
  }
}

template <class T, int Rows, int Vectors>
inline void tile(const T* a, std::int64_t lda, const T* panel, std::int64_t depth, double* out, std::int64_t ld_out,
                 bool add) {
  Vec<T> acc[Rows][Vectors] = {};
  for (std::int64_t k = 0; k < depth; ++k) {
    Vec<T> b[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) b[v] = load(panel + (k * Vectors + v) * kLanes<T>);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const Vec<T> x = splat(a[r * lda + k]);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) acc[r][v] += x * b[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      double* to = out + r * ld_out + v * kLanes<T>;
      if constexpr (sizeof(T) == sizeof(double)) {
        store(to, add ? load(to) + acc[r][v] : acc[r][v]);
      } else {
        for (int i = 0; i < static_cast<int>(kLanes<T>); ++i) to[i] = (add ? to[i] : 0.0) + acc[r][v][i];
      }
    }
  }
}

template <class T, int Vectors>
inline void tile_column(const T* a, std::int64_t lda, std::int64_t count, const T* panel, std::int64_t depth,
                        double* out, std::int64_t ld_out, bool add) {
  constexpr int rows = EVERFACE_TILE_ROWS;
  std::int64_t i = 0;
  for (; i + rows <= count; i += rows) {
    tile<T, rows, Vectors>(a + i * lda, lda, panel, depth, out + i * ld_out, ld_out, add);
  }
  for (; i < count; ++i) tile<T, 1, Vectors>(a + i * lda, lda, panel, depth, out + i * ld_out, ld_out, add);
}

// One chunk of depth: a [count, depth] with row stride lda; packed: that chunk of all panels.
template <class T>
inline void product_chunk(const T* a, std::int64_t lda, std::int64_t count, const T* packed, std::int64_t rows,
                          std::int64_t depth, double* out, std::int64_t ld_out, bool add) {
  for (std::int64_t j = 0; j < rows; j += kPanel<T>) {
    const std::int64_t width = panel_width<T>(rows, j);
    switch (width / kLanes<T>) {
      case 1:
        tile_column<T, 1>(a, lda, count, packed, depth, out + j, ld_out, add);
        break;
      case 2:
        tile_column<T, 2>(a, lda, count, packed, depth, out + j, ld_out, add);
        break;
#if EVERFACE_TILE_VECTORS > 3
      case 3:
        tile_column<T, 3>(a, lda, count, packed, depth, out + j, ld_out, add);
        break;
#endif
      default:
        tile_column<T, EVERFACE_TILE_VECTORS>(a, lda, count, packed, depth, out + j, ld_out, add);
    }
    packed += width * depth;
  }
}

// Rows first..last-1 of A A^T, from the panel that holds the row's diagonal on; the rest follows by symmetry.
inline void gram_rows(const double* a, std::int64_t lda, std::int64_t first, std::int64_t last, const double* packed,
                      std::int64_t rows, std::int64_t depth, double* out, std::int64_t ld_out) {
  const std::int64_t columns = packed_columns<double>(rows);
  for (std::int64_t k = 0; k < depth; k += kDepth) {
    const std::int64_t deep = least(kDepth, depth - k);
    for (std::int64_t i = first; i < last; i += EVERFACE_TILE_ROWS) {
      const std::int64_t j = i / kPanel<double> * kPanel<double>;
      product_chunk<double>(a + i * lda + k, lda, least<std::int64_t>(EVERFACE_TILE_ROWS, last - i),
                            packed + k * columns + j * deep, rows - j, deep, out + i * ld_out + j, ld_out, k > 0);
    }
  }
}

inline void product(const double* a, std::int64_t lda, std::int64_t count, const double* packed, std::int64_t rows,
                    std::int64_t depth, double* out, std::int64_t ld_out) {
  const std::int64_t columns = packed_columns<double>(rows);
  for (std::int64_t k = 0; k < depth; k += kDepth) {
    product_chunk<double>(a + k, lda, count, packed + k * columns, rows, least(kDepth, depth - k), out, ld_out, k > 0);
  }
}

}  // namespace everface::hull::EVERFACE_ISA
