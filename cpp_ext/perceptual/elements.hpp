// ReLU6, its masks, and rounding to the type of the products.
#pragma once

#include "../stylegan/layer.hpp"
#include "everface/core/simd.hpp"
#include "jobs.hpp"

namespace everface::perceptual {
namespace EVERFACE_ISA {

using namespace core::EVERFACE_ISA;  // NOLINT: the vectors of this instruction set
using Floats = Vec<float>;
constexpr int kLanes = Lanes<float>::count;
typedef std::int8_t mask_bytes __attribute__((vector_size(EVERFACE_VECTOR_BYTES / 4)));
typedef std::int32_t mask_words __attribute__((vector_size(EVERFACE_VECTOR_BYTES)));

EVERFACE_INLINE Floats relu6(Floats v) { return maximum(Floats{}, minimum(splat<float>(6), v)); }

// Of a value that went through ReLU6.
EVERFACE_INLINE void store_mask(std::int8_t* to, Floats v) {
  const mask_words passes = (v > 0.0f) & (v < 6.0f);
  const mask_bytes bytes = __builtin_convertvector(passes, mask_bytes);
  std::memcpy(to, &bytes, sizeof bytes);
}

EVERFACE_INLINE Floats masked(Floats v, const std::int8_t* mask) {
  mask_bytes bytes;
  std::memcpy(&bytes, mask, sizeof bytes);
  mask_words words;
  std::memcpy(&words, &v, sizeof words);
  words &= __builtin_convertvector(bytes, mask_words);
  std::memcpy(&v, &words, sizeof v);
  return v;
}

// The operand of a product: the values themselves, or rounded into scratch.
EVERFACE_INLINE const float* operand(const float* from, std::int64_t, float*) { return from; }
inline const bf16* operand(const float* from, std::int64_t count, bf16* to) {
  for (std::int64_t i = 0; i < count; i += kLanes) store(to + i, load(from + i));
  return to;
}

// c[rows, cols] = a[rows, depth] packed, all dense.
template <class E>
inline void multiply(const E* a, std::int64_t lda, std::int64_t rows, const Product<E>& b, float* c) {
  const auto& k = stylegan::kernels<E>();
  for (std::int64_t col = 0; col < b.cols; col += k.block) {
    const int width = static_cast<int>(b.cols - col < k.block ? b.cols - col : k.block);
    k.gemm(a, lda, rows, b.packed + col * b.depth, b.depth, width, c + col, b.cols, false);
  }
}

}  // namespace EVERFACE_ISA
}  // namespace everface::perceptual
