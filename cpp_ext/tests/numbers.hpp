// Between double and the types that the kernels take.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "everface/stylegan.hpp"

namespace everface::test {

template <class E>
E from(double value) {
  if constexpr (std::is_same_v<E, bf16>) {
    const float real = static_cast<float>(value);
    std::uint32_t word;
    std::memcpy(&word, &real, sizeof word);
    return bf16{static_cast<std::uint16_t>((word + 0x7FFFu + ((word >> 16) & 1u)) >> 16)};
  } else {
    return static_cast<E>(value);
  }
}

template <class E>
double to(E value) {
  if constexpr (std::is_same_v<E, bf16>) {
    const std::uint32_t word = static_cast<std::uint32_t>(value.bits) << 16;
    float real;
    std::memcpy(&real, &word, sizeof real);
    return real;
  } else {
    return static_cast<double>(value);
  }
}

}  // namespace everface::test
