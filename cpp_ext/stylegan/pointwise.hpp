// The FIR after a transposed convolution, fused with the activation, and the backward passes of both.
#pragma once

#include "tiles.hpp"

namespace everface::stylegan {
namespace EVERFACE_ISA {

template <class R>
constexpr R fir_tap(int k) {
  return k == 0 || k == 3 ? R(0.25) : R(0.75);  // [1,3,3,1] / 8 per axis, times 2 for the inserted zeros
}

// out(i) = sum over 4 x 4 taps of image[row + Shift + k][i + Shift + l]; calls emit(i, sum) along one row.
template <int Shift, class X, class R, class Emit>
EVERFACE_INLINE void fir_row(const X* image, std::int64_t height, std::int64_t width, std::int64_t channels,
                             std::int64_t row, std::int64_t out_width, int rest, const Emit& emit) {
  const X* rows[4];
  R taps[4];
  for (int k = 0; k < 4; ++k) {
    const std::int64_t y = row + Shift + k;
    const bool ok = y >= 0 && y < height;
    rows[k] = image + (ok ? y : 0) * width * channels;
    taps[k] = ok ? fir_tap<R>(k) : R(0);
  }
  const auto column = [&](std::int64_t x) {
    if (x < 0 || x >= width) return Vec<R>{};
    const std::int64_t at = x * channels;
    return load_part(rows[0] + at, rest) * taps[0] + load_part(rows[1] + at, rest) * taps[1] +
           load_part(rows[2] + at, rest) * taps[2] + load_part(rows[3] + at, rest) * taps[3];
  };
  Vec<R> a = column(Shift), b = column(Shift + 1), c = column(Shift + 2);
  for (std::int64_t i = 0; i < out_width; ++i) {
    const Vec<R> d = column(i + Shift + 3);
    emit(i, (a + d) * fir_tap<R>(0) + (b + c) * fir_tap<R>(1));
    a = b, b = c, c = d;
  }
}

template <class E>
void fir(const Layer<E>& l, const Fir<E>& f, std::int64_t row_begin, std::int64_t row_end) {
  using R = Real<E>;
  constexpr int lanes = Lanes<E>::count;
  for (std::int64_t r = row_begin; r < row_end; ++r) {
    const std::int64_t image = r / f.oh, row = r % f.oh;
    const R* t = f.t + image * (f.oh + 1) * (f.ow + 1) * f.cout;
    for (std::int64_t c = 0; c < f.cout; c += lanes) {
      const int rest = f.cout - c < lanes ? static_cast<int>(f.cout - c) : lanes;
      const Activation<E> activate(l, image, c, rest);
      E* out = l.y + r * f.ow * f.cout + c;
      fir_row<-1, R, R>(t + c, f.oh + 1, f.ow + 1, f.cout, row, f.ow, rest, [&](std::int64_t i, Vec<R> z) {
        store_part(out + i * f.cout, activate(z, row * f.ow + i), rest);
      });
    }
  }
}

template <class E>
void fir_adjoint(const Fir<E>& f, std::int64_t row_begin, std::int64_t row_end) {
  using R = Real<E>;
  constexpr int lanes = Lanes<E>::count;
  for (std::int64_t r = row_begin; r < row_end; ++r) {
    const std::int64_t image = r / (f.oh + 1), row = r % (f.oh + 1);
    const E* dz = f.dz + image * f.oh * f.ow * f.cout;
    for (std::int64_t c = 0; c < f.cout; c += lanes) {
      const int rest = f.cout - c < lanes ? static_cast<int>(f.cout - c) : lanes;
      E* out = f.dt + r * (f.ow + 1) * f.cout + c;
      fir_row<-2, E, R>(dz + c, f.oh, f.ow, f.cout, row, f.ow + 1, rest,
                        [&](std::int64_t i, Vec<R> z) { store_part(out + i * f.cout, z, rest); });
    }
  }
}

// Pixels begin <= p < end of the whole batch; the sums are added to, so each thread brings its own.
template <class E>
void activation_grad(const ActivationGrad<E>& g, std::int64_t begin, std::int64_t end) {
  using R = Real<E>;
  constexpr int lanes = Lanes<E>::count;
  E rounded;  // a clamped y is the limit as E can hold it
  from_real(g.clamp, &rounded);
  const R limit = to_real(rounded);
  for (std::int64_t first = begin; first < end;) {
    const std::int64_t image = first / g.pixels, stop = end < (image + 1) * g.pixels ? end : (image + 1) * g.pixels;
    const R* noise = g.noise ? g.noise + image * g.noise_step - image * g.pixels : nullptr;
    for (std::int64_t c = 0; c < g.cout; c += lanes) {
      const int rest = g.cout - c < lanes ? static_cast<int>(g.cout - c) : lanes;
      const Vec<R> demod = g.demod ? load_part(g.demod + image * g.cout + c, rest) : splat<R>(1);
      const Vec<R> bias = g.bias ? load_part(g.bias + c, rest) : Vec<R>{};
      Vec<R> dbias{}, dd{}, ds{};
      for (std::int64_t p = first; p < stop; ++p) {
        const std::int64_t at = p * g.cout + c;
        const Vec<R> y = load_part(g.y + at, rest), dy = load_part(g.dy + at, rest);
        const Vec<R> magnitude = maximum(y, -y);
        const Vec<R> slope = y > R(0) ? splat<R>(1) : splat<R>(g.slope);
        const Vec<R> du = magnitude < limit ? dy * slope * g.gain : Vec<R>{};
        dbias += du;
        Vec<R> z = y / (slope * g.gain) - bias;
        if (noise) {
          z -= noise[p] * g.strength;
          ds += du * noise[p];
        }
        dd += du * z;
        store_part(g.dz + at, du * demod, rest);
      }
      if (g.dbias) store_part(g.dbias + c, load_part(g.dbias + c, rest) + dbias, rest);
      if (g.ddemod) {
        R* total = g.ddemod + image * g.cout + c;
        store_part(total, load_part(total, rest) + dd / demod, rest);
      }
      if (g.dstrength)
        for (int i = 0; i < lanes; ++i) *g.dstrength += ds[i];
    }
    first = stop;
  }
}

}  // namespace EVERFACE_ISA
}  // namespace everface::stylegan
