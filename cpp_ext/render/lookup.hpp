// Where samples lie in the fields, and what their hidden layer is there.
#pragma once

#include "kernels.hpp"
#include "math.hpp"

namespace everface::render {
namespace EVERFACE_ISA {

// std::int32_t, or std::int64_t for doubles: as wide as R, so that vectors of both fit.
template <class R>
struct IndexOf {
  typedef std::int32_t type;
};
template <>
struct IndexOf<double> {
  typedef std::int64_t type;
};

// The four texels around each of kBlock samples, and their weights: zero for those outside of the plane.
template <class R>
struct Corners {
  typename IndexOf<R>::type texel[4][kBlock];
  R weight[4][kBlock];
};

// Along one axis: the two neighbours within the rectangle, and their weights.
template <class R>
struct Neighbours {
  Whole<R> at[2];
  Vec<R> weight[2];
};

// x in texels, from the centre of the first. `first` and `count` are the rectangle's, `side` the plane's.
template <class R>
EVERFACE_INLINE Neighbours<R> neighbours(Vec<R> x, std::int64_t side, std::int64_t first, std::int64_t count) {
  // Far outside (or not a number) all is zero; the comparisons are such that a NaN ends at -2.
  x = maximum(x, splat(R(-2)));
  x = minimum(x, splat(R(side + 1)));
  Whole<R> low = __builtin_convertvector(x, Whole<R>);
  low += __builtin_convertvector(low, Vec<R>) > x;  // true is -1: truncation to floor
  const Vec<R> part = x - __builtin_convertvector(low, Vec<R>);
  Neighbours<R> found;
  for (int i = 0; i < 2; ++i) {
    const Whole<R> at = low + i;
    const Vec<R> weight = i == 0 ? splat(R(1)) - part : part;
    const auto inside = (at >= 0) & (at < static_cast<typename IndexOf<R>::type>(side));
    found.weight[i] = inside ? weight : splat(R(0));
    const Whole<R> last = Whole<R>{} + static_cast<typename IndexOf<R>::type>(count - 1);
    const Whole<R> within = at - static_cast<typename IndexOf<R>::type>(first);
    const Whole<R> above = within < 0 ? Whole<R>{} : within;
    found.at[i] = above > last ? last : above;
  }
  return found;
}

// place: coordinates [3][kBlock].
template <class R>
inline void find_corners(const Scene<R>& scene, const Field<R>& field, const R (*place)[kBlock], Corners<R>& out) {
  const auto columns = static_cast<typename IndexOf<R>::type>(field.columns);
  for (int j = 0; j < kBlock; j += kLanes<R>) {
    const Vec<R> u = load(place[field.axes[0]] + j) * scene.scale[0] + R(0.5) * R(scene.width - 1);
    const Vec<R> v = load(place[field.axes[1]] + j) * scene.scale[1] + R(0.5) * R(scene.height - 1);
    const Neighbours<R> x = neighbours<R>(u, scene.width, field.left, field.columns);
    const Neighbours<R> y = neighbours<R>(v, scene.height, field.top, field.rows);
    for (int corner = 0; corner < 4; ++corner) {
      const Whole<R> at = y.at[corner / 2] * columns + x.at[corner % 2];
      std::memcpy(out.texel[corner] + j, &at, sizeof at);
      store(out.weight[corner] + j, y.weight[corner / 2] * x.weight[corner % 2]);
    }
  }
}

// N vectors of channels of sample j's hidden layer; returns what they add to the density.
template <int N, int F, class R>
EVERFACE_INLINE Vec<R> hidden_part(const Scene<R>& scene, const Corners<R>* corners, int j, std::int64_t channel,
                                   R* hidden) {
  Vec<R> acc[N];
  EVERFACE_UNROLL
  for (int v = 0; v < N; ++v) acc[v] = load(scene.first_bias + channel + v * kLanes<R>);
  EVERFACE_UNROLL
  for (int f = 0; f < F; ++f) {
    EVERFACE_UNROLL
    for (int corner = 0; corner < 4; ++corner) {
      const R* texel = scene.field[f].texels + static_cast<std::int64_t>(corners[f].texel[corner][j]) * scene.hpad;
      const Vec<R> weight = splat(corners[f].weight[corner][j]);
      EVERFACE_UNROLL
      for (int v = 0; v < N; ++v) acc[v] += weight * load(texel + channel + v * kLanes<R>);
    }
  }
  Vec<R> density = splat(R(0));
  EVERFACE_UNROLL
  for (int v = 0; v < N; ++v) {
    const Vec<R> value = softplus<R>(acc[v]);
    store(hidden + channel + v * kLanes<R>, value);
    density += value * load(scene.density + channel + v * kLanes<R>);
  }
  return density;
}

// The hidden layer [hpad] of sample j of a block; returns its density before softplus.
template <int F, class R>
inline R hidden_layer(const Scene<R>& scene, const Corners<R>* corners, int j, R* hidden) {
  Vec<R> density = splat(R(0));
  std::int64_t channel = 0;
  for (; channel + 4 * kLanes<R> <= scene.hpad; channel += 4 * kLanes<R>)
    density += hidden_part<4, F>(scene, corners, j, channel, hidden);
  for (; channel < scene.hpad; channel += kLanes<R>) density += hidden_part<1, F>(scene, corners, j, channel, hidden);
  return sum<R>(density) + scene.density_bias;
}

// Hidden layers and densities of up to kBlock samples, given by their numbers.
template <class R>
inline void evaluate(const Scene<R>& scene, const Ray<R>& ray, const Work<R>& work, const std::int32_t* ids,
                     int count) {
  R place[3][kBlock];
  for (int j = 0; j < kBlock; ++j) {
    const R depth = work.depth[ids[j < count ? j : 0]];
    for (int axis = 0; axis < 3; ++axis) place[axis][j] = ray.origin[axis] + depth * ray.direction[axis];
  }
  Corners<R> corners[3];
  for (int f = 0; f < scene.fields; ++f) find_corners(scene, scene.field[f], place, corners[f]);
  for (int j = 0; j < count; ++j) {
    R* hidden = work.hidden + ids[j] * scene.hpad;
    work.sigma[ids[j]] = scene.fields == 3   ? hidden_layer<3>(scene, corners, j, hidden)
                         : scene.fields == 2 ? hidden_layer<2>(scene, corners, j, hidden)
                                             : hidden_layer<1>(scene, corners, j, hidden);
    work.known[ids[j]] = 1;
  }
}

}  // namespace EVERFACE_ISA
}  // namespace everface::render
