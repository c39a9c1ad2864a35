// What the drivers (ISA-independent) and the kernels (one set per ISA) share. Channels lie innermost and are padded
// with zeros to a multiple of 16.
#pragma once

#include <cstddef>
#include <cstdint>

#include "everface/core/number.hpp"

namespace everface::perceptual {

constexpr std::int64_t kPad = 16;
constexpr std::int64_t padded(std::int64_t channels) { return (channels + kPad - 1) / kPad * kPad; }

// A 1x1 convolution, packed for the matrix products: c[pixels, cols] = a[pixels, depth] packed.
template <class E>
struct Product {
  const E* packed;
  std::int64_t depth, cols;
};

// An inverted residual of one image: x[height, width, cin] -> expand -> depthwise -> project -> y[oh, ow, cout].
template <class E>
struct BlockJob {
  std::int64_t height, width, oh, ow, cin, hidden, cout;  // channels padded
  int stride;
  bool expands, adds;
  Product<E> expand, project;                                                                // forward
  Product<E> expand_back, project_back;                                                      // transposed
  const float *expand_bias, *depthwise, *depthwise_flipped, *depthwise_bias, *project_bias;  // depthwise [9][hidden]

  const float* x;
  float* y;
  std::int8_t* expand_mask;     // [height, width, hidden]: -1 where ReLU6 passes gradients, 0 elsewhere; null for none
  std::int8_t* depthwise_mask;  // [oh, ow, hidden]
  const float* dy;
  float* dx;
};

// The first convolution of one image: 3x3, stride 2, of normalised planes[3, side, side] to x[oh, ow, 32].
template <class E>
struct StemJob {
  std::int64_t side, out;
  Product<E> forward, back;
  const float* bias;
  const float* planes;
  float* x;
  const float* dx;
  float* dplanes;
};

// Unit vectors of y[pixels, channels] against those of a target.
template <class T>
struct TapJob {
  std::int64_t pixels, channels;
  const float* y;
  const T* target;
  T* feature;    // to write the unit vectors to; or null
  float* dy;     // to add the gradient to; or null
  float weight;  // of the gradient
};

template <class E>
struct Kernels {
  std::size_t (*scratch_bytes)(const BlockJob<E>&);
  void (*forward)(const BlockJob<E>&, std::int64_t row_begin, std::int64_t row_end, std::byte* scratch);
  void (*backward)(const BlockJob<E>&, std::int64_t row_begin, std::int64_t row_end, std::byte* scratch);
  std::size_t (*stem_scratch_bytes)(const StemJob<E>&);
  void (*stem_forward)(const StemJob<E>&, std::int64_t row_begin, std::int64_t row_end, std::byte* scratch);
  void (*stem_backward)(const StemJob<E>&, std::int64_t row_begin, std::int64_t row_end, std::byte* scratch);
  double (*tap)(const TapJob<float>&);
  double (*tap_rounded)(const TapJob<bf16>&);
};

// Of the instruction set that the matrix products use.
template <class E>
const Kernels<E>& kernels();

}  // namespace everface::perceptual
