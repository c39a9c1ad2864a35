// Numbers that kernels of every room and instruction set share.
#pragma once

#include <cstdint>

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

}  // namespace everface
