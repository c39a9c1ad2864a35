// The geometry that forward, backward and inference share.
#pragma once

#include <cmath>
#include <limits>

#include "everface/stylegan.hpp"
#include "everface/synthesis.hpp"
#include "tiled.hpp"

namespace everface::stylegan {

constexpr double kSqrt2 = 1.4142135623730951;

// Where a layer stands: block b has conv0 (b > 0), conv1 and torgb.
struct LayerPlace {
  std::int64_t block, resolution, cin, cout, style;  // style: which of the ws
  bool up, colour;
};

inline std::vector<LayerPlace> places(const SynthesisShape& shape) {
  std::vector<LayerPlace> out;
  std::int64_t style = 0;
  for (std::int64_t b = 0; b < shape.blocks(); ++b) {
    const std::int64_t r = std::int64_t{4} << b, c = shape.channels[static_cast<std::size_t>(b)];
    if (b > 0) out.push_back({b, r, shape.channels[static_cast<std::size_t>(b - 1)], c, style++, true, false});
    out.push_back({b, r, c, c, style++, false, false});
    out.push_back({b, r, c, shape.colours, style, false, true});  // shares the style of the next block's conv0
  }
  return out;
}

template <class E>
ModulatedConv<E> conv_of(const SynthesisShape& shape, const LayerPlace& place, std::int64_t batch) {
  ModulatedConv<E> conv;
  conv.batch = batch, conv.up = place.up, conv.cin = place.cin, conv.cout = place.cout;
  conv.height = conv.width = place.up ? place.resolution / 2 : place.resolution;
  conv.slope = static_cast<Real<E>>(0.2), conv.gain = static_cast<Real<E>>(kSqrt2);
  const double clamp = shape.clamp;
  conv.clamp = static_cast<Real<E>>(clamp < 3e38 ? clamp : 3e38);
  return conv;
}

template <class R>
R colour_clamp(const SynthesisShape& shape) {
  return static_cast<R>(shape.clamp < 3e38 ? shape.clamp : 3e38);
}

// styles[batch, cin] = w affine^T / sqrt(w_dim) + bias, times 1 / sqrt(cin) before torgb.
template <class W>
void affine(const SynthesisShape& shape, const LayerPlace& place, const W* weight, const Real<W>* bias,
            std::int64_t batch, const Real<W>* ws, Real<W>* styles, Pool& pool) {
  using R = Real<W>;
  const std::int64_t share = 64, shares = ceil_div(place.cin, share);
  const R gain = static_cast<R>(1.0 / std::sqrt(static_cast<double>(shape.w_dim)));
  pool.dynamic(shares, [&](std::int64_t task, int) {
    const std::int64_t first = task * share, count = std::min(share, place.cin - first);
    R part[64];
    for (std::int64_t n = 0; n < batch; ++n) {
      const R* w = ws + (n * shape.num_ws() + place.style) * shape.w_dim;
      kernels<W>().dot(w, shape.w_dim, 1, weight + first * shape.w_dim, count, shape.w_dim, gain, bias + first, part);
      std::copy(part, part + count, styles + n * place.cin + first);
    }
  });
  if (!place.colour) return;
  const R scale = static_cast<R>(1.0 / std::sqrt(static_cast<double>(place.cin)));
  for (std::int64_t i = 0; i < batch * place.cin; ++i) styles[i] *= scale;
}

// weights[batch, colours, cin] = weight styles
template <class R>
void colour_weights(const LayerPlace& place, std::int64_t batch, const R* weight, const R* styles, R* out) {
  for (std::int64_t n = 0; n < batch; ++n)
    for (std::int64_t o = 0; o < place.cout; ++o)
      for (std::int64_t c = 0; c < place.cin; ++c)
        out[(n * place.cout + o) * place.cin + c] = weight[o * place.cin + c] * styles[n * place.cin + c];
}

template <class E>
void to_colours(const SynthesisShape& shape, const LayerPlace& place, std::int64_t batch, const E* x,
                const Real<E>* weights, const Real<E>* bias, Real<E>* out, Pool& pool) {
  const std::int64_t pixels = place.resolution * place.resolution, share = 512;
  const Colours<E> job{batch, pixels, place.cin, shape.colours, x, weights, bias, colour_clamp<Real<E>>(shape), out};
  pool.dynamic(ceil_div(batch * pixels, share), [&](std::int64_t task, int) {
    kernels<E>().colours(job, task * share, std::min(batch * pixels, (task + 1) * share));
  });
}

// The learned constant [channels, 16] for each image of the batch, channels last.
template <class E>
void spread_constant(const Real<E>* constant, std::int64_t channels, std::int64_t batch, E* x) {
  for (std::int64_t n = 0; n < batch; ++n)
    for (std::int64_t p = 0; p < 16; ++p)
      for (std::int64_t c = 0; c < channels; ++c) from_real(constant[c * 16 + p], x + (n * 16 + p) * channels + c);
}

// out = up(small) + rgb on planes: [1,3,3,1] along each axis, zero outside. out may be rgb.
template <class R>
void upsample_add(const R* small, const R* rgb, std::int64_t planes, std::int64_t side, R* out, Pool& pool) {
  const std::int64_t band = 32, bands = ceil_div(2 * side, band);
  pool.dynamic(planes * bands, [&](std::int64_t task, int) {
    const std::int64_t plane = task / bands, top = task % bands * band;
    const R* in = small + plane * side * side;
    for (std::int64_t y = top; y < std::min(top + band, 2 * side); ++y) {
      const std::int64_t near = y / 2, far = y % 2 ? near + 1 : near - 1;
      const R far_tap = far < 0 || far >= side ? R(0) : R(0.25);
      const R* a = in + near * side;
      const R* b = in + (far_tap == R(0) ? near : far) * side;
      const R* add = rgb + (plane * 2 * side + y) * 2 * side;
      R* to = out + (plane * 2 * side + y) * 2 * side;
      const auto column = [&](std::int64_t x) { return a[x] * R(0.75) + b[x] * far_tap; };
      R before = 0, here = column(0);
      for (std::int64_t x = 0; x < side; ++x) {
        const R after = x + 1 < side ? column(x + 1) : R(0);
        to[2 * x] = add[2 * x] + before * R(0.25) + here * R(0.75);
        to[2 * x + 1] = add[2 * x + 1] + here * R(0.75) + after * R(0.25);
        before = here, here = after;
      }
    }
  });
}

// The transpose of the upsampling: small[side] from large[2 side].
template <class R>
void downsample(const R* large, std::int64_t planes, std::int64_t side, R* small, Pool& pool) {
  pool.dynamic(planes, [&](std::int64_t plane, int) {
    const R* in = large + plane * 4 * side * side;
    const auto tap = [](std::int64_t i) { return i == 0 || i == 3 ? R(0.25) : R(0.75); };
    for (std::int64_t y = 0; y < side; ++y) {
      for (std::int64_t x = 0; x < side; ++x) {
        R sum = 0;
        for (std::int64_t i = 0; i < 4; ++i) {
          const std::int64_t row = 2 * y - 1 + i;
          if (row < 0 || row >= 2 * side) continue;
          for (std::int64_t j = 0; j < 4; ++j) {
            const std::int64_t col = 2 * x - 1 + j;
            if (col >= 0 && col < 2 * side) sum += tap(i) * tap(j) * in[row * 2 * side + col];
          }
        }
        small[(plane * side + y) * side + x] = sum;
      }
    }
  });
}

}  // namespace everface::stylegan
