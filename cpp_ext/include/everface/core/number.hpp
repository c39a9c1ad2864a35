// Numbers that kernels of every room, instruction set and device share.
#pragma once

#include <cstdint>
#include <cstring>

// What the host and a CUDA device compute alike. Functions are static besides: compiled for a wide instruction set they
// must not replace those of a narrow one.
#if defined(__CUDACC__)
#define EVERFACE_HD __host__ __device__
#else
#define EVERFACE_HD
#endif

namespace everface {

// The upper half of a float32, as PyTorch, oneDNN and the CPUs' own instructions have it.
struct bf16 {
  std::uint16_t bits;
};

// The type in which products of E are summed, and in which styles, biases and noise are held.
template <class E>
struct RealOf {
  using type = E;
};
template <>
struct RealOf<bf16> {
  using type = float;
};
template <class E>
using Real = typename RealOf<E>::type;

EVERFACE_HD static inline float to_real(float v) { return v; }
EVERFACE_HD static inline double to_real(double v) { return v; }
EVERFACE_HD static inline float to_real(bf16 v) {
  const std::uint32_t word = static_cast<std::uint32_t>(v.bits) << 16;
  float real;
  memcpy(&real, &word, sizeof real);
  return real;
}

// Rounded to nearest even; a NaN stays a NaN.
EVERFACE_HD static inline void from_real(float v, float* to) { *to = v; }
EVERFACE_HD static inline void from_real(double v, double* to) { *to = v; }
EVERFACE_HD static inline void from_real(float v, bf16* to) {
  std::uint32_t word;
  memcpy(&word, &v, sizeof word);
  const std::uint32_t rounded = word + 0x7FFFu + ((word >> 16) & 1u);
  to->bits = static_cast<std::uint16_t>((v != v ? word | 0x00400000u : rounded) >> 16);
}

}  // namespace everface
