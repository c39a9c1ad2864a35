// The elements of modulated convolution's results that are not matrix products: demodulation, the filter after a
// transposed convolution, and the gradients' sums.
#pragma once

#include "product_elements.hpp"

namespace everface::stylegan::elements {

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
EVERFACE_HD static inline R fir_tap(int k) {
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
    const R v = to_real(y[i]), size = v < 0 ? -v : v;
    return size < limit ? to_real(dy[i]) * (v > 0 ? forward.gain : forward.gain * forward.slope) : R(0);
  }
  EVERFACE_HD R shade(std::int64_t pixel) const {
    const std::int64_t image = pixel / forward.pixels;
    return forward.noise ? forward.noise[image * forward.noise_step + pixel % forward.pixels] : R(0);
  }
  // The convolution's result times demod, from y.
  EVERFACE_HD R before(std::int64_t i) const {
    const R v = to_real(y[i]);
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
  EVERFACE_HD Real<E> operator()(std::int64_t i) const { return to_real(x[i]) * z[i]; }
};

template <class E>
struct ScaleInput {
  std::int64_t pixels, cin;
  const Real<E>*z, *styles;
  E* dx;
  EVERFACE_HD void operator()(std::int64_t i) const {
    from_real(z[i] * styles[i / (pixels * cin) * cin + i % cin], dx + i);
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
