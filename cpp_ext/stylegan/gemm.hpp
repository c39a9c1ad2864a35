// Register-blocked matrix products: P rows by N vectors of columns stay in registers while the inner dimension runs.
#pragma once

#include "layer.hpp"
#include "vec.hpp"

namespace everface::stylegan {
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
template <int N, bool Add, class E>
inline void rows_by(std::int64_t rows, const E* a, std::int64_t row, std::int64_t step, const E* b, std::int64_t ldb,
                    std::int64_t depth, Real<E>* c, std::int64_t ldc) {
  const std::int64_t blocks = (rows + kRows - 1) / kRows;
  for (std::int64_t i = 0; i < blocks; ++i) {
    const std::int64_t begin = rows * i / blocks, count = rows * (i + 1) / blocks - begin;
    block_of_rows<kRows, N, Add>(count, a + begin * row, row, step, b, ldb, depth, c + begin * ldc, ldc);
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

template <bool Add, class E>
void gemm_weight_as(const E* a, std::int64_t lda, const E* b, std::int64_t ldb, std::int64_t rows, std::int64_t cin,
                    std::int64_t cols, Real<E>* c, std::int64_t ldc) {
  constexpr int lanes = Lanes<E>::count, wide = sizeof(E) == 2 ? 2 : 1;  // elements of an item, and tiles in a row
  std::int64_t j = 0;
  for (; j + 2 * lanes <= cols; j += 2 * lanes)
    rows_by<2, Add>(cin, a, wide, lda * wide, b + j * wide, ldb, rows * wide, c + j, ldc);
  if (j < cols) rows_by<1, Add>(cin, a, wide, lda * wide, b + j * wide, ldb, rows * wide, c + j, ldc);
}

template <class E>
void gemm_weight(const void* v, std::int64_t ldv, const void* m, std::int64_t ldm, std::int64_t rows, std::int64_t cin,
                 std::int64_t cols, Real<E>* c, std::int64_t ldc, bool add) {
  const E *a = static_cast<const E*>(v), *b = static_cast<const E*>(m);
  add ? gemm_weight_as<true>(a, ldv, b, ldm, rows, cin, cols, c, ldc)
      : gemm_weight_as<false>(a, ldv, b, ldm, rows, cin, cols, c, ldc);
}

}  // namespace EVERFACE_ISA
}  // namespace everface::stylegan
