// One ray, forward: two passes of sampling, then what it gathers.
#pragma once

#include "everface/core/gemm.hpp"
#include "everface/render/elements.hpp"
#include "lookup.hpp"

namespace everface::render {
namespace EVERFACE_ISA {

// The widened sigmoid of the decoder: 0 and 1 can be reached (MipNeRF).
constexpr double kStretch = 1.002, kLift = 0.001;

// Sorts `order` by depth: merges neighbouring runs until one is left. Samples come in one or two runs, unless their
// quantiles were drawn.
template <class R>
inline void sort_by_depth(const R* depth, std::int32_t* order, std::int32_t* spare, std::int64_t n) {
  std::int32_t* const home = order;
  bool sorted = false;
  for (int pass = 0; pass < 32 && !sorted; ++pass) {  // not numbers never come in order
    sorted = true;
    std::int64_t at = 0;
    while (at < n) {
      std::int64_t middle = at + 1;
      while (middle < n && depth[order[middle - 1]] <= depth[order[middle]]) ++middle;
      std::int64_t end = middle < n ? middle + 1 : middle;
      while (end < n && depth[order[end - 1]] <= depth[order[end]]) ++end;
      if (at > 0 || end < n) sorted = false;
      std::int64_t a = at, b = middle;
      for (std::int64_t to = at; to < end; ++to) {
        const bool left = b >= end || (a < middle && depth[order[a]] <= depth[order[b]]);
        spare[to] = left ? order[a++] : order[b++];
      }
      at = end;
    }
    std::int32_t* const other = order;
    order = spare, spare = other;
  }
  if (order != home)
    for (std::int64_t i = 0; i < n; ++i) home[i] = order[i];
}

// Weights of the intervals between the first n of `order`, which are evaluated on the way if they are not known yet.
// Returns how many samples count: behind them is no light.
template <class R>
inline std::int64_t quadrature(const Scene<R>& scene, const Ray<R>& ray, const Work<R>& work, std::int64_t n) {
  R light = 1, before = 0, depth_before = 0;
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const int count = static_cast<int>(n - begin < kBlock ? n - begin : kBlock);
    std::int32_t wanted[kBlock];
    int missing = 0;
    for (int j = 0; j < count; ++j)
      if (!work.known[work.order[begin + j]]) wanted[missing++] = work.order[begin + j];
    if (missing > 0) evaluate(scene, ray, work, wanted, missing);
    R middle[kBlock], length[kBlock], kept[kBlock];
    for (int j = 0; j < kBlock; ++j) {
      const std::int32_t id = work.order[begin + (j < count ? j : count - 1)];
      const R sigma = work.sigma[id], depth = work.depth[id];
      if (j < count) work.sorted_sigma[begin + j] = sigma, work.sorted_depth[begin + j] = depth;
      middle[j] = R(0.5) * (before + sigma) - R(1), length[j] = depth - depth_before;
      before = sigma, depth_before = depth;
    }
    for (int j = 0; j < kBlock; j += kLanes<R>)
      store(kept + j, exp_falling(splat(R(0)) - softplus<R>(load(middle + j)) * load(length + j)));
    for (int j = begin == 0 ? 1 : 0; j < count; ++j) {
      const Step<R> step = pass(light, kept[j]);
      work.weight[begin + j - 1] = step.weight, light = step.light;
    }
    if (light < scene.stop && begin + count < n) {
      for (std::int64_t i = begin + count - 1; i < n - 1; ++i) work.weight[i] = 0;
      return begin + count;
    }
  }
  return n;
}

// All but the colours: order, sorted depths and densities, weights and shares. Returns how many samples count.
template <class R>
inline std::int64_t place_samples(const Scene<R>& scene, const Ray<R>& ray, const Work<R>& work) {
  const std::int64_t coarse = ray.samples, all = ray.samples + ray.importance;
  for (std::int64_t i = 0; i < all; ++i) {
    work.order[i] = static_cast<std::int32_t>(i), work.known[i] = 0;
    if (i < coarse) work.depth[i] = ray.depths[i];
  }
  std::int64_t used = quadrature(scene, ray, work, coarse);
  if (ray.importance > 0) {
    cumulate(work.weight, coarse, work.sums);
    std::int64_t from = 0;
    for (std::int64_t i = 0; i < ray.importance; ++i)
      work.depth[coarse + i] = finer_depth(work.depth, work.sums, coarse, ray.quantiles[i], &from);
    sort_by_depth(work.depth, work.order, work.spare, all);
    used = quadrature(scene, ray, work, all);
  }
  work.weight[used - 1] = 0;
  work.share[0] = R(0.5) * work.weight[0];
  for (std::int64_t i = 1; i < used; ++i) work.share[i] = R(0.5) * (work.weight[i - 1] + work.weight[i]);
  return used;
}

// Colours in (0, 1) of samples whose hidden layers are rows of `hidden`; rows of `out` [count, fpad].
template <class R>
inline void colours(const Scene<R>& scene, const R* hidden, std::int64_t count, R* out) {
  multiply(hidden, scene.hpad, 1, count, scene.colour, scene.fpad, scene.hidden, scene.fpad, scene.colour_bias, 0, out,
           scene.fpad);
  for (std::int64_t i = 0; i < count * scene.fpad; i += kLanes<R>) store(out + i, sigmoid<R>(load(out + i)));
}

// Adds colours of the samples that give light; returns the light of the others.
template <class R>
inline R gather_colours(const Scene<R>& scene, const Work<R>& work, std::int64_t used, R* total) {
  constexpr int rows = kShown;
  R* const packed = work.tile;
  R* const shown = packed + rows * scene.hpad;
  R shares[rows], skipped = 0;
  int count = 0;
  for (std::int64_t i = 0; i <= used; ++i) {
    if (i < used && work.share[i] > scene.skip) {
      const R* from = work.hidden + work.order[i] * scene.hpad;
      for (std::int64_t c = 0; c < scene.hpad; c += kLanes<R>) store(packed + count * scene.hpad + c, load(from + c));
      shares[count++] = work.share[i];
    } else if (i < used) {
      skipped += work.share[i];
    }
    if (count < rows && i < used) continue;
    colours(scene, packed, count, shown);
    for (int j = 0; j < count; ++j)
      for (std::int64_t f = 0; f < scene.fpad; f += kLanes<R>)
        store(total + f, load(total + f) + shares[j] * load(shown + j * scene.fpad + f));
    count = 0;
  }
  return skipped;
}

template <class R>
void march(const Scene<R>& scene, const Ray<R>& ray, const Work<R>& work) {
  const std::int64_t used = place_samples(scene, ray, work);
  R opacity = 0, moment = 0, shared = 0;
  for (std::int64_t i = 0; i < used; ++i) {
    opacity += work.weight[i], shared += work.share[i], moment += work.share[i] * work.sorted_depth[i];
  }
  R* const total = work.tile + kShown * (scene.hpad + scene.fpad);
  for (std::int64_t f = 0; f < scene.fpad; ++f) total[f] = 0;
  const R skipped = gather_colours(scene, work, used, total);
  // A colour that nobody looked at is grey.
  const R behind = scene.white_back ? R(1) - opacity : R(0);
  const R level = R(0.5) * skipped - R(kLift) * (shared - skipped) + behind;
  for (std::int64_t f = 0; f < scene.features; ++f) ray.features[f] = R(2) * (R(kStretch) * total[f] + level) - R(1);
  *ray.depth = opacity > R(0) ? moment / opacity : scene.farthest;
  *ray.opacity = opacity;
}

}  // namespace EVERFACE_ISA
}  // namespace everface::render
