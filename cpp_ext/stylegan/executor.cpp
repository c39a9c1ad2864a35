#include "synthesis_common.hpp"

namespace everface::stylegan {

template <class E>
struct Executor<E>::State {
  using R = Real<E>;
  struct Step {
    LayerPlace place;
    PackedWeights<E> packed;  // convolutions
    std::vector<R> weight;    // torgb
    std::vector<E> affine_weight;
    std::vector<R> affine_bias, bias, noise;
    R strength = 0;
  };
  SynthesisShape shape;
  std::vector<R> constant;
  std::vector<Step> steps;
  Buffer arena;

  // Activations alternate between two pieces; the skip image between two more.
  struct Pieces {
    E* x[2];
    R* image[2];
    R *styles, *demod, *weights;
  };

  Pieces pieces(std::int64_t batch) {
    std::int64_t largest[2] = {batch * 16 * shape.channels[0], 0}, widest = 0;
    int turn = 0;
    for (const Step& s : steps) {
      widest = std::max({widest, s.place.cin, s.place.cout});
      if (s.place.colour) continue;
      turn = 1 - turn;
      largest[turn] = std::max(largest[turn], batch * s.place.resolution * s.place.resolution * s.place.cout);
    }
    const std::int64_t image = batch * shape.colours * shape.resolution * shape.resolution;
    Pieces p{};
    const auto carve = [&](std::byte* base) {
      Carver carver(base);
      p.x[0] = carver.take<E>(largest[0]), p.x[1] = carver.take<E>(largest[1]);
      p.image[0] = carver.take<R>(image / 4), p.image[1] = carver.take<R>(image / 4);
      p.styles = carver.take<R>(batch * widest), p.demod = carver.take<R>(batch * widest);
      p.weights = carver.take<R>(batch * widest * shape.colours);
      return carver.used();
    };
    const std::size_t needed = carve(nullptr);
    carve(arena.reserve(needed));
    return p;
  }
};

template <class E>
Executor<E>::Executor(const SynthesisShape& shape, const SynthesisParameters<Real<E>>& parameters, Pool& pool)
    : state_(std::make_unique<State>()) {
  using R = Real<E>;
  State& s = *state_;
  s.shape = shape;
  s.constant.assign(parameters.constant, parameters.constant + shape.channels[0] * 16);
  const auto all = places(shape);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const LayerPlace& place = all[i];
    const LayerParameters<R>& p = parameters.layers[i];
    typename State::Step step;
    step.place = place;
    step.affine_weight.resize(static_cast<std::size_t>(place.cin * shape.w_dim));
    for (std::size_t j = 0; j < step.affine_weight.size(); ++j) from_real(p.affine_weight[j], &step.affine_weight[j]);
    step.affine_bias.assign(p.affine_bias, p.affine_bias + place.cin);
    step.bias.assign(p.bias, p.bias + place.cout);
    if (place.colour) {
      step.weight.assign(p.weight, p.weight + place.cout * place.cin);
    } else {
      ModulatedConv<E> conv = conv_of<E>(shape, place, 1);
      conv.weight = p.weight, conv.large_tiles = true;
      step.packed = pack<E>(conv, pool);
      step.strength = *p.strength;
      if (parameters.noise[i] && step.strength != R(0))
        step.noise.assign(parameters.noise[i], parameters.noise[i] + place.resolution * place.resolution);
    }
    s.steps.push_back(std::move(step));
  }
}

template <class E>
Executor<E>::~Executor() = default;

template <class E>
void Executor<E>::run(std::int64_t batch, const Real<E>* ws, Real<E>* image, Pool& pool) {
  using R = Real<E>;
  if (batch == 0) return;
  State& s = *state_;
  const auto p = s.pieces(batch);
  spread_constant<E>(s.constant.data(), s.shape.channels[0], batch, p.x[0]);
  int turn = 0;
  const R* before = nullptr;
  for (auto& step : s.steps) {
    const LayerPlace& place = step.place;
    affine(s.shape, place, step.affine_weight.data(), step.affine_bias.data(), batch, ws, p.styles, pool);
    if (!place.colour) {
      ModulatedConv<E> conv = conv_of<E>(s.shape, place, batch);
      conv.x = p.x[turn], conv.styles = p.styles, conv.bias = step.bias.data(), conv.strength = step.strength;
      conv.noise = step.noise.empty() ? nullptr : step.noise.data();
      turn = 1 - turn;
      forward<E>(conv, &step.packed, p.x[turn], p.demod, pool);
      continue;
    }
    colour_weights(place, batch, step.weight.data(), p.styles, p.weights);
    const bool last = place.block + 1 == s.shape.blocks();
    R* to = last ? image : p.image[place.block % 2];
    to_colours(s.shape, place, batch, p.x[turn], p.weights, step.bias.data(), to, pool);
    if (before) upsample_add(before, to, batch * place.cout, place.resolution / 2, to, pool);
    before = to;
  }
}

template <class E>
std::size_t Executor<E>::weight_bytes() const {
  std::size_t total = state_->constant.size() * sizeof(Real<E>);
  for (const auto& step : state_->steps) {
    const std::size_t reals = step.packed.squares.size() + step.weight.size() + step.affine_bias.size() +
                              step.bias.size() + step.noise.size();
    total += step.packed.storage.size() + step.affine_weight.size() * sizeof(E) + reals * sizeof(Real<E>);
  }
  return total;
}

template <class E>
std::size_t Executor<E>::arena_bytes() const {
  return state_->arena.size();
}

template class Executor<float>;
template class Executor<bf16>;

}  // namespace everface::stylegan
