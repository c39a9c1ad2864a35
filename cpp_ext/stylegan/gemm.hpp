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
template <int P, int N, class R>
EVERFACE_INLINE void micro(const R* a, std::int64_t row, std::int64_t step, const R* b, std::int64_t ldb,
                           std::int64_t depth, R* c, std::int64_t ldc, bool accumulate, int last) {
  Vec<R> sums[P][N];
  EVERFACE_UNROLL
  for (int p = 0; p < P; ++p) {
    EVERFACE_UNROLL
    for (int n = 0; n < N; ++n) sums[p][n] = Vec<R>{};
  }
  for (std::int64_t k = 0; k < depth; ++k, a += step, b += ldb) {
    Vec<R> weights[N];
    EVERFACE_UNROLL
    for (int n = 0; n < N; ++n)
      weights[n] = n + 1 == N ? load_part(b + n * Lanes<R>::count, last) : load(b + n * Lanes<R>::count);
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
      const int width = n + 1 == N ? last : Lanes<R>::count;
      store_part(out, accumulate ? sums[p][n] + load_part(out, width) : sums[p][n], width);
    }
  }
}

// Pairs of bfloat16: b holds [depth / 2][columns][2].
template <int P, int N>
EVERFACE_INLINE void micro(const bf16* a, std::int64_t row, std::int64_t, const bf16* b, std::int64_t ldb,
                           std::int64_t depth, float* c, std::int64_t ldc, bool, int) {
  Vec<float> sums[P][N];
  EVERFACE_UNROLL
  for (int p = 0; p < P; ++p) {
    EVERFACE_UNROLL
    for (int n = 0; n < N; ++n) sums[p][n] = Vec<float>{};
  }
  for (std::int64_t k = 0; k < depth; k += 2, a += 2, b += 2 * ldb) {
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
    for (int n = 0; n < N; ++n) store(c + p * ldc + n * Lanes<float>::count, sums[p][n]);
  }
}

template <int P, int N, class E>
__attribute__((noinline)) void micro_kernel(const E* a, std::int64_t row, std::int64_t step, const E* b,
                                            std::int64_t ldb, std::int64_t depth, Real<E>* c, std::int64_t ldc,
                                            bool accumulate, int last) {
  if (last == Lanes<E>::count) {
    accumulate ? micro<P, N>(a, row, step, b, ldb, depth, c, ldc, true, Lanes<E>::count)
               : micro<P, N>(a, row, step, b, ldb, depth, c, ldc, false, Lanes<E>::count);
  } else {
    micro<P, N>(a, row, step, b, ldb, depth, c, ldc, accumulate, last);
  }
}

template <int P, int N, class E>
inline void rest_of_rows(std::int64_t rows, const E* a, std::int64_t row, std::int64_t step, const E* b,
                         std::int64_t ldb, std::int64_t depth, Real<E>* c, std::int64_t ldc, bool accumulate,
                         int last) {
  if constexpr (P > 0) {
    if (rows == P) return micro_kernel<P, N>(a, row, step, b, ldb, depth, c, ldc, accumulate, last);
    rest_of_rows<P - 1, N>(rows, a, row, step, b, ldb, depth, c, ldc, accumulate, last);
  }
}

template <int N, class E>
inline void rows_by(std::int64_t rows, const E* a, std::int64_t row, std::int64_t step, const E* b, std::int64_t ldb,
                    std::int64_t depth, Real<E>* c, std::int64_t ldc, bool accumulate, int last) {
  for (; rows >= kRows; rows -= kRows, a += kRows * row, c += kRows * ldc)
    micro_kernel<kRows, N>(a, row, step, b, ldb, depth, c, ldc, accumulate, last);
  rest_of_rows<kRows - 1, N>(rows, a, row, step, b, ldb, depth, c, ldc, accumulate, last);
}

template <class E>
void gemm(const E* a, std::int64_t lda, std::int64_t rows, const E* u, std::int64_t depth, int cols, Real<E>* c,
          std::int64_t ldc) {
  constexpr int lanes = Lanes<E>::count;
  if (cols > lanes)
    rows_by<2>(rows, a, lda, 1, u, 2 * lanes, depth, c, ldc, false, lanes);
  else
    rows_by<1>(rows, a, lda, 1, u, lanes, depth, c, ldc, false, lanes);
}

template <class R>
void gemm_weight(const R* v, std::int64_t ldv, const R* m, std::int64_t ldm, std::int64_t rows, std::int64_t cin,
                 std::int64_t cout, R* c, std::int64_t ldc) {
  constexpr int lanes = Lanes<R>::count;
  std::int64_t j = 0;
  for (; j + 2 * lanes <= cout; j += 2 * lanes) rows_by<2>(cin, v, 1, ldv, m + j, ldm, rows, c + j, ldc, true, lanes);
  for (; j < cout; j += lanes) {
    const int last = cout - j < lanes ? static_cast<int>(cout - j) : lanes;
    rows_by<1>(cin, v, 1, ldv, m + j, ldm, rows, c + j, ldc, true, last);
  }
}

}  // namespace EVERFACE_ISA
}  // namespace everface::stylegan
