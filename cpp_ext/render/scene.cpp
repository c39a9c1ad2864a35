#include "scene.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace everface::render {
namespace {

// Smallest and largest coordinate of any sample along each axis.
template <class R>
struct Bounds {
  R low[3], high[3], farthest;
};

template <class R>
Bounds<R> bounds_of(const RayBundle<R>& rays, std::int64_t image) {
  constexpr R most = std::numeric_limits<R>::max();
  Bounds<R> found{{most, most, most}, {-most, -most, -most}, -most};
  R nearest = most;
  for (std::int64_t j = 0; j < (rays.depth_ray == 0 ? 1 : rays.rays); ++j) {
    const R* depths = rays.depths + image * rays.depth_image + j * rays.depth_ray;
    for (std::int64_t s = 0; s < rays.samples; ++s) {
      nearest = std::min(nearest, depths[s]), found.farthest = std::max(found.farthest, depths[s]);
    }
  }
  for (std::int64_t j = 0; j < rays.rays; ++j) {
    const std::int64_t at = 3 * (image * rays.rays + j);
    for (int axis = 0; axis < 3; ++axis) {
      for (const R depth : {nearest, found.farthest}) {
        const R x = rays.origins[at + axis] + depth * rays.directions[at + axis];
        found.low[axis] = std::min(found.low[axis], x), found.high[axis] = std::max(found.high[axis], x);
      }
    }
  }
  return found;
}

// The texels first ... first + count - 1 of `side` that a coordinate reaches, with one to spare for rounding.
template <class R>
void reach(R low, R high, R scale, std::int64_t side, std::int64_t* first, std::int64_t* count) {
  const auto texel = [&](R x, int more) {
    const double at = std::floor(static_cast<double>(x) * scale + 0.5 * static_cast<double>(side - 1)) + more;
    const double most = static_cast<double>(side - 1);
    return static_cast<std::int64_t>(at > 0 ? (at < most ? at : most) : 0);
  };
  *first = texel(low, -1);
  *count = std::max<std::int64_t>(texel(high, 2) - *first, 0) + 1;
}

// Planes that are sampled at the same coordinates are added up first: the sum of samples is the sample of the sum.
template <class R>
void make_fields(const Volume<R>& volume, Scene<R>* scene) {
  for (int plane = 0; plane < 3; ++plane) {
    const int* axes = volume.axes[plane];
    Field<R>* home = nullptr;
    bool turned = false;
    for (int f = 0; f < scene->fields && home == nullptr; ++f) {
      Field<R>& field = scene->field[f];
      const bool same = field.axes[0] == axes[0] && field.axes[1] == axes[1];
      turned = !same && field.axes[0] == axes[1] && field.axes[1] == axes[0] && volume.height == volume.width;
      if (same || turned) home = &field;
    }
    if (home == nullptr) {
      home = &scene->field[scene->fields++];
      home->axes[0] = axes[0], home->axes[1] = axes[1], home->count = 0, turned = false;
    }
    home->sources[home->count] = plane, home->transposed[home->count] = turned;
    ++home->count;
  }
}

}  // namespace

template <class R>
std::vector<Scene<R>> make_scenes(const Volume<R>& volume, const RayBundle<R>& rays, const Options& options) {
  Scene<R> common;
  common.height = volume.height, common.width = volume.width;
  common.features = volume.features, common.hidden = volume.hidden;
  common.fpad = padded(volume.features), common.hpad = padded(volume.hidden);
  common.scale[0] = static_cast<R>(static_cast<double>(volume.width) / volume.box_warp);
  common.scale[1] = static_cast<R>(static_cast<double>(volume.height) / volume.box_warp);
  common.stop = static_cast<R>(options.stop), common.skip = static_cast<R>(options.skip);
  common.white_back = options.white_back;
  make_fields(volume, &common);
  std::vector<Scene<R>> scenes(static_cast<std::size_t>(volume.batch), common);
  R farthest = -std::numeric_limits<R>::max();
  for (std::int64_t i = 0; i < volume.batch; ++i) {
    Scene<R>& scene = scenes[static_cast<std::size_t>(i)];
    scene.planes = volume.planes + i * 3 * volume.features * volume.height * volume.width;
    const Bounds<R> bounds = bounds_of(rays, i);
    farthest = std::max(farthest, bounds.farthest);
    for (int f = 0; f < scene.fields; ++f) {
      Field<R>& field = scene.field[f];
      const int u = field.axes[0], v = field.axes[1];
      reach(bounds.low[u], bounds.high[u], scene.scale[0], volume.width, &field.left, &field.columns);
      reach(bounds.low[v], bounds.high[v], scene.scale[1], volume.height, &field.top, &field.rows);
    }
  }
  for (Scene<R>& scene : scenes) scene.farthest = farthest;
  return scenes;
}

template <class R>
void place_decoder(const Volume<R>& volume, Scene<R>* scene, Carver* carver) {
  const std::int64_t features = scene->features, hidden = scene->hidden, fpad = scene->fpad, hpad = scene->hpad;
  R* first = carver->take<R>(features * hpad);
  R* first_back = carver->take<R>(hidden * fpad);
  R* first_bias = carver->take<R>(hpad);
  R* density = carver->take<R>(hpad);
  R* colour = carver->take<R>(hidden * fpad);
  R* colour_back = carver->take<R>(features * hpad);
  R* colour_bias = carver->take<R>(fpad);
  if (first == nullptr) return;
  for (R* one : {first, colour_back}) std::fill(one, one + features * hpad, R(0));
  for (R* one : {first_back, colour}) std::fill(one, one + hidden * fpad, R(0));
  for (R* one : {first_bias, density}) std::fill(one, one + hpad, R(0));
  std::fill(colour_bias, colour_bias + fpad, R(0));
  for (std::int64_t h = 0; h < hidden; ++h) {
    first_bias[h] = volume.hidden_bias[h], density[h] = volume.out_weight[h];
    for (std::int64_t f = 0; f < features; ++f) {
      const R weight = volume.hidden_weight[h * features + f] * R(1.0 / 3.0);  // the mean of three planes
      first[f * hpad + h] = weight, first_back[h * fpad + f] = weight;
      colour[h * fpad + f] = colour_back[f * hpad + h] = volume.out_weight[(1 + f) * hidden + h];
    }
  }
  for (std::int64_t f = 0; f < features; ++f) colour_bias[f] = volume.out_bias[1 + f];
  scene->first = first, scene->first_back = first_back, scene->first_bias = first_bias, scene->density = density;
  scene->colour = colour, scene->colour_back = colour_back, scene->colour_bias = colour_bias;
  scene->density_bias = volume.out_bias[0];
}

template <class R>
Desk<R> place_desk(const Scene<R>& scene, std::int64_t samples, bool backward, Carver* carver) {
  const std::int64_t n = samples + kPad, hpad = scene.hpad, fpad = scene.fpad;
  Desk<R> desk{};
  Work<R>& work = desk.work;
  for (R** one :
       {&work.depth, &work.sigma, &work.sorted_depth, &work.sorted_sigma, &work.weight, &work.share, &work.sums})
    *one = carver->take<R>(n);
  work.hidden = carver->take<R>(samples * hpad);
  work.order = carver->take<std::int32_t>(n), work.spare = carver->take<std::int32_t>(n);
  work.known = carver->take<unsigned char>(n);
  work.tile = carver->take<R>(kShown * (hpad + fpad) + fpad);
  std::int64_t columns = 0;
  for (int f = 0; f < scene.fields; ++f) columns = std::max(columns, scene.field[f].columns);
  desk.buffer = carver->take<R>(kRows * scene.features * columns + (backward ? columns * fpad : 0));
  if (!backward) return desk;
  work.front = carver->take<R>(samples * hpad);
  work.shine = carver->take<R>(samples * fpad), work.dshine = carver->take<R>(samples * fpad);
  work.dsigma = carver->take<R>(n);
  desk.sums.first = carver->take<R>(scene.features * hpad), desk.sums.first_bias = carver->take<R>(hpad);
  desk.sums.density = carver->take<R>(hpad), desk.sums.colour = carver->take<R>(scene.features * hpad);
  desk.sums.colour_bias = carver->take<R>(fpad);
  return desk;
}

namespace {

template <class R, class Visit>
void each_part(const Scene<R>& scene, Visit visit) {
  visit(&Sums<R>::first, scene.features * scene.hpad), visit(&Sums<R>::colour, scene.features * scene.hpad);
  visit(&Sums<R>::first_bias, scene.hpad), visit(&Sums<R>::density, scene.hpad);
  visit(&Sums<R>::colour_bias, scene.fpad);
}

}  // namespace

template <class R>
void clear(const Scene<R>& scene, Sums<R>* sums) {
  each_part(scene, [&](R* Sums<R>::*part, std::int64_t count) { std::fill(sums->*part, sums->*part + count, R(0)); });
  sums->density_bias = 0;
}

template <class R>
void add(const Scene<R>& scene, const Sums<R>& one, Sums<R>* total) {
  each_part(scene, [&](R* Sums<R>::*part, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) (total->*part)[i] += (one.*part)[i];
  });
  total->density_bias += one.density_bias;
}

template <class R>
void write(const Scene<R>& scene, const Sums<R>& sums, const Gradients<R>& grads) {
  const std::int64_t features = scene.features, hidden = scene.hidden, hpad = scene.hpad;
  for (std::int64_t h = 0; h < hidden; ++h) {
    if (grads.hidden_bias) grads.hidden_bias[h] = sums.first_bias[h];
    if (grads.out_weight) grads.out_weight[h] = sums.density[h];
    for (std::int64_t f = 0; f < features; ++f) {
      if (grads.hidden_weight) grads.hidden_weight[h * features + f] = sums.first[f * hpad + h] * R(1.0 / 3.0);
      if (grads.out_weight) grads.out_weight[(1 + f) * hidden + h] = sums.colour[f * hpad + h];
    }
  }
  if (grads.out_bias == nullptr) return;
  grads.out_bias[0] = sums.density_bias;
  for (std::int64_t f = 0; f < features; ++f) grads.out_bias[1 + f] = sums.colour_bias[f];
}

#define EVERFACE_INSTANTIATE(R)                                                                      \
  template std::vector<Scene<R>> make_scenes(const Volume<R>&, const RayBundle<R>&, const Options&); \
  template void place_decoder(const Volume<R>&, Scene<R>*, Carver*);                                 \
  template Desk<R> place_desk(const Scene<R>&, std::int64_t, bool, Carver*);                         \
  template void clear(const Scene<R>&, Sums<R>*);                                                    \
  template void add(const Scene<R>&, const Sums<R>&, Sums<R>*);                                      \
  template void write(const Scene<R>&, const Sums<R>&, const Gradients<R>&);
EVERFACE_INSTANTIATE(float)
EVERFACE_INSTANTIATE(double)

}  // namespace everface::render
