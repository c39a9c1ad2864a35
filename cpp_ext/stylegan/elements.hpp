// StyleGAN2's operators element by element, for backends that run each element by itself (CUDA): what every result is,
// with nothing about threads. The host backend of device_ops.hpp runs the same code, so it is tested without a GPU.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "everface/stylegan.hpp"

#if defined(__CUDACC__)
#define EVERFACE_HD __host__ __device__ inline
#else
#define EVERFACE_HD inline
#endif

namespace everface::stylegan::elements {

EVERFACE_HD float read(float v) { return v; }
EVERFACE_HD double read(double v) { return v; }
EVERFACE_HD float read(bf16 v) {
  const std::uint32_t word = static_cast<std::uint32_t>(v.bits) << 16;
  float real;
  memcpy(&real, &word, sizeof real);
  return real;
}
EVERFACE_HD void write(float* to, float v) { *to = v; }
EVERFACE_HD void write(double* to, double v) { *to = v; }
EVERFACE_HD void write(bf16* to, float v) {
  std::uint32_t word;
  memcpy(&word, &v, sizeof word);
  const std::uint32_t rounded = word + 0x7FFFu + ((word >> 16) & 1u);
  to->bits = static_cast<std::uint16_t>((v != v ? word | 0x00400000u : rounded) >> 16);
}

EVERFACE_HD float root(float v) { return sqrtf(v); }
EVERFACE_HD double root(double v) { return sqrt(v); }

template <class R>
EVERFACE_HD R clamped(R v, R limit) {
  const R below = v > limit ? limit : v;
  return below < -limit ? -limit : below;
}

template <class E>
EVERFACE_HD Real<E> limit_of(Real<E> clamp) {
  E rounded;  // a clamped y is the limit as E can hold it
  write(&rounded, clamp);
  return read(rounded);
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
    write(y + pixel * cout + o, clamped((v > 0 ? v : v * slope) * gain, clamp));
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
    return from < 0 ? R(0) : read(x[from * cin + c]) * styles[grid.image_of_source(from) * cin + c];
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
    return from < 0 ? R(0) : read(x[from * cin + c]) * styles[grid.image_of_source(from) * cin + c];
  }
  EVERFACE_HD void store(std::int64_t o, std::int64_t column, R sum) const {
    const std::int64_t row = o * cin + column % cin, at = row * grid.taps * grid.taps + column / cin;
    dweight[at] = dq ? sum + 2 * weight[at] * dq[row] : sum;
  }
};

// Elements of results that are not products.
template <class R>
struct SquareSum {
  const R* weight;
  int area;
  R* q;
  EVERFACE_HD void operator()(std::int64_t i) const {
    R sum = 0;
    for (int t = 0; t < area; ++t) sum += weight[i * area + t] * weight[i * area + t];
    q[i] = sum;
  }
};

template <class R>
struct Demodulation {
  std::int64_t cin, cout;
  const R *styles, *q;
  R* demod;
  EVERFACE_HD void operator()(std::int64_t i) const {
    const R *s = styles + i / cout * cin, *row = q + i % cout * cin;
    R sum = 0;
    for (std::int64_t c = 0; c < cin; ++c) sum += s[c] * s[c] * row[c];
    demod[i] = 1 / root(sum + R(1e-8));
  }
};

template <class R>
EVERFACE_HD R fir_tap(int k) {
  return k == 0 || k == 3 ? R(0.25) : R(0.75);  // [1,3,3,1] / 8 per axis, times 2 for the inserted zeros
}

// y from the transposed convolution t[batch, oh + 1, ow + 1, cout].
template <class E>
struct FilterAndActivate {
  using R = Real<E>;
  std::int64_t oh, ow;
  const R* t;
  Activate<E> activate;
  EVERFACE_HD void operator()(std::int64_t i) const {
    const std::int64_t o = i % activate.cout, pixel = i / activate.cout;
    const std::int64_t image = pixel / (oh * ow), y = pixel / ow % oh, x = pixel % ow;
    R sum = 0;
    for (int k = 0; k < 4; ++k)
      for (int l = 0; l < 4; ++l) {
        const std::int64_t ty = y + k - 1, tx = x + l - 1;
        if (ty >= 0 && tx >= 0 && ty <= oh && tx <= ow)
          sum += t[((image * (oh + 1) + ty) * (ow + 1) + tx) * activate.cout + o] * (fir_tap<R>(k) * fir_tap<R>(l));
      }
    activate.store(pixel, o, sum);
  }
};

template <class R>
struct FilterAdjoint {
  std::int64_t oh, ow, cout;
  const R* dz;
  R* dt;
  EVERFACE_HD void operator()(std::int64_t i) const {
    const std::int64_t o = i % cout, pixel = i / cout, th = oh + 1, tw = ow + 1;
    const std::int64_t image = pixel / (th * tw), ty = pixel / tw % th, tx = pixel % tw;
    R sum = 0;
    for (int k = 0; k < 4; ++k)
      for (int l = 0; l < 4; ++l) {
        const std::int64_t y = ty - k + 1, x = tx - l + 1;
        if (y >= 0 && x >= 0 && y < oh && x < ow)
          sum += dz[((image * oh + y) * ow + x) * cout + o] * (fir_tap<R>(k) * fir_tap<R>(l));
      }
    dt[i] = sum;
  }
};

// The activation's gradient at one element, and what its sums over pixels are sums of.
template <class E>
struct ActivationSlope {
  using R = Real<E>;
  Activate<E> forward;  // y is read, nothing is stored
  const E *y, *dy;
  R limit;

  EVERFACE_HD R du(std::int64_t i) const {
    const R v = read(y[i]), size = v < 0 ? -v : v;
    return size < limit ? read(dy[i]) * (v > 0 ? forward.gain : forward.gain * forward.slope) : R(0);
  }
  EVERFACE_HD R shade(std::int64_t pixel) const {
    const std::int64_t image = pixel / forward.pixels;
    return forward.noise ? forward.noise[image * forward.noise_step + pixel % forward.pixels] : R(0);
  }
  // The convolution's result times demod, from y.
  EVERFACE_HD R before(std::int64_t i) const {
    const R v = read(y[i]);
    R z = v / (v > 0 ? forward.gain : forward.gain * forward.slope) - shade(i / forward.cout) * forward.strength;
    return forward.bias ? z - forward.bias[i % forward.cout] : z;
  }
};

template <class E>
struct GradientOfProduct {
  ActivationSlope<E> slope;
  Real<E>* dz;
  EVERFACE_HD void operator()(std::int64_t i) const {
    const auto& f = slope.forward;
    const std::int64_t image = i / (f.pixels * f.cout);
    dz[i] = f.demod ? slope.du(i) * f.demod[image * f.cout + i % f.cout] : slope.du(i);
  }
};

enum class Sum : int { kBias, kDemod, kStrength };

template <class E, Sum S>
struct ActivationSum {
  ActivationSlope<E> slope;
  EVERFACE_HD Real<E> operator()(std::int64_t i) const {
    const Real<E> du = slope.du(i);
    if (S == Sum::kBias) return du;
    return du * (S == Sum::kDemod ? slope.before(i) : slope.shade(i / slope.forward.cout));
  }
};

template <class E>
struct StyleSum {
  const E* x;
  const Real<E>* z;
  EVERFACE_HD Real<E> operator()(std::int64_t i) const { return read(x[i]) * z[i]; }
};

template <class E>
struct ScaleInput {
  std::int64_t pixels, cin;
  const Real<E>*z, *styles;
  E* dx;
  EVERFACE_HD void operator()(std::int64_t i) const {
    write(dx + i, z[i] * styles[i / (pixels * cin) * cin + i % cin]);
  }
};

// out[j] = sum over rows of in[row, j].
template <class R>
struct RowSum {
  std::int64_t rows, columns;
  const R* in;
  R* out;
  EVERFACE_HD void operator()(std::int64_t j) const {
    R sum = 0;
    for (std::int64_t i = 0; i < rows; ++i) sum += in[i * columns + j];
    out[j] = sum;
  }
};

// d = rsqrt(sum s^2 q + eps): its gradient times demod (ddemod holds sums of du times d z) goes on to s^2 q.
template <class R>
struct DemodulationFactor {
  const R* demod;
  R* ddemod;  // becomes the gradient of the sum under the root
  EVERFACE_HD void operator()(std::int64_t i) const { ddemod[i] *= R(-0.5) * demod[i] * demod[i]; }
};

template <class R>
struct StylesOfDemodulation {
  std::int64_t cin, cout;
  const R *styles, *q, *factor;
  R* dstyles;
  EVERFACE_HD void operator()(std::int64_t i) const {
    const std::int64_t image = i / cin, c = i % cin;
    R sum = 0;
    for (std::int64_t o = 0; o < cout; ++o) sum += factor[image * cout + o] * q[o * cin + c];
    dstyles[i] += 2 * styles[i] * sum;
  }
};

template <class R>
struct SquaresOfDemodulation {
  std::int64_t batch, cin, cout;
  const R *styles, *factor;
  R* dq;
  EVERFACE_HD void operator()(std::int64_t i) const {
    const std::int64_t o = i / cin, c = i % cin;
    R sum = 0;
    for (std::int64_t n = 0; n < batch; ++n) sum += factor[n * cout + o] * styles[n * cin + c] * styles[n * cin + c];
    dq[i] = sum;
  }
};

}  // namespace everface::stylegan::elements
