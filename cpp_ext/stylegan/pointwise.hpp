// The FIR after a transposed convolution, fused with the activation, and the backward passes of both.
#pragma once

#include "everface/core/transpose.hpp"
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

// One row of the filtered image, piece by piece: down the columns into a buffer that stays in the first-level cache,
// then along it. Both passes read memory in order.
template <class E>
void fir(const Layer<E>& l, const Fir<E>& f, std::int64_t row_begin, std::int64_t row_end) {
  using R = Real<E>;
  constexpr int lanes = Lanes<E>::count, wide = 64, piece = 32;
  alignas(64) R column[(piece + 3) * wide];
  const std::int64_t tw = f.ow + 1, step = tw * f.cout;
  for (std::int64_t r = row_begin; r < row_end; ++r) {
    const std::int64_t image = r / f.oh, row = r % f.oh;
    const auto t_row = [&](std::int64_t y) { return f.t + (f.t_rows ? y % f.t_rows : image * (f.oh + 1) + y) * step; };
    const bool first = row == 0, last = row + 1 == f.oh;  // there the window is one row short
    const R *upper = t_row(row), *lower = t_row(row + 1);
    const R *near = first ? upper : t_row(row - 1), *far = last ? lower : t_row(row + 2);
    const R near_tap = first ? R(0) : R(0.25), far_tap = last ? R(0) : R(0.25);
    for (std::int64_t c0 = 0; c0 < f.cout; c0 += wide) {
      const std::int64_t c1 = f.cout - c0 < wide ? f.cout : c0 + wide;
      for (std::int64_t x0 = 0; x0 < f.ow; x0 += piece) {
        const std::int64_t count = f.ow - x0 < piece ? f.ow - x0 : piece;
        for (std::int64_t i = 0; i < count + 3; ++i) {
          const std::int64_t x = x0 + i - 1, at = x * f.cout;
          for (std::int64_t c = c0; c < c1; c += lanes) {
            const int rest = f.cout - c < lanes ? static_cast<int>(f.cout - c) : lanes;
            Vec<R> sum{};
            if (x >= 0 && x < tw)
              sum = load_part(near + at + c, rest) * near_tap + load_part(far + at + c, rest) * far_tap +
                    (load_part(upper + at + c, rest) + load_part(lower + at + c, rest)) * R(0.75);
            store(column + i * wide + c - c0, sum);
          }
        }
        for (std::int64_t c = c0; c < c1; c += lanes) {
          const int rest = f.cout - c < lanes ? static_cast<int>(f.cout - c) : lanes;
          const Activation<E> activate(l, image, c, rest);
          const R* v = column + c - c0;
          E* out = l.y + (r * f.ow + x0) * f.cout + c;
          for (std::int64_t i = 0; i < count; ++i, v += wide) {
            const Vec<R> z = (load(v) + load(v + 3 * wide)) * R(0.25) + (load(v + wide) + load(v + 2 * wide)) * R(0.75);
            store_part(out + i * f.cout, activate(z, row * f.ow + x0 + i), rest);
          }
        }
      }
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
    const R* dcolours = g.colours ? g.dcolours + image * (g.colours - 1) * g.pixels : nullptr;  // + pixel of the batch
    for (std::int64_t c = 0; c < g.cout; c += lanes) {
      const int rest = g.cout - c < lanes ? static_cast<int>(g.cout - c) : lanes;
      const Vec<R> demod = g.demod ? load_part(g.demod + image * g.cout + c, rest) : splat<R>(1);
      const Vec<R> bias = g.bias ? load_part(g.bias + c, rest) : Vec<R>{};
      const Vec<R> up = splat<R>(g.gain), down = splat<R>(g.gain * g.slope);
      const Vec<R> up_inverse = splat<R>(1 / g.gain), down_inverse = splat<R>(1 / (g.gain * g.slope));
      Vec<R> dbias{}, dd{}, ds{}, colour_weights[kMaxColours], dcolour_weights[kMaxColours];
      for (int o = 0; o < g.colours; ++o) {
        colour_weights[o] = load_part(g.colour_weights + (image * g.colours + o) * g.cout + c, rest);
        dcolour_weights[o] = Vec<R>{};
      }
      for (std::int64_t p = first; p < stop; ++p) {
        const std::int64_t at = p * g.cout + c;
        const Vec<R> y = load_part(g.y + at, rest);
        Vec<R> dy = g.dy ? load_part(g.dy + at, rest) : Vec<R>{};
        for (int o = 0; o < g.colours; ++o) {
          const R shade = dcolours[o * g.pixels + p];
          dy += colour_weights[o] * shade;
          dcolour_weights[o] += y * shade;
        }
        const Vec<R> du = maximum(y, -y) < limit ? dy * (y > R(0) ? up : down) : Vec<R>{};
        dbias += du;
        Vec<R> z = y * (y > R(0) ? up_inverse : down_inverse) - bias;
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
      for (int o = 0; o < g.colours; ++o) {
        R* total = g.dcolour_weights + (image * g.colours + o) * g.cout + c;
        store_part(total, load_part(total, rest) + dcolour_weights[o], rest);
      }
    }
    first = stop;
  }
}

// Lane i of the result is the sum of rows[i].
template <class R>
EVERFACE_INLINE Vec<R> sums_of(Vec<R>* rows) {
  transpose<1, R>(rows);
  Vec<R> sum = rows[0];
  EVERFACE_UNROLL
  for (int i = 1; i < Lanes<R>::count; ++i) sum += rows[i];
  return sum;
}

// A vector of pixels at a time, so that the sums over channels can be turned into a vector together.
template <class E>
void colours(const Colours<E>& job, std::int64_t begin, std::int64_t end) {
  using R = Real<E>;
  constexpr int lanes = Lanes<E>::count;
  for (std::int64_t first = begin; first < end;) {
    const std::int64_t image = first / job.pixels, last = (image + 1) * job.pixels;
    const std::int64_t stop = end < last ? end : last;
    const int here = stop - first < lanes ? static_cast<int>(stop - first) : lanes;
    Vec<R> sums[kMaxColours][lanes];
    for (int i = 0; i < lanes; ++i) {
      Vec<R> acc[kMaxColours] = {};
      const E* x = job.x + (first + (i < here ? i : 0)) * job.cin;
      const R* w = job.weights + image * job.colours * job.cin;
      for (std::int64_t c = 0; c < job.cin; c += lanes) {
        const int rest = job.cin - c < lanes ? static_cast<int>(job.cin - c) : lanes;
        const Vec<R> value = load_part(x + c, rest);
        for (int o = 0; o < job.colours; ++o) acc[o] += value * load_part(w + o * job.cin + c, rest);
      }
      for (int o = 0; o < job.colours; ++o) sums[o][i] = acc[o];
    }
    for (int o = 0; o < job.colours; ++o) {
      const Vec<R> limit = splat<R>(job.clamp), value = sums_of<R>(sums[o]) + job.bias[o];
      R* out = job.out + (image * job.colours + o) * job.pixels + (first - image * job.pixels);
      store_part(out, maximum(-limit, minimum(limit, value)), here);
    }
    first += here;
  }
}

template <class E>
void dot(const Real<E>* a, std::int64_t lda, std::int64_t rows, const E* b, std::int64_t columns, std::int64_t depth,
         Real<E> scale, const Real<E>* bias, Real<E>* out) {
  using R = Real<E>;
  constexpr int lanes = Lanes<E>::count;
  for (std::int64_t j = 0; j < columns; ++j) {
    const E* weights = b + j * depth;
    for (std::int64_t i = 0; i < rows; ++i) {
      const R* row = a + i * lda;
      Vec<R> sums[4] = {};
      std::int64_t k = 0;
      for (; k + 4 * lanes <= depth; k += 4 * lanes) {
        EVERFACE_UNROLL
        for (int s = 0; s < 4; ++s) sums[s] += load(row + k + s * lanes) * load(weights + k + s * lanes);
      }
      R total = sum<R>((sums[0] + sums[1]) + (sums[2] + sums[3]));
      for (; k < depth; ++k) total += row[k] * to_real(weights[k]);
      out[i * columns + j] = total * scale + bias[j];
    }
  }
}

}  // namespace EVERFACE_ISA
}  // namespace everface::stylegan
