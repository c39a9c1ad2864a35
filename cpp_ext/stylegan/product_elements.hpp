// Modulated convolution element by element, for backends that run each element by itself (CUDA): its matrix products,
// with nothing about threads. The host backend of device_ops.hpp runs the same code, so it is tested without a GPU.
#pragma once

#include <cmath>
#include <cstdint>

#include "everface/stylegan.hpp"

namespace everface::stylegan::elements {

EVERFACE_HD static inline float root(float v) { return sqrtf(v); }
EVERFACE_HD static inline double root(double v) { return sqrt(v); }

template <class R>
EVERFACE_HD static inline R clamped(R v, R limit) {
  const R below = v > limit ? limit : v;
  return below < -limit ? -limit : below;
}

template <class E>
EVERFACE_HD static inline Real<E> limit_of(Real<E> clamp) {
  E rounded;  // a clamped y is the limit as E can hold it
  from_real(clamp, &rounded);
  return to_real(rounded);
}

// Where a convolution's result reads its input, and the reverse. Pixels are numbered over the whole batch. With up the
// result is the transposed convolution's, one pixel larger than twice the input; the FIR comes after.
struct Grid {
  std::int64_t height, width, oh, ow;
  int taps;
  bool up;

  // The input pixel that tap (r, q) of a result's pixel meets, or -1.
  EVERFACE_HD std::int64_t source(std::int64_t pixel, int r, int q) const {
    const std::int64_t image = pixel / (oh * ow), y = pixel / ow % oh, x = pixel % ow;
    std::int64_t iy = up ? y - r : y + r - taps / 2, ix = up ? x - q : x + q - taps / 2;
    if (up && ((iy | ix) & 1)) return -1;
    if (up) iy /= 2, ix /= 2;
    return iy < 0 || ix < 0 || iy >= height || ix >= width ? -1 : (image * height + iy) * width + ix;
  }
  // The result's pixel that reads an input pixel by tap (r, q), or -1.
  EVERFACE_HD std::int64_t target(std::int64_t pixel, int r, int q) const {
    const std::int64_t image = pixel / (height * width), y = pixel / width % height, x = pixel % width;
    const std::int64_t oy = up ? 2 * y + r : y - r + taps / 2, ox = up ? 2 * x + q : x - q + taps / 2;
    return oy < 0 || ox < 0 || oy >= oh || ox >= ow ? -1 : (image * oh + oy) * ow + ox;
  }
  EVERFACE_HD std::int64_t image_of_source(std::int64_t pixel) const { return pixel / (height * width); }
};

template <class E>
struct Activate {
  const Real<E>*demod, *noise, *bias;
  std::int64_t noise_step, pixels, cout;
  Real<E> strength, slope, gain, clamp;
  E* y;

  EVERFACE_HD void store(std::int64_t pixel, std::int64_t o, Real<E> z) const {
    const std::int64_t image = pixel / pixels;
    Real<E> v = demod ? z * demod[image * cout + o] : z;
    if (noise) v += noise[image * noise_step + pixel % pixels] * strength;
    if (bias) v += bias[o];
    from_real(clamped((v > 0 ? v : v * slope) * gain, clamp), y + pixel * cout + o);
  }
};

// Matrix products: c(i, j) = sum over k of a(i, k) b(k, j), k being a tap and a channel, or a pixel.
template <class E>
struct ForwardProduct {
  using R = Real<E>;
  Grid grid;
  std::int64_t cin;
  const E* x;
  const R *styles, *weight;
  R* raw;  // null: activate
  Activate<E> activate;

  EVERFACE_HD R a(std::int64_t pixel, std::int64_t k) const {
    const int tap = static_cast<int>(k / cin);
    const std::int64_t c = k % cin, from = grid.source(pixel, tap / grid.taps, tap % grid.taps);
    return from < 0 ? R(0) : to_real(x[from * cin + c]) * styles[grid.image_of_source(from) * cin + c];
  }
  EVERFACE_HD R b(std::int64_t k, std::int64_t o) const {
    return weight[(o * cin + k % cin) * grid.taps * grid.taps + k / cin];
  }
  EVERFACE_HD void store(std::int64_t pixel, std::int64_t o, R sum) const {
    raw ? void(raw[pixel * activate.cout + o] = sum) : activate.store(pixel, o, sum);
  }
};

template <class R>
struct InputProduct {
  Grid grid;
  std::int64_t cin, cout;
  const R *g, *weight;
  R* z;

  EVERFACE_HD R a(std::int64_t pixel, std::int64_t k) const {
    const int tap = static_cast<int>(k / cout);
    const std::int64_t from = grid.target(pixel, tap / grid.taps, tap % grid.taps);
    return from < 0 ? R(0) : g[from * cout + k % cout];
  }
  EVERFACE_HD R b(std::int64_t k, std::int64_t c) const {
    return weight[(k % cout * cin + c) * grid.taps * grid.taps + k / cout];
  }
  EVERFACE_HD void store(std::int64_t pixel, std::int64_t c, R sum) const { z[pixel * cin + c] = sum; }
};

template <class E>
struct WeightProduct {
  using R = Real<E>;
  Grid grid;
  std::int64_t cin, cout;
  const E* x;
  const R *styles, *g, *weight, *dq;  // dq[cout, cin]: gradient of the sums of squared taps, or null
  R* dweight;

  EVERFACE_HD R a(std::int64_t o, std::int64_t pixel) const { return g[pixel * cout + o]; }
  EVERFACE_HD R b(std::int64_t pixel, std::int64_t column) const {
    const int tap = static_cast<int>(column / cin);
    const std::int64_t c = column % cin, from = grid.source(pixel, tap / grid.taps, tap % grid.taps);
    return from < 0 ? R(0) : to_real(x[from * cin + c]) * styles[grid.image_of_source(from) * cin + c];
  }
  EVERFACE_HD void store(std::int64_t o, std::int64_t column, R sum) const {
    const std::int64_t row = o * cin + column % cin, at = row * grid.taps * grid.taps + column / cin;
    dweight[at] = dq ? sum + 2 * weight[at] * dq[row] : sum;
  }
};

}  // namespace everface::stylegan::elements
