// The order of work: texels, rays, and backward through both.
#include "everface/render.hpp"

#include <algorithm>
#include <cmath>

#include "scene.hpp"

namespace everface::render {
namespace {

constexpr std::int64_t kTaskRays = 64;         // forward: a square tile of an image
constexpr std::int64_t kChunkBytes = 8 << 20;  // backward: what rays leave for the texels at a time

// Neighbouring rays read the same texels: a square image is walked in tiles of 8 x 8.
class Walk {
 public:
  explicit Walk(std::int64_t rays) {
    const auto side = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(rays))));
    if (side * side == rays && side % 8 == 0) side_ = side;
  }
  std::int64_t operator()(std::int64_t k) const {
    if (side_ == 0) return k;
    const std::int64_t tile = k / 64, inside = k % 64, across = side_ / 8;
    return (tile / across * 8 + inside / 8) * side_ + tile % across * 8 + inside % 8;
  }

 private:
  std::int64_t side_ = 0;
};

template <class R>
Ray<R> ray_of(const RayBundle<R>& rays, std::int64_t image, std::int64_t j) {
  Ray<R> ray{};
  const std::int64_t at = image * rays.rays + j;
  ray.origin = rays.origins + 3 * at, ray.direction = rays.directions + 3 * at;
  ray.depths = rays.depths + image * rays.depth_image + j * rays.depth_ray;
  ray.quantiles = rays.quantiles + image * rays.quantile_image + j * rays.quantile_ray;
  ray.samples = rays.samples, ray.importance = rays.importance;
  return ray;
}

// All memory of a call, from the pool's scratch.
template <class R>
struct Room {
  std::vector<Scene<R>> scenes;
  std::vector<Desk<R>> desks;
  Sums<R> total{};
  R *places = nullptr, *gradients = nullptr;
  std::int64_t* counts = nullptr;
  std::int64_t chunk = 0;  // rays

  Room(const Volume<R>& volume, const RayBundle<R>& rays, const Options& options, bool backward, Pool& pool)
      : scenes(make_scenes(volume, rays, options)) {
    Carver counting(nullptr);
    place(volume, rays, backward, pool.threads(), &counting);
    Carver real(pool.scratch(counting.used()));
    place(volume, rays, backward, pool.threads(), &real);
  }

 private:
  void place(const Volume<R>& volume, const RayBundle<R>& rays, bool backward, int threads, Carver* carver) {
    const std::int64_t samples = rays.samples + rays.importance;
    place_decoder(volume, &scenes[0], carver);
    std::int64_t texels[3] = {};
    Scene<R> widest = scenes[0];
    for (Scene<R>& scene : scenes) {
      static_cast<Decoder<R>&>(scene) = scenes[0];
      for (int f = 0; f < scene.fields; ++f) {
        texels[f] = std::max(texels[f], scene.field[f].columns * scene.field[f].rows);
        widest.field[f].columns = std::max(widest.field[f].columns, scene.field[f].columns);
      }
    }
    for (int f = 0; f < widest.fields; ++f) {  // one image at a time
      R* const values = carver->take<R>(texels[f] * widest.hpad);
      R* const gradient = backward ? carver->take<R>(texels[f] * widest.hpad) : nullptr;
      for (Scene<R>& scene : scenes) scene.field[f].texels = values, scene.field[f].gradient = gradient;
    }
    desks.clear();
    for (int t = 0; t < threads; ++t) desks.push_back(place_desk(widest, samples, backward, carver));
    if (!backward) return;
    total = place_desk(widest, 0, true, carver).sums;
    const std::int64_t bytes = samples * (widest.hpad + 3) * static_cast<std::int64_t>(sizeof(R));
    chunk = std::max<std::int64_t>(std::min(kChunkBytes / bytes, rays.rays), 1);
    places = carver->take<R>(chunk * samples * 3), gradients = carver->take<R>(chunk * samples * widest.hpad);
    counts = carver->take<std::int64_t>(chunk);
  }
};

// Blocks of rows of all fields, one after the other.
template <class R, class Body>
void each_rows(const Scene<R>& scene, bool fixed, Pool& pool, Body body) {
  std::int64_t tasks[3] = {}, all = 0;
  for (int f = 0; f < scene.fields; ++f) all += tasks[f] = (scene.field[f].rows + kRows - 1) / kRows;
  const auto task = [&](std::int64_t index, int thread) {
    int f = 0;
    while (index >= tasks[f]) index -= tasks[f++];
    const std::int64_t first = index * kRows;
    body(scene.field[f], first, std::min(first + kRows, scene.field[f].rows), thread);
  };
  fixed ? pool.fixed(all, task) : pool.dynamic(all, task);
}

template <class R>
void fill_texels(const Scene<R>& scene, const std::vector<Desk<R>>& desks, Pool& pool) {
  each_rows(scene, false, pool, [&](const Field<R>& field, std::int64_t first, std::int64_t last, int thread) {
    kernels<R>().texels(scene, field, first, last, desks[static_cast<std::size_t>(thread)].buffer);
  });
}

// The rays of one image, chunk by chunk: each leaves its samples' gradients, which are then added to the texels'.
template <class R>
void rays_back(const Scene<R>& scene, const RayBundle<R>& rays, std::int64_t image, const March<const R>& dout,
               Room<R>& room, Pool& pool) {
  const std::int64_t samples = rays.samples + rays.importance, groups = scene.hpad / kPad;
  const Walk walk(rays.rays);
  for (std::int64_t begin = 0; begin < rays.rays; begin += room.chunk) {
    const std::int64_t count = std::min(room.chunk, rays.rays - begin);
    pool.fixed(count, [&](std::int64_t k, int thread) {
      Desk<R>& desk = room.desks[static_cast<std::size_t>(thread)];
      const std::int64_t j = walk(begin + k), at = image * rays.rays + j;
      Ray<R> ray = ray_of(rays, image, j);
      ray.dfeatures = dout.features + at * scene.features, ray.ddepth = dout.depth + at;
      ray.dopacity = dout.opacity + at;
      const Left<R> left{room.places + 3 * k * samples, room.gradients + k * samples * scene.hpad, room.counts + k};
      kernels<R>().march_back(scene, ray, desk.work, left, &desk.sums);
    });
    pool.dynamic(scene.fields * groups, [&](std::int64_t task, int) {
      kernels<R>().scatter(scene, scene.field[task / groups], task % groups * kPad, count, samples, room.places,
                           room.gradients, room.counts);
    });
  }
}

}  // namespace

template <class R>
void forward(const Volume<R>& volume, const RayBundle<R>& rays, const Options& options, const March<R>& out,
             Pool& pool) {
  if (volume.batch == 0 || rays.rays == 0) return;
  Room<R> room(volume, rays, options, false, pool);
  const Walk walk(rays.rays);
  for (std::int64_t image = 0; image < volume.batch; ++image) {
    const Scene<R>& scene = room.scenes[static_cast<std::size_t>(image)];
    fill_texels(scene, room.desks, pool);
    pool.dynamic((rays.rays + kTaskRays - 1) / kTaskRays, [&](std::int64_t task, int thread) {
      const Work<R>& work = room.desks[static_cast<std::size_t>(thread)].work;
      for (std::int64_t k = task * kTaskRays; k < std::min((task + 1) * kTaskRays, rays.rays); ++k) {
        const std::int64_t j = walk(k), at = image * rays.rays + j;
        Ray<R> ray = ray_of(rays, image, j);
        ray.features = out.features + at * volume.features, ray.depth = out.depth + at, ray.opacity = out.opacity + at;
        kernels<R>().march(scene, ray, work);
      }
    });
  }
}

template <class R>
void backward(const Volume<R>& volume, const RayBundle<R>& rays, const Options& options, const March<const R>& dout,
              const Gradients<R>& grads, Pool& pool) {
  const std::int64_t plane_numbers = 3 * volume.features * volume.height * volume.width;
  if (grads.planes) std::fill(grads.planes, grads.planes + volume.batch * plane_numbers, R(0));
  if (volume.batch == 0) return;
  Room<R> room(volume, rays, options, true, pool);
  for (Desk<R>& desk : room.desks) clear(room.scenes[0], &desk.sums);
  for (std::int64_t image = 0; image < volume.batch; ++image) {
    const Scene<R>& scene = room.scenes[static_cast<std::size_t>(image)];
    fill_texels(scene, room.desks, pool);
    for (int f = 0; f < scene.fields; ++f) {
      const Field<R>& field = scene.field[f];
      std::fill(field.gradient, field.gradient + field.rows * field.columns * scene.hpad, R(0));
    }
    rays_back(scene, rays, image, dout, room, pool);
    R* const planes = grads.planes ? grads.planes + image * plane_numbers : nullptr;
    each_rows(scene, true, pool, [&](const Field<R>& field, std::int64_t first, std::int64_t last, int thread) {
      Desk<R>& desk = room.desks[static_cast<std::size_t>(thread)];
      kernels<R>().texels_back(scene, field, first, last, desk.buffer, planes, &desk.sums);
    });
  }
  clear(room.scenes[0], &room.total);
  for (const Desk<R>& desk : room.desks) add(room.scenes[0], desk.sums, &room.total);
  write(room.scenes[0], room.total, grads);
}

#define EVERFACE_INSTANTIATE(R)                                                                         \
  template void forward(const Volume<R>&, const RayBundle<R>&, const Options&, const March<R>&, Pool&); \
  template void backward(const Volume<R>&, const RayBundle<R>&, const Options&, const March<const R>&,  \
                         const Gradients<R>&, Pool&);
EVERFACE_INSTANTIATE(float)
EVERFACE_INSTANTIATE(double)

}  // namespace everface::render
