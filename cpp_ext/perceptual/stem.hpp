// The first convolution as a matrix product over patches, and the comparison of unit vectors.
#pragma once

#include <algorithm>
#include <cmath>

#include "elements.hpp"

namespace everface::perceptual {
namespace EVERFACE_ISA {

constexpr std::int64_t kPatch = 32;    // 27 numbers of three planes, padded
constexpr std::int64_t kStemOut = 32;  // channels
constexpr std::int64_t kStemRows = 4;  // of a strip

template <class E>
std::size_t stem_scratch_bytes(const StemJob<E>& job) {
  const auto pixels = static_cast<std::size_t>((kStemRows + 1) * job.out);
  return pixels * kPatch * (sizeof(float) + sizeof(E));
}

// The patches of one row of results, rounded for the products: patch[plane * 9 + ky * 3 + kx].
template <class E>
void gather_patches(const StemJob<E>& job, std::int64_t oy, E* patches) {
  for (std::int64_t ox = 0; ox < job.out; ++ox) {
    E* patch = patches + ox * kPatch;
    for (std::int64_t k = 27; k < kPatch; ++k) from_real(0.0f, patch + k);
    for (int plane = 0; plane < 3; ++plane)
      for (int ky = 0; ky < 3; ++ky) {
        const std::int64_t y = 2 * oy - 1 + ky;
        const float* row = job.planes + (plane * job.side + y) * job.side;
        for (int kx = 0; kx < 3; ++kx) {
          const std::int64_t x = 2 * ox - 1 + kx;
          const bool inside = y >= 0 && y < job.side && x >= 0 && x < job.side;
          from_real(inside ? row[x] : 0.0f, patch + plane * 9 + ky * 3 + kx);
        }
      }
  }
}

template <class E>
void stem_forward(const StemJob<E>& job, std::int64_t row_begin, std::int64_t row_end, std::byte* scratch) {
  E* patches = reinterpret_cast<E*>(scratch);
  for (std::int64_t row = row_begin; row < row_end; row += kStemRows) {
    const std::int64_t last = std::min(row + kStemRows, row_end), pixels = (last - row) * job.out;
    for (std::int64_t y = row; y < last; ++y) gather_patches(job, y, patches + (y - row) * job.out * kPatch);
    float* x = job.x + row * job.out * kStemOut;
    multiply(patches, kPatch, pixels, job.forward, x);
    for (std::int64_t p = 0; p < pixels; ++p)
      for (std::int64_t c = 0; c < kStemOut; c += kLanes)
        store(x + p * kStemOut + c, relu6(load(x + p * kStemOut + c) + load(job.bias + c)));
  }
}

// Adds the patches' gradients of row oy of the results to rows begin <= y < end of the planes.
template <class E>
void scatter_patches(const StemJob<E>& job, std::int64_t oy, const float* patches, std::int64_t begin,
                     std::int64_t end) {
  for (int plane = 0; plane < 3; ++plane)
    for (int ky = 0; ky < 3; ++ky) {
      const std::int64_t y = 2 * oy - 1 + ky;
      if (y < begin || y >= end) continue;
      float* row = job.dplanes + (plane * job.side + y) * job.side;
      for (std::int64_t ox = 0; ox < job.out; ++ox) {
        const float* patch = patches + ox * kPatch + plane * 9 + ky * 3;
        if (ox > 0) row[2 * ox - 1] += patch[0];
        row[2 * ox] += patch[1];
        if (2 * ox + 1 < job.side) row[2 * ox + 1] += patch[2];
      }
    }
}

// Rows begin <= y < end of the planes' gradient.
template <class E>
void stem_backward(const StemJob<E>& job, std::int64_t row_begin, std::int64_t row_end, std::byte* scratch) {
  float* patches = reinterpret_cast<float*>(scratch);
  E* rounded = reinterpret_cast<E*>(patches + (kStemRows + 1) * job.out * kPatch);
  for (std::int64_t plane = 0; plane < 3; ++plane) {
    float* rows = job.dplanes + plane * job.side * job.side;
    std::fill(rows + row_begin * job.side, rows + row_end * job.side, 0.0f);
  }
  // Result row oy reads the rows 2 oy - 1 to 2 oy + 1.
  const std::int64_t out_end = std::min(row_end / 2 + 1, job.out);
  for (std::int64_t row = row_begin / 2; row < out_end; row += kStemRows) {
    const std::int64_t last = std::min(row + kStemRows, out_end), count = (last - row) * job.out * kStemOut;
    const float *x = job.x + row * job.out * kStemOut, *dx = job.dx + row * job.out * kStemOut;
    for (std::int64_t i = 0; i < count; i += kLanes) {
      const Floats v = load(x + i), d = load(dx + i);
      store(rounded + i, (v > 0.0f) & (v < 6.0f) ? d : Floats{});
    }
    multiply(rounded, kStemOut, (last - row) * job.out, job.back, patches);
    for (std::int64_t y = row; y < last; ++y)
      scatter_patches(job, y, patches + (y - row) * job.out * kPatch, row_begin, row_end);
  }
}

EVERFACE_INLINE float sum_of(Floats v) {
  float sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += v[i];
  return sum;
}

// The sum over pixels of the squared difference of unit vectors f = y / |y|; weight times its gradient is added to dy:
// dy += r (g - f (f . g)), g = 2 weight (f - target), r = 1 / |y|.
template <class T>
double tap(const TapJob<T>& job) {
  const std::int64_t n = job.channels;
  double total = 0;
  for (std::int64_t p = 0; p < job.pixels; ++p) {
    const float* y = job.y + p * n;
    Floats squares{};
    for (std::int64_t c = 0; c < n; c += kLanes) squares += load(y + c) * load(y + c);
    const float r = 1.0f / std::sqrt(sum_of(squares) + 1e-8f);
    if (job.feature)
      for (std::int64_t c = 0; c < n; c += kLanes) store(job.feature + p * n + c, load(y + c) * r);
    if (!job.target) continue;
    const T* target = job.target + p * n;
    Floats distance{}, along{};
    for (std::int64_t c = 0; c < n; c += kLanes) {
      const Floats f = load(y + c) * r;
      const Floats d = f - load(target + c);
      distance += d * d, along += d * f;
    }
    total += static_cast<double>(sum_of(distance));
    if (!job.dy) continue;
    const float dot = sum_of(along), gain = 2 * job.weight * r;
    float* dy = job.dy + p * n;
    for (std::int64_t c = 0; c < n; c += kLanes) {
      const Floats f = load(y + c) * r, d = f - load(target + c);
      store(dy + c, load(dy + c) + (d - f * dot) * gain);
    }
  }
  return total;
}

}  // namespace EVERFACE_ISA
}  // namespace everface::perceptual
