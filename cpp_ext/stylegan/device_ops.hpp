// The operators as sequences of elementwise steps, sums over pixels and matrix products, for any backend that has
//   each(count, f)                            f(i) for all 0 <= i < count
//   columns(batch, pixels, channels, f, out)  out[n, c] = sum over p of f((n pixels + p) channels + c)
//   product(rows, columns, depth, p)          p.store(i, j, sum over k of p.a(i, k) p.b(k, j))
//   take<T>(count)                            scratch memory until the backend goes
// Memory is the backend's. HostBackend is for tests; device_ops.cu has CUDA's.
#pragma once

#include <cmath>
#include <memory>
#include <vector>

#include "elements.hpp"

namespace everface::stylegan {

class HostBackend {
 public:
  template <class F>
  void each(std::int64_t count, const F& f) {
    for (std::int64_t i = 0; i < count; ++i) f(i);
  }
  template <class F, class R>
  void columns(std::int64_t batch, std::int64_t pixels, std::int64_t channels, const F& f, R* out) {
    for (std::int64_t n = 0; n < batch; ++n)
      for (std::int64_t c = 0; c < channels; ++c) {
        R sum = 0;
        for (std::int64_t p = 0; p < pixels; ++p) sum += f((n * pixels + p) * channels + c);
        out[n * channels + c] = sum;
      }
  }
  template <class P>
  void product(std::int64_t rows, std::int64_t columns, std::int64_t depth, const P& p) {
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j) {
        decltype(p.a(0, 0)) sum = 0;
        for (std::int64_t k = 0; k < depth; ++k) sum += p.a(i, k) * p.b(k, j);
        p.store(i, j, sum);
      }
  }
  template <class T>
  T* take(std::int64_t count) {
    memory_.emplace_back(new std::byte[static_cast<std::size_t>(count) * sizeof(T)]);
    return reinterpret_cast<T*>(memory_.back().get());
  }

 private:
  std::vector<std::unique_ptr<std::byte[]>> memory_;
};

template <class E>
elements::Grid grid_of(const ModulatedConv<E>& conv) {
  const std::int64_t oh = conv.up ? 2 * conv.height + 1 : conv.height, ow = conv.up ? 2 * conv.width + 1 : conv.width;
  return {conv.height, conv.width, oh, ow, conv.taps, conv.up};
}

template <class E>
elements::Activate<E> activation_of(const ModulatedConv<E>& conv, const Real<E>* demod, E* y) {
  return {conv.demodulate ? demod : nullptr,
          conv.noise,
          conv.bias,
          conv.noise_step,
          conv.out_height() * conv.out_width(),
          conv.cout,
          conv.strength,
          conv.slope,
          conv.gain,
          conv.clamp,
          y};
}

// As forward() of stylegan.hpp, without packed weights.
template <class E, class Backend>
void forward_on(Backend& on, const ModulatedConv<E>& conv, E* y, Real<E>* demod) {
  using R = Real<E>;
  if (conv.batch == 0) return;
  const int area = conv.taps * conv.taps;
  if (conv.demodulate) {
    R* q = on.template take<R>(conv.cout * conv.cin);
    on.each(conv.cout * conv.cin, elements::SquareSum<R>{conv.weight, area, q});
    on.each(conv.batch * conv.cout, elements::Demodulation<R>{conv.cin, conv.cout, conv.styles, q, demod});
  }
  const elements::Grid grid = grid_of(conv);
  const elements::Activate<E> activate = activation_of(conv, demod, y);
  const std::int64_t pixels = conv.batch * grid.oh * grid.ow;
  R* t = conv.up ? on.template take<R>(pixels * conv.cout) : nullptr;
  on.product(pixels, conv.cout, area * conv.cin,
             elements::ForwardProduct<E>{grid, conv.cin, conv.x, conv.styles, conv.weight, t, activate});
  if (conv.up)
    on.each(conv.batch * conv.out_height() * conv.out_width() * conv.cout,
            elements::FilterAndActivate<E>{conv.out_height(), conv.out_width(), t, activate});
}

// As backward() of stylegan.hpp, without colours.
template <class E, class Backend>
void backward_on(Backend& on, const ModulatedConv<E>& conv, const E* y, const Real<E>* demod, const E* dy,
                 const Gradients<E>& grads) {
  using R = Real<E>;
  using elements::Sum;
  const std::int64_t n = conv.batch, cin = conv.cin, cout = conv.cout, area = conv.taps * conv.taps;
  const std::int64_t oh = conv.out_height(), ow = conv.out_width(), in = conv.height * conv.width;
  const elements::Grid grid = grid_of(conv);
  const elements::ActivationSlope<E> slope{activation_of<E>(conv, demod, nullptr), y, dy,
                                           elements::limit_of<E>(conv.clamp)};
  R* g = on.template take<R>(n * oh * ow * cout);
  on.each(n * oh * ow * cout, elements::GradientOfProduct<E>{slope, g});
  R* sums = on.template take<R>(n * cout);
  if (grads.bias) {
    on.columns(n, oh * ow, cout, elements::ActivationSum<E, Sum::kBias>{slope}, sums);
    on.each(cout, elements::RowSum<R>{n, cout, sums, grads.bias});
  }
  if (grads.strength) {
    on.columns(n, oh * ow, cout, elements::ActivationSum<E, Sum::kStrength>{slope}, sums);
    on.each(1, elements::RowSum<R>{n * cout, 1, sums, grads.strength});
  }
  R *q = nullptr, *dq = nullptr;
  const bool demodulate = conv.demodulate && (grads.styles || grads.weight);
  if (demodulate) {
    q = on.template take<R>(cout * cin);
    on.each(cout * cin, elements::SquareSum<R>{conv.weight, static_cast<int>(area), q});
    on.columns(n, oh * ow, cout, elements::ActivationSum<E, Sum::kDemod>{slope}, sums);
    on.each(n * cout, elements::DemodulationFactor<R>{demod, sums});
    if (grads.weight) {
      dq = on.template take<R>(cout * cin);
      on.each(cout * cin, elements::SquaresOfDemodulation<R>{n, cin, cout, conv.styles, sums, dq});
    }
  }
  if (conv.up) {
    R* dt = on.template take<R>(n * grid.oh * grid.ow * cout);
    on.each(n * grid.oh * grid.ow * cout, elements::FilterAdjoint<R>{oh, ow, cout, g, dt});
    g = dt;
  }
  if (grads.x || grads.styles) {
    R* z = on.template take<R>(n * in * cin);
    on.product(n * in, cin, area * cout, elements::InputProduct<R>{grid, cin, cout, g, conv.weight, z});
    if (grads.x) on.each(n * in * cin, elements::ScaleInput<E>{in, cin, z, conv.styles, grads.x});
    if (grads.styles) {
      on.columns(n, in, cin, elements::StyleSum<E>{conv.x, z}, grads.styles);
      if (demodulate)
        on.each(n * cin, elements::StylesOfDemodulation<R>{cin, cout, conv.styles, q, sums, grads.styles});
    }
  }
  if (grads.weight)
    on.product(cout, area * cin, n * grid.oh * grid.ow,
               elements::WeightProduct<E>{grid, cin, cout, conv.x, conv.styles, g, conv.weight, dq, grads.weight});
}

}  // namespace everface::stylegan
