// Depthwise 3x3 convolutions over rows of a picture, and their transposes.
#pragma once

#include "elements.hpp"

namespace everface::perceptual {
namespace EVERFACE_ISA {

// Rows of a picture [rows][width][channels], of which rows first <= y < end are at hand and the others are zero.
struct Rows {
  const float* at;  // of row `first`
  std::int64_t first, end, width, channels;
  const float* row(std::int64_t y) const { return at + (y - first) * width * channels; }
};

// The sum of taps[ky][kx] * in[y + ky][x + kx] over what is inside, for one vector of channels.
EVERFACE_INLINE Floats taps_at(const Rows& in, std::int64_t y, std::int64_t x, std::int64_t c, const float* taps,
                               Floats sum) {
  const std::int64_t n = in.channels;
  const int ky0 = y < in.first ? static_cast<int>(in.first - y) : 0, kx0 = x < 0 ? 1 : 0;
  const int ky1 = y + 3 > in.end ? static_cast<int>(in.end - y) : 3, kx1 = x + 3 > in.width ? 2 : 3;
  for (int ky = ky0; ky < ky1; ++ky)
    for (int kx = kx0; kx < kx1; ++kx)
      sum += load(in.row(y + ky) + (x + kx) * n + c) * load(taps + (ky * 3 + kx) * n + c);
  return sum;
}

// One row of results out(x, c, sum) for 0 <= x < width at in[y .. y + 2][stride x - 1 ..].
template <class Out>
EVERFACE_INLINE void depthwise_row(const Rows& in, std::int64_t y, std::int64_t stride, std::int64_t width,
                                   const float* taps, const float* bias, const Out& out) {
  const std::int64_t n = in.channels;
  const bool inside = y >= in.first && y + 3 <= in.end;
  for (std::int64_t c = 0; c < n; c += kLanes) {
    const Floats start = bias ? load(bias + c) : Floats{};
    Floats tap[9];
    EVERFACE_UNROLL
    for (int t = 0; t < 9; ++t) tap[t] = load(taps + t * n + c);
    for (std::int64_t ox = 0; ox < width; ++ox) {
      const std::int64_t x = ox * stride - 1;
      if (!inside || x < 0 || x + 3 > in.width) {
        out(ox, c, taps_at(in, y, x, c, taps, start));
        continue;
      }
      Floats sum = start;
      EVERFACE_UNROLL
      for (int ky = 0; ky < 3; ++ky) {
        const float* row = in.row(y + ky) + x * n + c;
        EVERFACE_UNROLL
        for (int kx = 0; kx < 3; ++kx) sum += load(row + kx * n) * tap[ky * 3 + kx];
      }
      out(ox, c, sum);
    }
  }
}

// The transpose of a depthwise convolution of stride 2: row y of the gradient of its input, of `width` pixels.
template <class Out>
EVERFACE_INLINE void depthwise_row_back2(const Rows& grad, std::int64_t y, std::int64_t width, const float* taps,
                                         const Out& out) {
  const std::int64_t n = grad.channels;
  // y = 2 oy - 1 + ky: an even y has ky = 1 alone, an odd one 0 and 2; the same along x.
  for (std::int64_t c = 0; c < n; c += kLanes) {
    for (std::int64_t x = 0; x < width; ++x) {
      Floats sum{};
      for (int ky = y % 2 == 0 ? 1 : 0; ky < 3; ky += 2) {
        const std::int64_t oy = (y + 1 - ky) / 2;
        if (oy < grad.first || oy >= grad.end) continue;
        const float* row = grad.row(oy);
        for (int kx = x % 2 == 0 ? 1 : 0; kx < 3; kx += 2) {
          const std::int64_t ox = (x + 1 - kx) / 2;
          if (ox < grad.width) sum += load(row + ox * n + c) * load(taps + (ky * 3 + kx) * n + c);
        }
      }
      out(x, c, sum);
    }
  }
}

}  // namespace EVERFACE_ISA
}  // namespace everface::perceptual
