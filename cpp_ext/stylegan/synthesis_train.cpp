#include "synthesis_common.hpp"

namespace everface::stylegan {
namespace {

// The forward pass's results that the backward pass reads.
template <class E>
struct Saved {
  using R = Real<E>;
  E* x0;
  std::vector<R*> styles, demod, squares, colours, weights;  // by layer; colours and weights of torgb
  std::vector<E*> y;
  R* images[2];  // scratch for the skip connection, and for its gradient
  E* gradients[2];
  R* dcolours;

  std::size_t carve(const SynthesisShape& shape, std::int64_t batch, std::byte* base) {
    Carver carver(base);
    x0 = carver.take<E>(batch * 16 * shape.channels[0]);
    const auto all = places(shape);
    styles.assign(all.size(), nullptr), demod = squares = colours = weights = styles, y.assign(all.size(), nullptr);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const LayerPlace& p = all[i];
      const std::int64_t pixels = batch * p.resolution * p.resolution;
      styles[i] = carver.take<R>(batch * p.cin);
      if (p.colour) {
        colours[i] = carver.take<R>(pixels * p.cout);
        weights[i] = carver.take<R>(batch * p.cout * p.cin);
      } else {
        demod[i] = carver.take<R>(batch * p.cout);
        squares[i] = carver.take<R>(p.cout * p.cin);
        y[i] = carver.take<E>(pixels * p.cout);
      }
    }
    const std::int64_t image_size = batch * shape.colours * shape.resolution * shape.resolution;
    for (auto& image : images) image = carver.take<R>(image_size);
    dcolours = carver.take<R>(image_size);
    std::int64_t largest = 0;
    for (const LayerPlace& p : all) {
      const std::int64_t side = p.up ? p.resolution / 2 : p.resolution;
      if (!p.colour) largest = std::max(largest, side * side * p.cin);
    }
    for (auto& gradient : gradients) gradient = carver.take<E>(batch * largest);
    return carver.used() + 64;
  }

  Saved(const SynthesisShape& shape, std::int64_t batch, std::byte* base) {
    carve(shape, batch, base + (64 - reinterpret_cast<std::uintptr_t>(base) % 64) % 64);
  }
  Saved() = default;
};

template <class E>
ModulatedConv<E> bound(const SynthesisShape& shape, const SynthesisParameters<Real<E>>& parameters, std::size_t i,
                       const LayerPlace& place, std::int64_t batch, const E* x, const Real<E>* styles) {
  ModulatedConv<E> conv = conv_of<E>(shape, place, batch);
  const auto& p = parameters.layers[i];
  conv.x = x, conv.weight = p.weight, conv.styles = styles, conv.bias = p.bias;
  conv.noise = parameters.noise[i], conv.strength = *p.strength;
  return conv;
}

// The input of layer i: the output of the convolution before it.
template <class E>
const E* input_of(const Saved<E>& saved, const std::vector<LayerPlace>& all, std::size_t i) {
  for (std::size_t j = i; j-- > 0;)
    if (!all[j].colour) return saved.y[j];
  return saved.x0;
}

// styles = (w affine^T / sqrt(w_dim) + bias) gain: gradients of all three.
template <class R>
void affine_backward(const SynthesisShape& shape, const LayerPlace& place, const LayerParameters<R>& p,
                     std::int64_t batch, const R* ws, R* dstyles, const LayerParameters<R>* grads, R* dws, Pool& pool) {
  const R scale = place.colour ? static_cast<R>(1.0 / std::sqrt(static_cast<double>(place.cin))) : R(1);
  const R gain = static_cast<R>(1.0 / std::sqrt(static_cast<double>(shape.w_dim)));
  if (grads) {
    for (std::int64_t c = 0; c < place.cin; ++c) {
      R sum = 0;
      for (std::int64_t n = 0; n < batch; ++n) sum += dstyles[n * place.cin + c];
      grads->affine_bias[c] = sum * scale;
    }
  }
  for (std::int64_t i = 0; i < batch * place.cin; ++i) dstyles[i] *= scale * gain;
  const std::int64_t stride = shape.num_ws() * shape.w_dim, share = 64;
  if (grads) {
    pool.dynamic(ceil_div(place.cin, share), [&](std::int64_t task, int) {
      const std::int64_t first = task * share, count = std::min(share, place.cin - first);
      R* out = grads->affine_weight + first * shape.w_dim;
      products<R>().multiply(dstyles + first, 1, place.cin, count, ws + place.style * shape.w_dim, stride, batch,
                             shape.w_dim, nullptr, 0, out, shape.w_dim);
    });
  }
  if (dws) {
    pool.dynamic(ceil_div(shape.w_dim, share), [&](std::int64_t task, int) {
      const std::int64_t first = task * share, count = std::min(share, shape.w_dim - first);
      R* out = dws + place.style * shape.w_dim + first;
      products<R>().multiply(dstyles, place.cin, 1, batch, p.affine_weight + first, shape.w_dim, place.cin, count, out,
                             stride, out, stride);
    });
  }
}

// From the gradient of weights[n, o, c] = weight[o, c] styles[n, c].
template <class R>
void colour_weights_backward(const LayerPlace& place, std::int64_t batch, const R* dweights, const R* weight,
                             const R* styles, R* dweight, R* dstyles) {
  if (dweight) std::fill(dweight, dweight + place.cout * place.cin, R(0));
  std::fill(dstyles, dstyles + batch * place.cin, R(0));
  for (std::int64_t n = 0; n < batch; ++n) {
    for (std::int64_t o = 0; o < place.cout; ++o) {
      const R* from = dweights + (n * place.cout + o) * place.cin;
      for (std::int64_t c = 0; c < place.cin; ++c) {
        if (dweight) dweight[o * place.cin + c] += from[c] * styles[n * place.cin + c];
        dstyles[n * place.cin + c] += from[c] * weight[o * place.cin + c];
      }
    }
  }
}

// The gradient of torgb's result before its clamp, and of its bias.
template <class R>
void colour_backward(const LayerPlace& place, std::int64_t batch, R clamp, const R* dimage, const R* colours,
                     R* dcolours, R* dbias, Pool& pool) {
  const std::int64_t pixels = place.resolution * place.resolution;
  std::vector<R> sums(static_cast<std::size_t>(batch * place.cout), R(0));
  pool.dynamic(batch * place.cout, [&](std::int64_t plane, int) {
    R sum = 0;
    for (std::int64_t i = plane * pixels; i < (plane + 1) * pixels; ++i) {
      dcolours[i] = std::abs(colours[i]) < clamp ? dimage[i] : R(0);
      sum += dcolours[i];
    }
    sums[static_cast<std::size_t>(plane)] = sum;
  });
  if (!dbias) return;
  std::fill(dbias, dbias + place.cout, R(0));
  for (std::int64_t i = 0; i < batch * place.cout; ++i) dbias[i % place.cout] += sums[static_cast<std::size_t>(i)];
}

}  // namespace

template <class E>
struct FrozenWeights<E>::Layer {
  PackedWeights<E> forward;
  Buffer transposed;
};

template <class E>
FrozenWeights<E>::FrozenWeights(const SynthesisShape& shape, const SynthesisParameters<Real<E>>& parameters,
                                Pool& pool) {
  const auto all = places(shape);
  for (std::size_t i = 0; i < all.size(); ++i) {
    Layer layer;
    if (!all[i].colour) {
      ModulatedConv<E> conv = conv_of<E>(shape, all[i], 1);
      conv.weight = parameters.layers[i].weight;
      layer = {pack<E>(conv, pool), pack_transposed<E>(conv, pool)};
    }
    layers_.push_back(std::move(layer));
  }
}

template <class E>
FrozenWeights<E>::~FrozenWeights() = default;
template <class E>
FrozenWeights<E>::FrozenWeights(FrozenWeights&&) noexcept = default;

template <class E>
std::size_t saved_bytes(const SynthesisShape& shape, std::int64_t batch) {
  return Saved<E>().carve(shape, batch, nullptr);
}

template <class E>
void synthesis_forward(const SynthesisShape& shape, const SynthesisParameters<Real<E>>& parameters, std::int64_t batch,
                       const Real<E>* ws, Real<E>* image, std::byte* block, Pool& pool,
                       const FrozenWeights<E>* frozen) {
  using R = Real<E>;
  const Saved<E> saved(shape, batch, block);
  const auto all = places(shape);
  spread_constant<E>(parameters.constant, shape.channels[0], batch, saved.x0);
  const R* before = nullptr;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const LayerPlace& place = all[i];
    const auto& p = parameters.layers[i];
    affine(shape, place, p.affine_weight, p.affine_bias, batch, ws, saved.styles[i], pool);
    const E* x = input_of(saved, all, i);
    if (!place.colour) {
      auto conv = bound(shape, parameters, i, place, batch, x, saved.styles[i]);
      conv.squares_out = saved.squares[i];
      forward<E>(conv, frozen ? &frozen->layers()[i].forward : nullptr, saved.y[i], saved.demod[i], pool);
      continue;
    }
    colour_weights(place, batch, parameters.layers[i].weight, saved.styles[i], saved.weights[i]);
    to_colours(shape, place, batch, x, saved.weights[i], parameters.layers[i].bias, saved.colours[i], pool);
    const std::int64_t planes = batch * place.cout, pixels = place.resolution * place.resolution;
    R* to = i + 1 == all.size() ? image : saved.images[place.block % 2];
    if (before)
      upsample_add(before, saved.colours[i], planes, place.resolution / 2, to, pool);
    else
      std::copy_n(saved.colours[i], planes * pixels, to);
    before = to;
  }
}

template <class E>
void synthesis_backward(const SynthesisShape& shape, const SynthesisParameters<Real<E>>& parameters, std::int64_t batch,
                        const Real<E>* ws, const Real<E>* dimage, std::byte* block,
                        const SynthesisParameters<Real<E>>& grads, Real<E>* dws, Pool& pool,
                        const FrozenWeights<E>* frozen) {
  using R = Real<E>;
  Saved<E> saved(shape, batch, block);
  const auto all = places(shape);
  const bool train = !grads.layers.empty();
  if (dws) std::fill(dws, dws + batch * shape.num_ws() * shape.w_dim, R(0));
  std::int64_t widest = 0;
  for (const LayerPlace& p : all) widest = std::max(widest, p.cin);
  std::vector<R> dstyles(static_cast<std::size_t>(batch * widest)), dweights(dstyles.size() * kMaxColours);
  E *dx = saved.gradients[0], *spare = saved.gradients[1];
  const E* dy = nullptr;
  ColourGradient<E> rgb;
  std::size_t rgb_layer = 0;
  for (std::size_t i = all.size(); i-- > 0;) {
    const LayerPlace& place = all[i];
    const LayerParameters<R>* out = train ? &grads.layers[i] : nullptr;
    if (place.colour) {
      const R* above = dimage;
      if (i + 1 < all.size()) {
        R* here = saved.images[place.block % 2];
        downsample(dimage, batch * place.cout, place.resolution, here, pool);
        above = dimage = here;
      }
      colour_backward(place, batch, colour_clamp<R>(shape), above, saved.colours[i], saved.dcolours,
                      out ? out->bias : nullptr, pool);
      rgb = {shape.colours, saved.dcolours, saved.weights[i], dweights.data()}, rgb_layer = i;
      continue;
    }
    auto conv = bound(shape, parameters, i, place, batch, input_of(saved, all, i), saved.styles[i]);
    conv.squares = saved.squares[i];
    if (frozen) {
      conv.transposed = reinterpret_cast<const E*>(frozen->layers()[i].transposed.data());
      conv.squares = frozen->layers()[i].forward.squares.data();
    }
    const Gradients<E> wanted{dx, dstyles.data(), out ? out->weight : nullptr, out ? out->bias : nullptr,
                              out ? out->strength : nullptr};
    backward<E>(conv, saved.y[i], saved.demod[i], dy, rgb, wanted, pool);
    affine_backward(shape, place, parameters.layers[i], batch, ws, dstyles.data(), out, dws, pool);
    if (rgb.count) {
      const LayerParameters<R>* colour = train ? &grads.layers[rgb_layer] : nullptr;
      const LayerPlace& at = all[rgb_layer];
      colour_weights_backward(at, batch, rgb.dweights, parameters.layers[rgb_layer].weight, saved.styles[rgb_layer],
                              colour ? colour->weight : nullptr, dstyles.data());
      affine_backward(shape, at, parameters.layers[rgb_layer], batch, ws, dstyles.data(), colour, dws, pool);
      rgb = {};
    }
    dy = dx;
    std::swap(dx, spare);
  }
  if (!train) return;
  for (std::int64_t c = 0; c < shape.channels[0]; ++c) {
    for (std::int64_t p = 0; p < 16; ++p) {
      R sum = 0;
      for (std::int64_t n = 0; n < batch; ++n) sum += to_real(dy[(n * 16 + p) * shape.channels[0] + c]);
      grads.constant[c * 16 + p] = sum;
    }
  }
}

#define EVERFACE_INSTANTIATE(E)                                                                                        \
  template class FrozenWeights<E>;                                                                                     \
  template std::size_t saved_bytes<E>(const SynthesisShape&, std::int64_t);                                            \
  template void synthesis_forward<E>(const SynthesisShape&, const SynthesisParameters<Real<E>>&, std::int64_t,         \
                                     const Real<E>*, Real<E>*, std::byte*, Pool&, const FrozenWeights<E>*);            \
  template void synthesis_backward<E>(const SynthesisShape&, const SynthesisParameters<Real<E>>&, std::int64_t,        \
                                      const Real<E>*, const Real<E>*, std::byte*, const SynthesisParameters<Real<E>>&, \
                                      Real<E>*, Pool&, const FrozenWeights<E>*);
EVERFACE_INSTANTIATE(float)
EVERFACE_INSTANTIATE(bf16)
EVERFACE_INSTANTIATE(double)

}  // namespace everface::stylegan
