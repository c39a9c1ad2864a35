#include <cmath>

#include "everface/stylegan.hpp"
#include "tiled.hpp"

namespace everface::stylegan {
namespace {

constexpr double kDemodulationEpsilon = 1e-8;
constexpr std::int64_t kLargeFrom = 32;
constexpr std::int64_t kCompactFrom = 512 * 512;  // channels in times channels out

template <class E>
Layer<E> layer_of(const ModulatedConv<E>& conv, Algo algo) {
  Layer<E> l{};
  l.algo = algo;
  l.batch = conv.batch, l.ih = conv.height, l.iw = conv.width, l.cin = conv.cin, l.cout = conv.cout;
  l.oh = algo == Algo::kUp ? 2 * conv.height + 1 : conv.height;
  l.ow = algo == Algo::kUp ? 2 * conv.width + 1 : conv.width;
  l.x = conv.x, l.scale = conv.styles;
  l.noise = conv.noise, l.noise_step = conv.noise_step, l.strength = conv.strength, l.bias = conv.bias;
  l.slope = conv.slope, l.gain = conv.gain, l.clamp = conv.clamp;
  return l;
}

template <class R>
void square_sums(const R* w, std::int64_t rows, std::int64_t in, int area, R* q, Pool& pool) {
  pool.fixed(rows, [&](std::int64_t o, int) {
    for (std::int64_t c = 0; c < in; ++c) {
      const R* taps = w + (o * in + c) * area;
      R sum = 0;
      for (int t = 0; t < area; ++t) sum += taps[t] * taps[t];
      q[o * in + c] = sum;
    }
  });
}

// Four sums side by side: a single chain of additions would wait for each one.
template <class R>
R weighted_squares(const R* s, const R* q, std::int64_t n) {
  R sums[4] = {};
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4)
    for (int j = 0; j < 4; ++j) sums[j] += s[i + j] * s[i + j] * q[i + j];
  for (; i < n; ++i) sums[0] += s[i] * s[i] * q[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

template <class E>
void demodulation(const ModulatedConv<E>& conv, const Real<E>* q, Real<E>* demod, Pool& pool) {
  using R = Real<E>;
  const std::int64_t share = 32, shares = ceil_div(conv.cout, share);
  pool.dynamic(conv.batch * shares, [&](std::int64_t task, int) {
    const std::int64_t n = task / shares, first = task % shares * share, last = std::min(first + share, conv.cout);
    for (std::int64_t o = first; o < last; ++o) {
      const R sum = weighted_squares(conv.styles + n * conv.cin, q + o * conv.cin, conv.cin);
      demod[n * conv.cout + o] = R(1) / std::sqrt(sum + R(kDemodulationEpsilon));
    }
  });
}

// dstyles and, through q, the weights also act on the output by way of d.
template <class E>
void demodulation_grad(const ModulatedConv<E>& conv, const Real<E>* q, const Real<E>* demod, const Real<E>* ddemod,
                       Real<E>* dstyles, Real<E>* dq, Pool& pool) {
  using R = Real<E>;
  const auto factor = [&](std::int64_t n, std::int64_t o) {
    const R d = demod[n * conv.cout + o];
    return R(-0.5) * d * d * d * ddemod[n * conv.cout + o];
  };
  if (dstyles) {
    pool.fixed(conv.batch, [&](std::int64_t n, int) {
      const R* s = conv.styles + n * conv.cin;
      for (std::int64_t o = 0; o < conv.cout; ++o) {
        const R twice = 2 * factor(n, o);
        const R* row = q + o * conv.cin;
        for (std::int64_t c = 0; c < conv.cin; ++c) dstyles[n * conv.cin + c] += twice * s[c] * row[c];
      }
    });
  }
  if (dq) {
    pool.fixed(conv.cout, [&](std::int64_t o, int) {
      R* row = dq + o * conv.cin;
      std::fill(row, row + conv.cin, R(0));
      for (std::int64_t n = 0; n < conv.batch; ++n) {
        const R* s = conv.styles + n * conv.cin;
        const R f = factor(n, o);
        for (std::int64_t c = 0; c < conv.cin; ++c) row[c] += f * s[c] * s[c];
      }
    });
  }
}

// Sums of the threads into the first.
template <class R>
void reduce(R* sums, std::int64_t count, int threads) {
  for (int t = 1; t < threads; ++t)
    for (std::int64_t i = 0; i < count; ++i) sums[i] += sums[t * count + i];
}

template <class E>
Algo algo_of(const ModulatedConv<E>& conv, bool gradient) {
  const bool large = conv.large_tiles && std::min(conv.height, conv.width) >= kLargeFrom;
  return choose_algo(conv.taps, conv.up, conv.height, conv.width, sizeof(E) == 2 && !gradient && !large);
}

}  // namespace

template <class E>
PackedWeights<E> pack(const ModulatedConv<E>& conv, Pool& pool) {
  PackedWeights<E> packed;
  const Algo algo = algo_of(conv, false);
  packed.algo = static_cast<int>(algo), packed.cin = conv.cin, packed.cout = conv.cout;
  packed.compact = sizeof(E) != 2 && algo != Algo::kPoint && conv.cin * conv.cout >= kCompactFrom;
  const int area = conv.taps * conv.taps;
  const std::int64_t size = packed.compact ? round_up(conv.cout, kernels<E>().lanes) * conv.cin * area
                                           : packed_size<E>(algo, conv.cin, conv.cout);
  E* u = reinterpret_cast<E*>(packed.storage.reserve(static_cast<std::size_t>(size) * sizeof(E)));
  if constexpr (sizeof(E) != 2) {
    if (packed.compact) gather_taps<E>(conv.weight, conv.cout, conv.cin, area, u, pool);
  }
  if (!packed.compact) pack_operand<E>(algo, false, conv.weight, conv.cout, conv.cin, u, pool);
  if (conv.demodulate) {
    packed.squares.resize(static_cast<std::size_t>(conv.cout * conv.cin));
    square_sums(conv.weight, conv.cout, conv.cin, conv.taps * conv.taps, packed.squares.data(), pool);
  }
  return packed;
}

template <class E>
Buffer pack_transposed(const ModulatedConv<E>& conv, Pool& pool) {
  const Algo back = conv.up ? Algo::kDown : algo_of(conv, true);
  Buffer storage;
  const auto bytes = static_cast<std::size_t>(packed_size<E>(back, conv.cout, conv.cin)) * sizeof(E);
  pack_operand<E>(back, true, conv.weight, conv.cout, conv.cin, reinterpret_cast<E*>(storage.reserve(bytes)), pool);
  return storage;
}

template <class E>
void forward(const ModulatedConv<E>& conv, const PackedWeights<E>* packed, E* y, Real<E>* demod, Pool& pool) {
  using R = Real<E>;
  if (conv.batch == 0) return;
  const Algo algo = packed ? static_cast<Algo>(packed->algo) : algo_of(conv, false);
  Layer<E> l = layer_of(conv, algo);
  l.y = y, l.demod = conv.demodulate ? demod : nullptr;
  const auto lay_out = [&](Carver& carver, Tiled<E>& tiled, E*& u, R*& q, R*& t) {
    tiled.carve(carver);
    u = packed ? nullptr : carver.take<E>(packed_size<E>(algo, conv.cin, conv.cout));
    q = packed || conv.squares_out || !conv.demodulate ? conv.squares_out : carver.take<R>(conv.cout * conv.cin);
    t = conv.up && !tiled.banded() ? carver.take<R>(conv.batch * l.oh * l.ow * conv.cout) : nullptr;
  };
  E* u;
  R *q, *t;
  using Use = typename Tiled<E>::Use;
  const Use use = !packed ? Use::kOnce : packed->compact ? Use::kCompact : Use::kConvolution;
  Tiled<E> tiled(l, use, pool.threads());
  Carver counter(nullptr);
  lay_out(counter, tiled, u, q, t);
  Carver carver(pool.scratch(counter.used()));
  lay_out(carver, tiled, u, q, t);
  tiled.layer().raw = t;

  if (!packed) {
    pack_operand<E>(algo, false, conv.weight, conv.cout, conv.cin, u, pool);
    if (conv.demodulate) square_sums(conv.weight, conv.cout, conv.cin, conv.taps * conv.taps, q, pool);
  }
  if (conv.demodulate) demodulation(conv, packed ? packed->squares.data() : q, demod, pool);
  Operand<E> operand{packed ? packed->u() : u, nullptr};
  if constexpr (sizeof(E) != 2) operand.taps = operand.packed;
  Fir<E> fir{conv.batch, conv.out_height(), conv.out_width(), conv.cout, t, 0, nullptr, nullptr};
  tiled.layer().y = y, tiled.layer().demod = conv.demodulate ? demod : nullptr;
  if (tiled.banded()) return tiled.run_banded(operand, fir, pool);
  tiled.run(operand, conv.up ? Output::kRaw : Output::kActivate, pool);
  if (!conv.up) return;
  const std::int64_t rows = conv.batch * fir.oh, share = 4;
  pool.dynamic(ceil_div(rows, share), [&](std::int64_t task, int) {
    kernels<E>().fir(l, fir, task * share, std::min(rows, (task + 1) * share));
  });
}

template <class E>
void backward(const ModulatedConv<E>& conv, const E* y, const Real<E>* demod, const E* dy,
              const ColourGradient<E>& colours, const Gradients<E>& grads, Pool& pool) {
  using R = Real<E>;
  const int threads = pool.threads();
  const std::int64_t oh = conv.out_height(), ow = conv.out_width(), area = conv.taps * conv.taps;
  const std::int64_t th = conv.up ? oh + 1 : oh, tw = conv.up ? ow + 1 : ow;
  const bool demodulate = conv.demodulate && (grads.styles || grads.weight);
  const std::int64_t rows_o = conv.batch * conv.cout, rows_i = conv.batch * conv.cin;
  if (grads.styles) std::fill(grads.styles, grads.styles + rows_i, R(0));
  if (grads.bias) std::fill(grads.bias, grads.bias + conv.cout, R(0));
  if (grads.strength) *grads.strength = 0;
  if (conv.batch == 0) {
    if (grads.weight) std::fill(grads.weight, grads.weight + conv.cout * conv.cin * area, R(0));
    return;
  }

  const Algo algo = algo_of(conv, true), back = conv.up ? Algo::kDown : algo;
  Layer<E> weight_layer = layer_of(conv, algo);
  Layer<E> input_layer{};
  input_layer.algo = back, input_layer.batch = conv.batch;
  input_layer.ih = th, input_layer.iw = tw, input_layer.cin = conv.cout;
  input_layer.oh = conv.height, input_layer.ow = conv.width, input_layer.cout = conv.cin;
  input_layer.x_saved = conv.x, input_layer.scale_out = conv.styles;

  const std::int64_t ld = round_up(conv.cout, kernels<E>().lanes);
  const int classes = shape_of(algo).classes;
  E *dz = nullptr, *dt = nullptr, *u = nullptr, *dx = grads.x;
  R *q = nullptr, *sums = nullptr, *dq = nullptr, *du = nullptr, *dscale = nullptr;
  const std::int64_t sums_each = conv.cout + rows_o + 16 + colours.count * rows_o;
  const auto lay_out = [&](std::byte* base, Tiled<E>& for_input, Tiled<E>& for_weight) {
    Carver carver(base);
    dz = carver.take<E>(conv.batch * oh * ow * conv.cout);
    if (conv.up) dt = carver.take<E>(conv.batch * th * tw * conv.cout);
    sums = carver.take<R>(threads * sums_each);
    if (demodulate && !conv.squares) q = carver.take<R>(conv.cout * conv.cin);
    if (demodulate && grads.weight) dq = carver.take<R>(conv.cout * conv.cin);
    if (grads.x || grads.styles) {
      if (!conv.transposed) u = carver.take<E>(packed_size<E>(back, conv.cout, conv.cin));
      if (grads.styles) dscale = carver.take<R>(threads * rows_i);
      if (!grads.x) dx = carver.take<E>(conv.batch * conv.height * conv.width * conv.cin);
    }
    if (grads.weight) du = carver.take<R>(classes * classes * class_step<R>(conv.cin, ld));
    Carver shared(base ? base + carver.used() : nullptr), other(base ? base + carver.used() : nullptr);
    for_input.carve(shared);
    for_weight.carve(other);
    return carver.used() + std::max(shared.used(), other.used());
  };
  using Use = typename Tiled<E>::Use;
  Tiled<E> for_input(input_layer, Use::kOnce, threads), for_weight(weight_layer, Use::kWeights, threads);
  const std::size_t bytes = lay_out(nullptr, for_input, for_weight);
  lay_out(pool.scratch(bytes), for_input, for_weight);
  for_input.layer().x = conv.up ? dt : dz;
  for_input.layer().y = dx;
  for_input.layer().scale_grad = dscale;

  std::fill(sums, sums + threads * sums_each, R(0));
  ActivationGrad<E> act{};
  act.batch = conv.batch, act.pixels = oh * ow, act.cout = conv.cout;
  act.dy = dy, act.y = y, act.demod = conv.demodulate ? demod : nullptr, act.bias = conv.bias, act.dz = dz;
  act.noise = conv.noise, act.noise_step = conv.noise_step, act.strength = conv.strength;
  act.slope = conv.slope, act.gain = conv.gain, act.clamp = conv.clamp;
  act.colours = colours.count, act.dcolours = colours.colours, act.colour_weights = colours.weights;
  const std::int64_t pixels = conv.batch * oh * ow;
  pool.fixed(threads, [&](std::int64_t share, int thread) {
    ActivationGrad<E> mine = act;
    R* own = sums + thread * sums_each;
    mine.dbias = own;
    mine.ddemod = conv.demodulate ? own + conv.cout : nullptr;
    mine.dstrength = own + conv.cout + rows_o;
    mine.dcolour_weights = own + conv.cout + rows_o + 16;
    kernels<E>().activation_grad(mine, pixels * share / threads, pixels * (share + 1) / threads);
  });
  reduce(sums, sums_each, threads);
  if (grads.bias) std::copy(sums, sums + conv.cout, grads.bias);
  if (grads.strength) *grads.strength = sums[conv.cout + rows_o];
  if (colours.count) std::copy_n(sums + conv.cout + rows_o + 16, colours.count * rows_o, colours.dweights);
  if (conv.up) {
    Fir<E> fir{conv.batch, oh, ow, conv.cout, nullptr, 0, dt, dz};
    pool.dynamic(conv.batch * th, [&](std::int64_t row, int) { kernels<E>().fir_adjoint(fir, row, row + 1); });
  }
  if (grads.x || grads.styles) {
    if (dscale) std::fill(dscale, dscale + threads * rows_i, R(0));
    if (!conv.transposed) pack_operand<E>(back, true, conv.weight, conv.cout, conv.cin, u, pool);
    for_input.run({conv.transposed ? conv.transposed : u, nullptr}, Output::kGrad, pool);
    if (dscale) {
      reduce(dscale, rows_i, threads);
      std::copy(dscale, dscale + rows_i, grads.styles);
    }
  }
  if (demodulate) {
    if (!conv.squares) square_sums(conv.weight, conv.cout, conv.cin, static_cast<int>(area), q, pool);
    demodulation_grad(conv, conv.squares ? conv.squares : q, demod, sums + conv.cout, grads.styles, dq, pool);
  }
  if (grads.weight) {
    for_weight.weight_gradient(conv.up ? dt : dz, du, ld, pool);
    const std::int64_t share = kernels<E>().lanes;
    pool.dynamic(ceil_div(conv.cin, share), [&](std::int64_t task, int) {
      kernels<E>().unpack(algo, du, ld, conv.weight, dq, conv.cout, conv.cin, grads.weight, task * share,
                          std::min(conv.cin, (task + 1) * share));
    });
  }
}

template <class E>
const char* kernels_isa() {
  return isa_name(kernels<E>().isa);
}

#define EVERFACE_INSTANTIATE(E)                                                                                 \
  template Buffer pack_transposed(const ModulatedConv<E>&, Pool&);                                              \
  template PackedWeights<E> pack(const ModulatedConv<E>&, Pool&);                                               \
  template void forward(const ModulatedConv<E>&, const PackedWeights<E>*, E*, Real<E>*, Pool&);                 \
  template void backward(const ModulatedConv<E>&, const E*, const Real<E>*, const E*, const ColourGradient<E>&, \
                         const Gradients<E>&, Pool&);                                                           \
  template const char* kernels_isa<E>();
EVERFACE_INSTANTIATE(float)
EVERFACE_INSTANTIATE(bf16)
EVERFACE_INSTANTIATE(double)

}  // namespace everface::stylegan
