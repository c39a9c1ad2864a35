// Transforms between images [batch, height, width, channels] and products [slot][tile][channel].
#pragma once

#include "algo.hpp"
#include "layer.hpp"

namespace everface::stylegan {
namespace EVERFACE_ISA {

struct TilePlace {
  std::int64_t image, row, col;
};

template <class E>
EVERFACE_INLINE TilePlace place_of(const Layer<E>& l, std::int64_t tile) {
  const std::int64_t per_image = l.th * l.tw, image = tile / per_image, rest = tile % per_image;
  return {image, rest / l.tw, rest % l.tw};
}

// Fills a size x size patch whose corner is (y0, x0); outside of the image it is zero.
template <int Size, int N, class X, class R>
EVERFACE_INLINE void gather(const X* image, std::int64_t height, std::int64_t width, std::int64_t channels,
                            std::int64_t y0, std::int64_t x0, int lanes, bool inside, Vec<R>* patch) {
  if (inside) {
    EVERFACE_UNROLL
    for (int i = 0; i < Size; ++i) {
      const X* p = image + ((y0 + i) * width + x0) * channels;
      EVERFACE_UNROLL
      for (int j = 0; j < Size; ++j) patch[i * N + j] = load(p + j * channels);
    }
    return;
  }
  for (int i = 0; i < Size; ++i) {
    for (int j = 0; j < Size; ++j) {
      const std::int64_t y = y0 + i, x = x0 + j;
      const bool ok = y >= 0 && y < height && x >= 0 && x < width;
      patch[i * N + j] = ok ? load_part(image + (y * width + x) * channels, lanes) : Vec<R>{};
    }
  }
}

template <Algo A, class E>
EVERFACE_INLINE void scatter(const Vec<Real<E>>* products, E* v, std::int64_t step) {
  constexpr int n = shape_of(A).products;
  EVERFACE_UNROLL
  for (int p = 0; p < n; ++p) {
    EVERFACE_UNROLL
    for (int q = 0; q < n; ++q) store(v + slot_of(A, p, q) * step, products[p * n + q]);
  }
}

// Two tiles side by side, as weight gradients in bfloat16 sum over pairs of tiles.
template <Algo A>
EVERFACE_INLINE void scatter_pairs(const Vec<float>* first, const Vec<float>* second, void* v, std::int64_t step) {
  constexpr int n = shape_of(A).products;
  EVERFACE_UNROLL
  for (int p = 0; p < n; ++p) {
    EVERFACE_UNROLL
    for (int q = 0; q < n; ++q) {
      const word_bits low = __builtin_convertvector(narrow(first[p * n + q]), word_bits);
      const word_bits high = __builtin_convertvector(narrow(second[p * n + q]), word_bits);
      const word_bits pairs = low | (high << 16);
      std::memcpy(static_cast<std::uint32_t*>(v) + slot_of(A, p, q) * step, &pairs, sizeof pairs);
    }
  }
}

// BT d B of one tile and one vector of input channels, scaled by the style.
template <Algo A, class E>
EVERFACE_INLINE void input_products(const Layer<E>& l, std::int64_t tile, std::int64_t c, Vec<Real<E>>* products) {
  using R = Real<E>;
  constexpr AlgoShape s = shape_of(A);
  constexpr int n = s.products, lanes = Lanes<E>::count;
  const TilePlace place = place_of(l, l.first + tile);
  const std::int64_t y0 = place.row * s.in_step + s.in_offset, x0 = place.col * s.in_step + s.in_offset;
  const bool within = y0 >= 0 && x0 >= 0 && y0 + s.in <= l.ih && x0 + s.in <= l.iw;
  const int rest = l.cin - c < lanes ? static_cast<int>(l.cin - c) : lanes;
  const E* image = l.x + place.image * l.ih * l.iw * l.cin;
  Vec<R> patch[s.in * s.in], half[n * s.in];
  gather<s.in, s.in, E, R>(image + c, l.ih, l.iw, l.cin, y0, x0, rest, within && rest == lanes, patch);
  if (l.scale) {
    const Vec<R> factor = load_part(l.scale + place.image * l.cin + c, rest);
    EVERFACE_UNROLL
    for (int i = 0; i < s.in * s.in; ++i) patch[i] *= factor;
  }
  EVERFACE_UNROLL
  for (int j = 0; j < s.in; ++j) Transform<A>::bt(patch + j, s.in, half + j, s.in);
  EVERFACE_UNROLL
  for (int p = 0; p < n; ++p) Transform<A>::bt(half + p * s.in, 1, products + p * n, 1);
}

template <Algo A, class E>
void input_tiles(const Layer<E>& l, std::int64_t begin, std::int64_t end) {
  using R = Real<E>;
  constexpr int count = shape_of(A).products * shape_of(A).products, lanes = Lanes<E>::count;
  E* out = static_cast<E*>(l.v);
  for (std::int64_t t = begin; t < end; ++t) {
    std::int64_t c = 0;
    for (; c < l.cin; c += lanes) {
      Vec<R> products[count];
      input_products<A>(l, t, c, products);
      scatter<A, E>(products, out + t * l.v_ld + c, l.v_step);
    }
    // The inner dimension is padded: what lies there must be zero, or NaN times zero would spread.
    for (; c < l.v_ld; c += lanes)
      for (int i = 0; i < count; ++i) store(out + i * l.v_step + t * l.v_ld + c, Vec<R>{});
  }
}

// The operand of weight gradients: pairs of tiles for bfloat16 (begin is even, rows are pairs), single ones otherwise.
template <Algo A, class E>
void input_for_weights(const Layer<E>& l, std::int64_t begin, std::int64_t end) {
  if constexpr (sizeof(E) != 2) {
    input_tiles<A>(l, begin, end);
  } else {
    constexpr int count = shape_of(A).products * shape_of(A).products, lanes = Lanes<E>::count;
    for (std::int64_t t = begin; t < end; t += 2) {
      for (std::int64_t c = 0; c < l.cin; c += lanes) {
        Vec<float> first[count], second[count] = {};
        input_products<A>(l, t, c, first);
        if (t + 1 < end) input_products<A>(l, t + 1, c, second);
        scatter_pairs<A>(first, second, static_cast<std::uint32_t*>(l.v) + t / 2 * l.v_ld + c, l.v_step);
      }
    }
  }
}

// The transpose of the output transform, A dz AT of one tile, from the gradient of the output.
template <Algo A, class E>
EVERFACE_INLINE void adjoint_products(const Layer<E>& l, const E* dz, std::int64_t tile, std::int64_t c,
                                      Vec<Real<E>>* products) {
  using R = Real<E>;
  constexpr AlgoShape s = shape_of(A);
  constexpr int n = s.products, lanes = Lanes<E>::count;
  const TilePlace place = place_of(l, l.first + tile);
  const std::int64_t y0 = place.row * s.out, x0 = place.col * s.out;
  const bool within = y0 + s.out <= l.oh && x0 + s.out <= l.ow;
  const int rest = l.cout - c < lanes ? static_cast<int>(l.cout - c) : lanes;
  const E* image = dz + place.image * l.oh * l.ow * l.cout;
  Vec<R> patch[s.out * s.out], half[n * s.out];
  gather<s.out, s.out, E, R>(image + c, l.oh, l.ow, l.cout, y0, x0, rest, within && rest == lanes, patch);
  EVERFACE_UNROLL
  for (int j = 0; j < s.out; ++j) Transform<A>::a(patch + j, s.out, half + j, s.out);
  EVERFACE_UNROLL
  for (int p = 0; p < n; ++p) Transform<A>::a(half + p * s.out, 1, products + p * n, 1);
}

template <Algo A, class E>
void adjoint_tiles(const Layer<E>& l, const E* dz, std::int64_t begin, std::int64_t end) {
  constexpr int count = shape_of(A).products * shape_of(A).products, lanes = Lanes<E>::count;
  for (std::int64_t t = begin; t < end; t += sizeof(E) == 2 ? 2 : 1) {
    for (std::int64_t c = 0; c < l.cout; c += lanes) {
      Vec<Real<E>> first[count];
      adjoint_products<A>(l, dz, t, c, first);
      if constexpr (sizeof(E) == 2) {
        Vec<float> second[count] = {};
        if (t + 1 < end) adjoint_products<A>(l, dz, t + 1, c, second);
        scatter_pairs<A>(first, second, reinterpret_cast<std::uint32_t*>(l.m) + t / 2 * l.m_ld + c, l.m_step);
      } else {
        scatter<A, E>(first, l.m + t * l.m_ld + c, l.m_step);
      }
    }
  }
}

// demod, noise, bias, leaky ReLU, gain and clamp of one vector of channels.
template <class E>
struct Activation {
  using R = Real<E>;
  Vec<R> demod, bias;
  const R* noise;  // of this image
  R strength, slope, gain, clamp;
  bool limited;

  EVERFACE_INLINE Activation(const Layer<E>& l, std::int64_t image, std::int64_t c, int rest) {
    demod = l.demod ? load_part(l.demod + image * l.cout + c, rest) : splat<R>(1);
    bias = l.bias ? load_part(l.bias + c, rest) : Vec<R>{};
    noise = l.noise ? l.noise + image * l.noise_step : nullptr;
    strength = l.strength, slope = l.slope, gain = l.gain, clamp = l.clamp;
    limited = clamp < R(3e38);
  }

  EVERFACE_INLINE Vec<R> operator()(Vec<R> z, std::int64_t pixel) const {
    Vec<R> u = z * demod + bias;
    if (noise) u += noise[pixel] * strength;
    u = (u > R(0) ? u : u * slope) * gain;
    return limited ? maximum(splat<R>(-clamp), minimum(splat<R>(clamp), u)) : u;  // in this order a NaN stays
  }
};

template <Algo A, Output Kind, class E>
void output_tiles(const Layer<E>& l, std::int64_t begin, std::int64_t end) {
  using R = Real<E>;
  constexpr AlgoShape s = shape_of(A);
  constexpr int n = s.products, lanes = Lanes<E>::count;
  for (std::int64_t t = begin; t < end; ++t) {
    const TilePlace place = place_of(l, l.first + t);
    const std::int64_t y0 = place.row * s.out, x0 = place.col * s.out;
    const std::int64_t high = l.oh - y0 < s.out ? l.oh - y0 : s.out, wide = l.ow - x0 < s.out ? l.ow - x0 : s.out;
    const std::int64_t corner = y0 * l.ow + x0, image = place.image * l.oh * l.ow;
    for (std::int64_t c = l.cols_begin; c < l.cols_end; c += lanes) {
      const int rest = l.cout - c < lanes ? static_cast<int>(l.cout - c) : lanes;
      Vec<R> products[n * n], half[n * s.out], patch[s.out * s.out];
      const R* m = l.m + t * l.m_ld + c - l.cols_begin;
      EVERFACE_UNROLL
      for (int p = 0; p < n; ++p) {
        EVERFACE_UNROLL
        for (int q = 0; q < n; ++q) products[p * n + q] = load(m + slot_of(A, p, q) * l.m_step);
      }
      EVERFACE_UNROLL
      for (int p = 0; p < n; ++p) Transform<A>::at(products + p * n, 1, half + p * s.out, 1);
      EVERFACE_UNROLL
      for (int j = 0; j < s.out; ++j) Transform<A>::at(half + j, s.out, patch + j, s.out);
      if constexpr (Kind == Output::kRaw) {
        for (int i = 0; i < high; ++i) {
          const std::int64_t row = l.raw_rows ? (y0 + i) % l.raw_rows : place.image * l.oh + y0 + i;
          for (int j = 0; j < wide; ++j)
            store_part(l.raw + (row * l.ow + x0 + j) * l.cout + c, patch[i * s.out + j], rest);
        }
      } else if constexpr (Kind == Output::kActivate) {
        const Activation<E> activate(l, place.image, c, rest);
        for (int i = 0; i < high; ++i) {
          for (int j = 0; j < wide; ++j) {
            const std::int64_t pixel = corner + i * l.ow + j;
            store_part(l.y + (image + pixel) * l.cout + c, activate(patch[i * s.out + j], pixel), rest);
          }
        }
      } else {
        const Vec<R> scale = l.scale_out ? load_part(l.scale_out + place.image * l.cout + c, rest) : splat<R>(1);
        Vec<R> sum{};
        for (int i = 0; i < high; ++i) {
          for (int j = 0; j < wide; ++j) {
            const std::int64_t at = (image + corner + i * l.ow + j) * l.cout + c;
            if (l.scale_grad) sum += patch[i * s.out + j] * load_part(l.x_saved + at, rest);
            store_part(l.y + at, patch[i * s.out + j] * scale, rest);
          }
        }
        if (l.scale_grad) {
          R* total = l.scale_grad + place.image * l.cout + c;
          store_part(total, load_part(total, rest) + sum, rest);
        }
      }
    }
  }
}

}  // namespace EVERFACE_ISA
}  // namespace everface::stylegan
