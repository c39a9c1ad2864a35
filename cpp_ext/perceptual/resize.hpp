// Bilinear enlargement by a whole factor, as PyTorch's interpolate without aligned corners, with the normalisation of
// ImageNet's colours; and its transpose.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace everface::perceptual {

constexpr float kMean[3] = {0.485f, 0.456f, 0.406f}, kDeviation[3] = {0.229f, 0.224f, 0.225f};
constexpr float gain_of(std::int64_t plane) { return 0.5f / kDeviation[plane]; }
constexpr float offset_of(std::int64_t plane) { return (0.5f - kMean[plane]) / kDeviation[plane]; }

// Along one axis: sample i lies between from and from + 1 (or on from, at the border).
struct Between {
  std::int64_t from, to;
  float far;  // weight of `to`
};

inline std::vector<Between> between(std::int64_t small, std::int64_t factor) {
  std::vector<Between> places(static_cast<std::size_t>(small * factor));
  for (std::int64_t i = 0; i < small * factor; ++i) {
    const float at = std::max(0.0f, (static_cast<float>(i) + 0.5f) / static_cast<float>(factor) - 0.5f);
    const auto from = static_cast<std::int64_t>(at);
    places[static_cast<std::size_t>(i)] = {from, std::min(from + 1, small - 1), at - static_cast<float>(from)};
  }
  return places;
}

// Rows begin <= y < end of large[small * factor]^2, one plane.
inline void enlarge(const float* image, std::int64_t small, const std::vector<Between>& places, float gain,
                    float offset, std::int64_t begin, std::int64_t end, float* large) {
  const auto side = static_cast<std::int64_t>(places.size());
  for (std::int64_t y = begin; y < end; ++y) {
    const Between row = places[static_cast<std::size_t>(y)];
    const float *near = image + row.from * small, *far = image + row.to * small;
    for (std::int64_t x = 0; x < side; ++x) {
      const Between col = places[static_cast<std::size_t>(x)];
      const float a = near[col.from] + (near[col.to] - near[col.from]) * col.far;
      const float b = far[col.from] + (far[col.to] - far[col.from]) * col.far;
      large[y * side + x] = (a + (b - a) * row.far) * gain + offset;
    }
  }
}

// grad[small]^2 = the transpose of enlarge on large[small * factor]^2, one plane.
inline void enlarge_back(const float* large, std::int64_t small, const std::vector<Between>& places, float gain,
                         float* grad) {
  const auto side = static_cast<std::int64_t>(places.size());
  std::fill(grad, grad + small * small, 0.0f);
  for (std::int64_t y = 0; y < side; ++y) {
    const Between row = places[static_cast<std::size_t>(y)];
    float *near = grad + row.from * small, *far = grad + row.to * small;
    for (std::int64_t x = 0; x < side; ++x) {
      const Between col = places[static_cast<std::size_t>(x)];
      const float value = large[y * side + x] * gain, b = value * row.far, a = value - b;
      near[col.to] += a * col.far, near[col.from] += a - a * col.far;
      far[col.to] += b * col.far, far[col.from] += b - b * col.far;
    }
  }
}

}  // namespace everface::perceptual
