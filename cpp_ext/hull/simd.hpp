// Vectors of the instruction set that this translation unit is compiled for (GCC and Clang vector extensions).
// Included once per instruction set, each time in its own namespace: nothing here may leak into another.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#define EVERFACE_TILE_ROWS 8
#define EVERFACE_TILE_VECTORS 3
#define EVERFACE_DOT_TILE 4
#elif defined(__AVX2__)
#define EVERFACE_TILE_ROWS 4
#define EVERFACE_TILE_VECTORS 3
#define EVERFACE_DOT_TILE 3
#elif defined(__aarch64__)
#define EVERFACE_TILE_ROWS 6
#define EVERFACE_TILE_VECTORS 4
#define EVERFACE_DOT_TILE 4
#else
#define EVERFACE_TILE_ROWS 4
#define EVERFACE_TILE_VECTORS 2
#define EVERFACE_DOT_TILE 3
#endif

namespace everface::hull::EVERFACE_ISA {

template <class T>
struct Simd;
template <>
struct Simd<double> {
  typedef double Type __attribute__((vector_size(EVERFACE_VECTOR_BYTES)));
  typedef double Loose __attribute__((vector_size(EVERFACE_VECTOR_BYTES), aligned(8), may_alias));
};
template <>
struct Simd<float> {
  typedef float Type __attribute__((vector_size(EVERFACE_VECTOR_BYTES)));
  typedef float Loose __attribute__((vector_size(EVERFACE_VECTOR_BYTES), aligned(4), may_alias));
};

template <class T>
using Vec = typename Simd<T>::Type;
template <class T>
constexpr std::int64_t kLanes = EVERFACE_VECTOR_BYTES / sizeof(T);

template <class T>
inline Vec<T> load(const T* from) {
  return *reinterpret_cast<const typename Simd<T>::Loose*>(from);
}
template <class T>
inline void store(T* to, Vec<T> value) {
  *reinterpret_cast<typename Simd<T>::Loose*>(to) = value;
}
// As many numbers of the caller's type as a vector of doubles holds, widened.
inline Vec<double> load_wide(const double* from) { return load(from); }
inline Vec<double> load_wide(const float* from) {
  typedef float Half __attribute__((vector_size(EVERFACE_VECTOR_BYTES / 2)));
  typedef float LooseHalf __attribute__((vector_size(EVERFACE_VECTOR_BYTES / 2), aligned(4), may_alias));
  return __builtin_convertvector(static_cast<Half>(*reinterpret_cast<const LooseHalf*>(from)), Vec<double>);
}
template <class T>
inline Vec<T> splat(T value) {
  return Vec<T>{} + value;
}
template <class T>
inline T sum(Vec<T> value) {
  T total = 0;
  for (int i = 0; i < static_cast<int>(kLanes<T>); ++i) total += value[i];
  return total;
}

// std::min and friends would be emitted once for all instruction sets, and the linker may keep the wrong one.
template <class T>
inline T least(T a, T b) {
  return b < a ? b : a;
}
template <class T>
inline T most(T a, T b) {
  return a < b ? b : a;
}

inline double dot(const double* a, const double* b, std::int64_t n) {
  constexpr std::int64_t lanes = kLanes<double>;
  Vec<double> s0{}, s1{};
  std::int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    s0 += load(a + i) * load(b + i);
    s1 += load(a + i + lanes) * load(b + i + lanes);
  }
  for (; i + lanes <= n; i += lanes) s0 += load(a + i) * load(b + i);
  double total = sum<double>(s0 + s1);
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

// y += a x over whole vectors: both are padded.
inline void axpy(double a, const double* x, double* y, std::int64_t n) {
  const Vec<double> av = splat(a);
  for (std::int64_t i = 0; i < n; i += kLanes<double>) store(y + i, load(y + i) + av * load(x + i));
}

}  // namespace everface::hull::EVERFACE_ISA
