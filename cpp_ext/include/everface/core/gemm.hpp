// Register-blocked matrix products: P rows by N vectors of columns stay in registers while the inner dimension runs.
// Operands are float, double, or pairs of bfloat16; sums are of type Real<E>, or double where `Out` is.
//
// a(i, k) lies at a[i * row + k * step], of bfloat16 the pair k. b(k, ...) are whole vectors from b[k * ldb] on; of
// bfloat16 the rows 2k and 2k + 1 side by side, column by column, with ldb columns in a row.
#pragma once

#include "everface/core/simd.hpp"

namespace everface::core {
namespace EVERFACE_ISA {

#if EVERFACE_VECTOR_BYTES == 64
constexpr int kGemmRows = 14;  // 28 sums, 2 weights: of 32 registers
#elif defined(__aarch64__)
constexpr int kGemmRows = 12;
#else
constexpr int kGemmRows = 6;
#endif
constexpr int kGemmVectors = 2;

template <int P, int N, class R>
EVERFACE_INLINE void accumulate(const R* a, std::int64_t row, std::int64_t step, const R* b, std::int64_t ldb,
                                std::int64_t depth, Vec<R> (&sums)[P][N]) {
  for (std::int64_t k = 0; k < depth; ++k, a += step, b += ldb) {
    Vec<R> weights[N];
    EVERFACE_UNROLL
    for (int n = 0; n < N; ++n) weights[n] = load(b + n * kLanes<R>);
    EVERFACE_UNROLL
    for (int p = 0; p < P; ++p) {
      EVERFACE_UNROLL
      for (int n = 0; n < N; ++n) sums[p][n] += weights[n] * a[p * row];
    }
  }
}

template <int P, int N>
EVERFACE_INLINE void accumulate(const bf16* a, std::int64_t row, std::int64_t step, const bf16* b, std::int64_t ldb,
                                std::int64_t depth, Vec<float> (&sums)[P][N]) {
  for (std::int64_t k = 0; k < depth; k += 2, a += step, b += 2 * ldb) {
#if defined(__AVX512BF16__) && EVERFACE_VECTOR_BYTES == 64
    __m512bh weights[N];
    EVERFACE_UNROLL
    for (int n = 0; n < N; ++n) weights[n] = (__m512bh)_mm512_loadu_si512(b + n * 32);
    EVERFACE_UNROLL
    for (int p = 0; p < P; ++p) {
      std::int32_t pair;
      std::memcpy(&pair, a + p * row, sizeof pair);
      const __m512bh pairs = (__m512bh)_mm512_set1_epi32(pair);
      EVERFACE_UNROLL
      for (int n = 0; n < N; ++n) sums[p][n] = (Vec<float>)_mm512_dpbf16_ps((__m512)sums[p][n], pairs, weights[n]);
    }
#else
    Vec<float> first[N], second[N];
    EVERFACE_UNROLL
    for (int n = 0; n < N; ++n) {
      word_bits pairs;
      std::memcpy(&pairs, b + n * 2 * Lanes<float>::count, sizeof pairs);
      const word_bits low = pairs << 16, high = pairs & 0xFFFF0000u;
      std::memcpy(&first[n], &low, sizeof low);
      std::memcpy(&second[n], &high, sizeof high);
    }
    EVERFACE_UNROLL
    for (int p = 0; p < P; ++p) {
      const float even = to_real(a[p * row]), odd = to_real(a[p * row + 1]);
      EVERFACE_UNROLL
      for (int n = 0; n < N; ++n) sums[p][n] += first[n] * even + second[n] * odd;
    }
#endif
  }
}

template <class R>
EVERFACE_INLINE void finish(Vec<R> sum, const R* start, R* c) {
  store(c, start ? sum + load(start) : sum);
}
// Sums in float32 of a part of the inner dimension, added up in float64.
EVERFACE_INLINE void finish(Vec<float> sum, const double* start, double* c) {
  for (int i = 0; i < kLanes<float>; ++i) c[i] = (start ? start[i] : 0.0) + static_cast<double>(sum[i]);
}

// c = start + a b, start being null for zeros; it may be c itself.
template <int P, int N, class E, class Out>
__attribute__((noinline)) void gemm_kernel(const E* a, std::int64_t row, std::int64_t step, const E* b,
                                           std::int64_t ldb, std::int64_t depth, const Out* start,
                                           std::int64_t start_row, Out* c, std::int64_t ldc) {
  Vec<Real<E>> sums[P][N];
  EVERFACE_UNROLL
  for (int p = 0; p < P; ++p) {
    EVERFACE_UNROLL
    for (int n = 0; n < N; ++n) sums[p][n] = Vec<Real<E>>{};
  }
  accumulate<P, N>(a, row, step, b, ldb, depth, sums);
  EVERFACE_UNROLL
  for (int p = 0; p < P; ++p) {
    EVERFACE_UNROLL
    for (int n = 0; n < N; ++n) {
      const std::int64_t at = n * kLanes<E>;
      finish(sums[p][n], start ? start + p * start_row + at : nullptr, c + p * ldc + at);
    }
  }
}

template <int P, int N, class E, class Out>
inline void block_of_rows(std::int64_t rows, const E* a, std::int64_t row, std::int64_t step, const E* b,
                          std::int64_t ldb, std::int64_t depth, const Out* start, std::int64_t start_row, Out* c,
                          std::int64_t ldc) {
  if constexpr (P > 0) {
    if (rows == P) return gemm_kernel<P, N>(a, row, step, b, ldb, depth, start, start_row, c, ldc);
    block_of_rows<P - 1, N>(rows, a, row, step, b, ldb, depth, start, start_row, c, ldc);
  }
}

// Blocks of rows as equal as possible: a last block of two rows would wait for weights instead of multiplying.
inline std::int64_t row_blocks(std::int64_t rows) { return (rows + kGemmRows - 1) / kGemmRows; }
struct RowBlock {
  std::int64_t begin, count;
  RowBlock(std::int64_t rows, std::int64_t i)
      : begin(rows * i / row_blocks(rows)), count(rows * (i + 1) / row_blocks(rows) - begin) {}
};

// N vectors of columns of c = start + a b.
template <int N, class E, class Out>
inline void gemm_columns(std::int64_t rows, const E* a, std::int64_t row, std::int64_t step, const E* b,
                         std::int64_t ldb, std::int64_t depth, const Out* start, std::int64_t start_row, Out* c,
                         std::int64_t ldc) {
  for (std::int64_t i = 0; i < row_blocks(rows); ++i) {
    const RowBlock block(rows, i);
    block_of_rows<kGemmRows, N>(block.count, a + block.begin * row, row, step, b, ldb, depth,
                                start ? start + block.begin * start_row : nullptr, start_row, c + block.begin * ldc,
                                ldc);
  }
}

// c[rows, cols] (+)= a[rows, depth] u, where u is one packed block: [depth][cols], one or two vectors of columns, with
// pairs of rows side by side in bfloat16.
template <class E, class Out = Real<E>>
void gemm(const E* a, std::int64_t lda, std::int64_t rows, const E* u, std::int64_t depth, int cols, Out* c,
          std::int64_t ldc, bool add) {
  constexpr int lanes = kLanes<E>, step = sizeof(E) == 2 ? 2 : 1;
  const Out* start = add ? c : nullptr;
  cols > lanes ? gemm_columns<2>(rows, a, lda, step, u, 2 * lanes, depth, start, ldc, c, ldc)
               : gemm_columns<1>(rows, a, lda, step, u, lanes, depth, start, ldc, c, ldc);
}

// c[rows, cols] = start + a b for operands as they lie in memory. start_row 0: the same start for every row. Columns
// behind the last whole vector are done one by one.
template <class R>
void multiply(const R* a, std::int64_t row, std::int64_t step, std::int64_t rows, const R* b, std::int64_t ldb,
              std::int64_t depth, std::int64_t cols, const R* start, std::int64_t start_row, R* c, std::int64_t ldc) {
  constexpr int lanes = kLanes<R>;
  const auto from = [&](std::int64_t j) { return start ? start + j : nullptr; };
  std::int64_t j = 0;
  for (; j + 2 * lanes <= cols; j += 2 * lanes)
    gemm_columns<2>(rows, a, row, step, b + j, ldb, depth, from(j), start_row, c + j, ldc);
  for (; j + lanes <= cols; j += lanes)
    gemm_columns<1>(rows, a, row, step, b + j, ldb, depth, from(j), start_row, c + j, ldc);
  for (; j < cols; ++j) {
    for (std::int64_t i = 0; i < rows; ++i) {
      R sum = 0;
      for (std::int64_t k = 0; k < depth; ++k) sum += a[i * row + k * step] * b[k * ldb + j];
      c[i * ldc + j] = start ? start[i * start_row + j] + sum : sum;
    }
  }
}

// An item is what a weight gradient sums over at once: one number, or a pair of bfloat16.
//
// to[block][row][channel of the block] = v[row][channel]: what one block of the result reads lies together.
template <class R>
void pack_panel(const R* v, std::int64_t ldv, std::int64_t rows, std::int64_t cin, R* to) {
  constexpr int lanes = Lanes<R>::count;
  for (std::int64_t i = 0; i < row_blocks(cin); ++i) {
    const RowBlock block(cin, i);
    const R* from = v + block.begin;
    for (std::int64_t k = 0; k < rows; ++k, from += ldv, to += block.count)
      for (std::int64_t j = 0; j < block.count; j += lanes) {
        const std::int64_t left = ldv - block.begin - j;
        store(to + j, load_part(from + j, left < lanes ? static_cast<int>(left) : lanes));
      }
  }
}

// N vectors of columns of a weight gradient. Their rows are copied to lie together, because they are read for every
// block of channels and each is on another page; the sums of the next block are fetched while those of this one grow.
template <int N, class E>
void weight_columns(const Real<E>* v, std::int64_t ldv, bool packed, const Real<E>* m, std::int64_t ldm,
                    std::int64_t rows, std::int64_t cin, Real<E>* c, std::int64_t ldc, bool add, Real<E>* copy) {
  constexpr int width = N * Lanes<E>::count, wide = sizeof(E) == 2 ? 2 : 1;
  for (std::int64_t k = 0; k < rows; ++k) std::memcpy(copy + k * width, m + k * ldm, width * sizeof(Real<E>));
  for (std::int64_t i = 0; i < row_blocks(cin); ++i) {
    const RowBlock block(cin, i);
    for (std::int64_t p = 0; p < block.count; ++p)
      for (int n = 0; n < N; ++n)
        __builtin_prefetch(c + (block.begin + block.count + p) * ldc + n * Lanes<E>::count, 1);
    const Real<E>* from = v + (packed ? block.begin * rows : block.begin);
    block_of_rows<kGemmRows, N>(block.count, reinterpret_cast<const E*>(from), wide,
                                (packed ? block.count : ldv) * wide, reinterpret_cast<const E*>(copy), width,
                                rows * wide, add ? c + block.begin * ldc : nullptr, ldc, c + block.begin * ldc, ldc);
  }
}

// c[cin, cols] (+)= v[rows, cin]^T m[rows, cols], of bfloat16 with a pair of tiles in each row; cols is a multiple of
// the lanes, and panel is scratch for rows (cin + 2 lanes) items, cin rounded up to lanes.
template <class E>
void gemm_weight(const void* v, std::int64_t ldv, const void* m, std::int64_t ldm, std::int64_t rows, std::int64_t cin,
                 std::int64_t cols, Real<E>* c, std::int64_t ldc, bool add, Real<E>* panel) {
  constexpr int lanes = kLanes<E>;
  const auto *a = static_cast<const Real<E>*>(v), *b = static_cast<const Real<E>*>(m);
  const bool packed = cols >= 16 * lanes;  // read less often, a panel is not worth its copy
  if (packed) {
    pack_panel(a, ldv, rows, cin, panel);
    a = panel, panel += rows * cin;
  }
  std::int64_t j = 0;
  for (; j + 2 * lanes <= cols; j += 2 * lanes)
    weight_columns<2, E>(a, ldv, packed, b + j, ldm, rows, cin, c + j, ldc, add, panel);
  if (j < cols) weight_columns<1, E>(a, ldv, packed, b + j, ldm, rows, cin, c + j, ldc, add, panel);
}

}  // namespace EVERFACE_ISA
}  // namespace everface::core
