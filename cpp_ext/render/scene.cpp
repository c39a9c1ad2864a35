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

// Numbers in the sums of one thread.
template <class R>
std::int64_t count_of(const Scene<R>& scene) {
  return 2 * scene.features * scene.hpad + 2 * scene.hpad + scene.fpad;
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
  const auto zeros = [&](std::int64_t count) {
    R* const at = carver->take<R>(count);
    if (at) std::fill(at, at + count, R(0));
    return at;
  };
  R *const first = zeros(features * hpad), *const first_back = zeros(hidden * fpad), *const first_bias = zeros(hpad);
  R *const density = zeros(hpad), *const colour = zeros(hidden * fpad);
  R *const colour_back = zeros(features * hpad), *const colour_bias = zeros(fpad);
  if (first == nullptr) return;
  for (std::int64_t h = 0; h < hidden; ++h) {
    first_bias[h] = volume.hidden_bias[h], density[h] = volume.out_weight[h];
    for (std::int64_t f = 0; f < features; ++f) {
      const R weight = volume.hidden_weight[h * features + f] * R(1.0 / 3.0);  // the mean of three planes
      first[f * hpad + h] = weight, first_back[h * fpad + f] = weight;
      colour[h * fpad + f] = colour_back[f * hpad + h] = volume.out_weight[(1 + f) * hidden + h];
    }
  }
  for (std::int64_t f = 0; f < features; ++f) colour_bias[f] = volume.out_bias[1 + f];
  static_cast<Decoder<R>&>(*scene) = {first,  first_back,  first_bias,  density,
                                      colour, colour_back, colour_bias, volume.out_bias[0]};
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
  Sums<R>& sums = desk.sums;
  sums.first = carver->take<R>(count_of(scene));
  sums.colour = sums.first + scene.features * hpad, sums.first_bias = sums.colour + scene.features * hpad;
  sums.density = sums.first_bias + hpad, sums.colour_bias = sums.density + hpad;
  return desk;
}

template <class R>
void clear(const Scene<R>& scene, Sums<R>* sums) {
  std::fill_n(sums->first, count_of(scene), R(0));
  sums->density_bias = 0;
}

template <class R>
void add(const Scene<R>& scene, const Sums<R>& one, Sums<R>* total) {
  for (std::int64_t i = 0; i < count_of(scene); ++i) total->first[i] += one.first[i];
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
