// Register-blocked matrix products: P rows by N vectors of columns stay in registers while the inner dimension runs.
#pragma once

#include "everface/core/simd.hpp"

namespace everface::core {
namespace EVERFACE_ISA {

#if EVERFACE_VECTOR_BYTES == 64
constexpr int kRows = 14;  // 28 sums, 2 weights: of 32 registers
#elif defined(__aarch64__)
constexpr int kRows = 12;
#else
constexpr int kRows = 6;
#endif
constexpr int kVectors = 2;

// Broadcasts a[p * row + k * step]; reads weights at b[k * ldb].
template <int P, int N, bool Add, class R>
EVERFACE_INLINE void micro(const R* a, std::int64_t row, std::int64_t step, const R* b, std::int64_t ldb,
                           std::int64_t depth, R* c, std::int64_t ldc) {
  Vec<R> sums[P][N];
  EVERFACE_UNROLL
  for (int p = 0; p < P; ++p) {
    EVERFACE_UNROLL
    for (int n = 0; n < N; ++n) sums[p][n] = Vec<R>{};
  }
  for (std::int64_t k = 0; k < depth; ++k, a += step, b += ldb) {
    Vec<R> weights[N];
    EVERFACE_UNROLL
    for (int n = 0; n < N; ++n) weights[n] = load(b + n * Lanes<R>::count);
    EVERFACE_UNROLL
    for (int p = 0; p < P; ++p) {
      EVERFACE_UNROLL
      for (int n = 0; n < N; ++n) sums[p][n] += weights[n] * a[p * row];
    }
  }
  EVERFACE_UNROLL
  for (int p = 0; p < P; ++p) {
    EVERFACE_UNROLL
    for (int n = 0; n < N; ++n) {
      R* out = c + p * ldc + n * Lanes<R>::count;
      store(out, Add ? sums[p][n] + load(out) : sums[p][n]);
    }
  }
}

// Pairs of bfloat16: b holds [depth / 2][columns][2], ldb columns apart; step is the distance from pair to pair in a.
template <int P, int N, bool Add>
EVERFACE_INLINE void micro(const bf16* a, std::int64_t row, std::int64_t step, const bf16* b, std::int64_t ldb,
                           std::int64_t depth, float* c, std::int64_t ldc) {
  Vec<float> sums[P][N];
  EVERFACE_UNROLL
  for (int p = 0; p < P; ++p) {
    EVERFACE_UNROLL
    for (int n = 0; n < N; ++n) sums[p][n] = Vec<float>{};
  }
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
  EVERFACE_UNROLL
  for (int p = 0; p < P; ++p) {
    EVERFACE_UNROLL
    for (int n = 0; n < N; ++n) {
      float* out = c + p * ldc + n * Lanes<float>::count;
      store(out, Add ? sums[p][n] + load(out) : sums[p][n]);
    }
  }
}

template <int P, int N, bool Add, class E>
__attribute__((noinline)) void micro_kernel(const E* a, std::int64_t row, std::int64_t step, const E* b,
                                            std::int64_t ldb, std::int64_t depth, Real<E>* c, std::int64_t ldc) {
  micro<P, N, Add>(a, row, step, b, ldb, depth, c, ldc);
}

template <int P, int N, bool Add, class E>
inline void block_of_rows(std::int64_t rows, const E* a, std::int64_t row, std::int64_t step, const E* b,
                          std::int64_t ldb, std::int64_t depth, Real<E>* c, std::int64_t ldc) {
  if constexpr (P > 0) {
    if (rows == P) return micro_kernel<P, N, Add>(a, row, step, b, ldb, depth, c, ldc);
    block_of_rows<P - 1, N, Add>(rows, a, row, step, b, ldb, depth, c, ldc);
  }
}

// Blocks of rows as equal as possible: a last block of two rows would wait for weights instead of multiplying.
inline std::int64_t row_blocks(std::int64_t rows) { return (rows + kRows - 1) / kRows; }
struct RowBlock {
  std::int64_t begin, count;
  RowBlock(std::int64_t rows, std::int64_t i)
      : begin(rows * i / row_blocks(rows)), count(rows * (i + 1) / row_blocks(rows) - begin) {}
};

template <int N, bool Add, class E>
inline void rows_by(std::int64_t rows, const E* a, std::int64_t row, std::int64_t step, const E* b, std::int64_t ldb,
                    std::int64_t depth, Real<E>* c, std::int64_t ldc) {
  for (std::int64_t i = 0; i < row_blocks(rows); ++i) {
    const RowBlock block(rows, i);
    block_of_rows<kRows, N, Add>(block.count, a + block.begin * row, row, step, b, ldb, depth, c + block.begin * ldc,
                                 ldc);
  }
}

template <class E>
void gemm(const E* a, std::int64_t lda, std::int64_t rows, const E* u, std::int64_t depth, int cols, Real<E>* c,
          std::int64_t ldc, bool add) {
  constexpr int lanes = Lanes<E>::count, step = sizeof(E) == 2 ? 2 : 1;
  if (cols > lanes)
    add ? rows_by<2, true>(rows, a, lda, step, u, 2 * lanes, depth, c, ldc)
        : rows_by<2, false>(rows, a, lda, step, u, 2 * lanes, depth, c, ldc);
  else
    add ? rows_by<1, true>(rows, a, lda, step, u, lanes, depth, c, ldc)
        : rows_by<1, false>(rows, a, lda, step, u, lanes, depth, c, ldc);
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
template <int N, bool Add, class E>
void weight_columns(const Real<E>* v, std::int64_t ldv, bool packed, const Real<E>* m, std::int64_t ldm,
                    std::int64_t rows, std::int64_t cin, Real<E>* c, std::int64_t ldc, Real<E>* copy) {
  constexpr int width = N * Lanes<E>::count, wide = sizeof(E) == 2 ? 2 : 1;
  for (std::int64_t k = 0; k < rows; ++k) std::memcpy(copy + k * width, m + k * ldm, width * sizeof(Real<E>));
  for (std::int64_t i = 0; i < row_blocks(cin); ++i) {
    const RowBlock block(cin, i);
    for (std::int64_t p = 0; p < block.count; ++p)
      for (int n = 0; n < N; ++n)
        __builtin_prefetch(c + (block.begin + block.count + p) * ldc + n * Lanes<E>::count, 1);
    const Real<E>* from = v + (packed ? block.begin * rows : block.begin);
    block_of_rows<kRows, N, Add>(block.count, reinterpret_cast<const E*>(from), wide,
                                 (packed ? block.count : ldv) * wide, reinterpret_cast<const E*>(copy), width,
                                 rows * wide, c + block.begin * ldc, ldc);
  }
}

template <bool Add, class E>
void gemm_weight_as(const Real<E>* v, std::int64_t ldv, const Real<E>* m, std::int64_t ldm, std::int64_t rows,
                    std::int64_t cin, std::int64_t cols, Real<E>* c, std::int64_t ldc, Real<E>* panel) {
  constexpr int lanes = Lanes<E>::count;
  const bool packed = cols >= 16 * lanes;  // read less often, a panel is not worth its copy
  if (packed) {
    pack_panel(v, ldv, rows, cin, panel);
    v = panel, panel += rows * cin;
  }
  std::int64_t j = 0;
  for (; j + 2 * lanes <= cols; j += 2 * lanes)
    weight_columns<2, Add, E>(v, ldv, packed, m + j, ldm, rows, cin, c + j, ldc, panel);
  if (j < cols) weight_columns<1, Add, E>(v, ldv, packed, m + j, ldm, rows, cin, c + j, ldc, panel);
}

template <class E>
void gemm_weight(const void* v, std::int64_t ldv, const void* m, std::int64_t ldm, std::int64_t rows, std::int64_t cin,
                 std::int64_t cols, Real<E>* c, std::int64_t ldc, bool add, Real<E>* panel) {
  const auto *a = static_cast<const Real<E>*>(v), *b = static_cast<const Real<E>*>(m);
  add ? gemm_weight_as<true, E>(a, ldv, b, ldm, rows, cin, cols, c, ldc, panel)
      : gemm_weight_as<false, E>(a, ldv, b, ldm, rows, cin, cols, c, ldc, panel);
}

}  // namespace EVERFACE_ISA
}  // namespace everface::core
