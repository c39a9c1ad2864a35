// Vectors of one instruction set, by the vector extensions of GCC and Clang. Included once per set, with EVERFACE_ISA
// and EVERFACE_VECTOR_BYTES defined (cmake/kernels.cmake); all of it sits in a namespace of that name, so that code
// compiled for a wide set never replaces code compiled for a narrow one. For the same reason kernels call no function
// templates of the standard library: the linker might keep one set's copy for all.
//
// E is a type of numbers in memory (float, double, bf16), R = Real<E> that in which is calculated.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>
#if defined(__AVX512BF16__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "everface/core/number.hpp"

namespace everface::core {
namespace EVERFACE_ISA {

#define EVERFACE_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define EVERFACE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define EVERFACE_UNROLL _Pragma("GCC unroll 16")
#endif

template <class E>
struct Lanes;

template <>
struct Lanes<float> {
  using real = float;
  typedef float vec __attribute__((vector_size(EVERFACE_VECTOR_BYTES)));
  static constexpr int count = EVERFACE_VECTOR_BYTES / 4;
};
template <>
struct Lanes<double> {
  using real = double;
  typedef double vec __attribute__((vector_size(EVERFACE_VECTOR_BYTES)));
  static constexpr int count = EVERFACE_VECTOR_BYTES / 8;
};
template <>
struct Lanes<bf16> : Lanes<float> {};

template <class E>
using Vec = typename Lanes<E>::vec;
template <class E>
constexpr int kLanes = Lanes<E>::count;

template <class R>
EVERFACE_INLINE Vec<R> splat(R value) {
  return Vec<R>{} + value;
}

template <class R>
EVERFACE_INLINE Vec<R> load(const R* p) {
  Vec<R> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <class R>
EVERFACE_INLINE void store(R* p, Vec<R> v) {
  std::memcpy(p, &v, sizeof v);
}

typedef std::uint16_t half_bits __attribute__((vector_size(EVERFACE_VECTOR_BYTES / 2)));
typedef std::uint32_t word_bits __attribute__((vector_size(EVERFACE_VECTOR_BYTES)));

// Whole numbers, one for each lane of R.
template <class R>
struct WholeOf {
  typedef std::int32_t type __attribute__((vector_size(EVERFACE_VECTOR_BYTES)));
};
template <>
struct WholeOf<double> {
  typedef std::int64_t type __attribute__((vector_size(EVERFACE_VECTOR_BYTES)));
};
template <class R>
using Whole = typename WholeOf<R>::type;

// Lane i of the result is lane I[i] of a, or lane I[i] - lanes of b.
template <class R, int... I>
EVERFACE_INLINE Vec<R> shuffle(Vec<R> a, Vec<R> b, std::integer_sequence<int, I...>) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, I...);
#else
  return __builtin_shuffle(a, b, Whole<R>{I...});
#endif
}

EVERFACE_INLINE Vec<float> widen(half_bits bits) {
  const word_bits words = __builtin_convertvector(bits, word_bits) << 16;
  Vec<float> v;
  std::memcpy(&v, &words, sizeof v);
  return v;
}

// Round to nearest even; a NaN stays a NaN.
EVERFACE_INLINE half_bits narrow(Vec<float> v) {
#if defined(__AVX512BF16__) && EVERFACE_VECTOR_BYTES == 64
  const __m256bh packed = _mm512_cvtneps_pbh((__m512)v);
  half_bits bits;
  std::memcpy(&bits, &packed, sizeof bits);
  return bits;
#else
  word_bits words;
  std::memcpy(&words, &v, sizeof words);
  const word_bits rounded = words + 0x7FFFu + ((words >> 16) & 1u);
  const word_bits quiet = words | 0x00400000u;
  const word_bits is_nan = (word_bits)(v != v);
  return __builtin_convertvector(((rounded & ~is_nan) | (quiet & is_nan)) >> 16, half_bits);
#endif
}

EVERFACE_INLINE Vec<float> load(const bf16* p) {
  half_bits bits;
  std::memcpy(&bits, p, sizeof bits);
  return widen(bits);
}

EVERFACE_INLINE void store(bf16* p, Vec<float> v) {
  const half_bits bits = narrow(v);
  std::memcpy(p, &bits, sizeof bits);
}

// The first n lanes; the others are zero, and the memory behind them is not touched.
template <class E>
EVERFACE_INLINE Vec<E> load_part(const E* p, int n) {
  if (n >= Lanes<E>::count) return load(p);
  E lanes[Lanes<E>::count] = {};
  std::memcpy(lanes, p, sizeof(E) * static_cast<unsigned>(n));
  return load(lanes);
}

template <class E>
EVERFACE_INLINE void store_part(E* p, Vec<E> v, int n) {
  if (n >= Lanes<E>::count) return store(p, v);
  E lanes[Lanes<E>::count];
  store(lanes, v);
  std::memcpy(p, lanes, sizeof(E) * static_cast<unsigned>(n));
}

template <class V>
EVERFACE_INLINE V maximum(V a, V b) {
  return a > b ? a : b;
}
template <class V>
EVERFACE_INLINE V minimum(V a, V b) {
  return a < b ? a : b;
}

// Scalars, where std::min would be emitted once for all sets.
template <class T>
EVERFACE_INLINE T least(T a, T b) {
  return b < a ? b : a;
}
template <class T>
EVERFACE_INLINE T most(T a, T b) {
  return a < b ? b : a;
}

template <int Step, class R, int... I>
EVERFACE_INLINE Vec<R> rotated(Vec<R> v, std::integer_sequence<int, I...>) {
  return shuffle<R>(v, v, std::integer_sequence<int, ((I + Step) % kLanes<R>)...>());
}

// The sum of all lanes, as a tree.
template <class R, int Step = kLanes<R> / 2>
EVERFACE_INLINE R sum(Vec<R> v) {
  if constexpr (Step == 0) {
    return v[0];
  } else {
    return sum<R, Step / 2>(v + rotated<Step, R>(v, std::make_integer_sequence<int, kLanes<R>>()));
  }
}

// As many numbers as a vector of doubles holds, widened.
EVERFACE_INLINE Vec<double> load_wide(const double* p) { return load(p); }
EVERFACE_INLINE Vec<double> load_wide(const float* p) {
  typedef float half_vector __attribute__((vector_size(EVERFACE_VECTOR_BYTES / 2)));
  half_vector half;
  std::memcpy(&half, p, sizeof half);
  return __builtin_convertvector(half, Vec<double>);
}

}  // namespace EVERFACE_ISA
}  // namespace everface::core
