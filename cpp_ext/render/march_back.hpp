// One ray, backward. Where its samples lie carries no gradient.
#pragma once

#include "march.hpp"

namespace everface::render {
namespace EVERFACE_ISA {

// Hidden layers and colours of the samples that count, by depth: all of them, as if the forward pass had skipped none.
template <class R>
inline void bring_forward(const Scene<R>& scene, const Work<R>& work, std::int64_t used) {
  for (std::int64_t i = 0; i < used; ++i) {
    const R* from = work.hidden + work.order[i] * scene.hpad;
    for (std::int64_t c = 0; c < scene.hpad; c += kLanes<R>) store(work.front + i * scene.hpad + c, load(from + c));
  }
  colours(scene, work.front, used, work.shine);
}

// d loss / d share of each sample into work.sums; the gradients of the colours before their sigmoid into work.dshine.
template <class R>
inline void share_gradients(const Scene<R>& scene, const Ray<R>& ray, const Work<R>& work, std::int64_t used,
                            R by_depth) {
  for (std::int64_t i = 0; i < used; ++i) {
    const R *shine = work.shine + i * scene.fpad, share = work.share[i];
    R* to = work.dshine + i * scene.fpad;
    R total = 0;
    for (std::int64_t f = 0; f < scene.features; ++f) {
      const R gradient = R(2) * ray.dfeatures[f];
      total += gradient * (R(kStretch) * shine[f] - R(kLift));
      to[f] = share * gradient * R(kStretch) * shine[f] * (R(1) - shine[f]);
    }
    for (std::int64_t f = scene.features; f < scene.fpad; ++f) to[f] = 0;
    work.sums[i] = total + by_depth * work.sorted_depth[i];
  }
}

// Adds the decoder's gradients, summed over the ray first, which rounds less; those of the hidden layer before its
// softplus go to `gradients` [used, hpad].
template <class R>
inline void decoder_gradients(const Scene<R>& scene, const Work<R>& work, std::int64_t used, R* gradients,
                              Sums<R>* sums) {
  const std::int64_t hpad = scene.hpad, fpad = scene.fpad;
  multiply<R>(work.dshine, 1, fpad, scene.features, work.front, hpad, used, hpad, sums->colour, hpad, sums->colour,
              hpad);
  multiply<R>(work.dshine, fpad, 1, used, scene.colour_back, hpad, scene.features, hpad, nullptr, 0, gradients, hpad);
  for (std::int64_t c = 0; c < hpad; c += kLanes<R>) {
    Vec<R> by_weight = splat(R(0)), by_bias = splat(R(0));
    const Vec<R> weight = load(scene.density + c);
    for (std::int64_t i = 0; i < used; ++i) {
      R* const at = gradients + i * hpad + c;
      const Vec<R> hidden = load(work.front + i * hpad + c);
      by_weight += work.dsigma[i] * hidden;
      // softplus' slope is 1 - exp(-softplus).
      const Vec<R> slope = R(1) - exp_falling(splat(R(0)) - hidden);
      const Vec<R> gradient = (load(at) + work.dsigma[i] * weight) * slope;
      store(at, gradient);
      by_bias += gradient;
    }
    store(sums->density + c, load(sums->density + c) + by_weight);
    store(sums->first_bias + c, load(sums->first_bias + c) + by_bias);
  }
  for (std::int64_t f = 0; f < fpad; f += kLanes<R>) {
    Vec<R> by_bias = splat(R(0));
    for (std::int64_t i = 0; i < used; ++i) by_bias += load(work.dshine + i * fpad + f);
    store(sums->colour_bias + f, load(sums->colour_bias + f) + by_bias);
  }
  R by_density = 0;
  for (std::int64_t i = 0; i < used; ++i) by_density += work.dsigma[i];
  sums->density_bias += by_density;
}

template <class R>
void march_back(const Scene<R>& scene, const Ray<R>& ray, const Work<R>& work, const Left<R>& left, Sums<R>* sums) {
  const std::int64_t used = place_samples(scene, ray, work);
  R opacity = 0, moment = 0;
  for (std::int64_t i = 0; i < used; ++i) opacity += work.weight[i], moment += work.share[i] * work.sorted_depth[i];
  const R by_depth = opacity > R(0) ? *ray.ddepth / opacity : R(0);
  R by_opacity = *ray.dopacity;
  if (opacity > R(0)) by_opacity -= by_depth * moment / opacity;
  if (scene.white_back)
    for (std::int64_t f = 0; f < scene.features; ++f) by_opacity -= R(2) * ray.dfeatures[f];
  bring_forward(scene, work, used);
  share_gradients(scene, ray, work, used, by_depth);
  // The depths were copied in order, so their memory is free.
  density_gradients(work.weight, work.sums, work.sorted_sigma, work.sorted_depth, used, by_opacity, work.depth,
                    work.dsigma);
  decoder_gradients(scene, work, used, left.gradients, sums);
  for (std::int64_t i = 0; i < used; ++i)
    for (int axis = 0; axis < 3; ++axis)
      left.places[3 * i + axis] = ray.origin[axis] + work.sorted_depth[i] * ray.direction[axis];
  *left.count = used;
}

// Channels channel ... channel + kPad - 1 alone, so that threads never meet.
template <class R>
void scatter(const Scene<R>& scene, const Field<R>& field, std::int64_t channel, std::int64_t rays,
             std::int64_t per_ray, const R* places, const R* gradients, const std::int64_t* counts) {
  for (std::int64_t ray = 0; ray < rays; ++ray) {
    for (std::int64_t begin = 0; begin < counts[ray]; begin += kBlock) {
      const std::int64_t first = ray * per_ray + begin;
      const int count = static_cast<int>(counts[ray] - begin < kBlock ? counts[ray] - begin : kBlock);
      R place[3][kBlock];
      for (int j = 0; j < kBlock; ++j)
        for (int axis = 0; axis < 3; ++axis) place[axis][j] = places[3 * (first + (j < count ? j : 0)) + axis];
      Corners<R> corners;
      find_corners(scene, field, place, corners);
      for (int j = 0; j < count; ++j) {
        const R* from = gradients + (first + j) * scene.hpad + channel;
        for (int corner = 0; corner < 4; ++corner) {
          R* to = field.gradient + static_cast<std::int64_t>(corners.texel[corner][j]) * scene.hpad + channel;
          for (int c = 0; c < kPad; c += kLanes<R>)
            store(to + c, load(to + c) + corners.weight[corner][j] * load(from + c));
        }
      }
    }
  }
}

}  // namespace EVERFACE_ISA
}  // namespace everface::render
