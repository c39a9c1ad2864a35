// out = A B^T with B packed beforehand: core/gemm.hpp's products, a chunk of the summed dimension at a time.
#pragma once

#include "everface/core/gemm.hpp"
#include "kernels.hpp"
#include "vectors.hpp"

namespace everface::hull::EVERFACE_ISA {

template <class T>
constexpr std::int64_t kBlockColumns = kGemmVectors * kLanes<T>;

template <class T>
inline std::int64_t packed_columns(std::int64_t rows) {
  return (rows + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

// Columns that a block starting at `column` holds in memory: the last one has only as many vectors as it needs.
template <class T>
inline std::int64_t block_width(std::int64_t rows, std::int64_t column) {
  return least(kBlockColumns<T>, packed_columns<T>(rows - column));
}

inline std::size_t packed_size(std::int64_t rows, std::int64_t depth, std::size_t item) {
  const std::int64_t columns = item == 4 ? packed_columns<float>(rows) : packed_columns<double>(rows);
  return static_cast<std::size_t>(columns * depth) * item;
}

// Order in memory: chunks of depth, blocks, depth, columns.
template <class T>
inline void pack(const double* in, std::int64_t rows, std::int64_t depth, std::int64_t ld, T* out) {
  for (std::int64_t k0 = 0; k0 < depth; k0 += kDepth) {
    const std::int64_t k1 = least(k0 + kDepth, depth);
    for (std::int64_t j0 = 0; j0 < rows; j0 += kBlockColumns<T>) {
      const std::int64_t width = block_width<T>(rows, j0);
      for (std::int64_t j = 0; j < width; ++j) {
        const double* from = in + (j0 + j) * ld;
        for (std::int64_t k = k0; k < k1; ++k)
          out[(k - k0) * width + j] = j0 + j < rows ? static_cast<T>(from[k]) : T(0);
      }
      out += (k1 - k0) * width;
    }
  }
}

// Rows of a that are multiplied at once: where they lie a multiple of 2 KiB apart, more than eight of them would push
// each other out of the first-level cache.
template <class T>
inline std::int64_t rows_at_once(std::int64_t lda) {
  return lda * std::int64_t{sizeof(T)} % 2048 == 0 ? least<std::int64_t>(8, kGemmRows) : kGemmRows;
}

// One chunk of depth: a [count, depth] with row stride lda; packed: that chunk of all blocks.
template <class T>
inline void product_chunk(const T* a, std::int64_t lda, std::int64_t count, const T* packed, std::int64_t rows,
                          std::int64_t depth, double* out, std::int64_t ld_out, bool add) {
  const std::int64_t most = rows_at_once<T>(lda) < kGemmRows ? rows_at_once<T>(lda) : count;
  for (std::int64_t j = 0; j < rows; j += kBlockColumns<T>) {
    const std::int64_t width = block_width<T>(rows, j);
    for (std::int64_t i = 0; i < count; i += most)
      gemm<T, double>(a + i * lda, lda, least(most, count - i), packed, depth, static_cast<int>(width),
                      out + i * ld_out + j, ld_out, add);
    packed += width * depth;
  }
}

// Rows first..last-1 of A A^T, from the block that holds the row's diagonal on; the rest follows by symmetry.
inline void gram_rows(const double* a, std::int64_t lda, std::int64_t first, std::int64_t last, const double* packed,
                      std::int64_t rows, std::int64_t depth, double* out, std::int64_t ld_out) {
  const std::int64_t columns = packed_columns<double>(rows), most = rows_at_once<double>(lda);
  for (std::int64_t k = 0; k < depth; k += kDepth) {
    const std::int64_t deep = least(kDepth, depth - k);
    for (std::int64_t i = first; i < last; i += most) {
      const std::int64_t j = i / kBlockColumns<double> * kBlockColumns<double>;
      product_chunk<double>(a + i * lda + k, lda, least(most, last - i), packed + k * columns + j * deep, rows - j,
                            deep, out + i * ld_out + j, ld_out, k > 0);
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
