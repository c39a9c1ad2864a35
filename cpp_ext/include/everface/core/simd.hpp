// Vectors of one instruction set. Included once per set, with EVERFACE_ISA and EVERFACE_VECTOR_BYTES defined; all of it
// sits in a namespace of that name, so that code compiled for a wide set never replaces code compiled for a narrow one.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__AVX512BF16__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "everface/core/number.hpp"

namespace everface::core {
namespace EVERFACE_ISA {

#define EVERFACE_INLINE inline __attribute__((always_inline))
#define EVERFACE_UNROLL _Pragma("GCC unroll 16")

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

// Indices of a shuffle.
template <class R>
struct MaskOf {
  typedef std::int32_t type __attribute__((vector_size(EVERFACE_VECTOR_BYTES)));
};
template <>
struct MaskOf<double> {
  typedef std::int64_t type __attribute__((vector_size(EVERFACE_VECTOR_BYTES)));
};

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

EVERFACE_INLINE float to_real(float v) { return v; }
EVERFACE_INLINE double to_real(double v) { return v; }
EVERFACE_INLINE float to_real(bf16 v) {
  const std::uint32_t word = static_cast<std::uint32_t>(v.bits) << 16;
  float real;
  std::memcpy(&real, &word, sizeof real);
  return real;
}
EVERFACE_INLINE void from_real(float v, float* out) { *out = v; }
EVERFACE_INLINE void from_real(double v, double* out) { *out = v; }
EVERFACE_INLINE void from_real(float v, bf16* out) {
  std::uint32_t word;
  std::memcpy(&word, &v, sizeof word);
  const std::uint32_t rounded = word + 0x7FFFu + ((word >> 16) & 1u);
  out->bits = static_cast<std::uint16_t>((v != v ? word | 0x00400000u : rounded) >> 16);
}

}  // namespace EVERFACE_ISA
}  // namespace everface::core
