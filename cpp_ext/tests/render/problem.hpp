// A volume with rays through it, and what should be seen there: the renderer's definition in double, sample by sample.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "check.hpp"
#include "everface/render.hpp"
#include "everface/render/elements.hpp"

namespace everface::test {

using namespace everface::render;

using Numbers = std::vector<double>;

struct Case {
  std::int64_t batch, features, hidden, height, width, rays, samples, importance;
  int third[2];  // axes of the third plane
  bool white;
};

struct Problem {
  Case c;
  Numbers planes, hidden_weight, hidden_bias, out_weight, out_bias, origins, directions, depths, quantiles;

  explicit Problem(const Case& shape) : c(shape) {
    const auto many = [](std::int64_t count, unsigned seed, double scale) {
      Numbers values = gaussian(static_cast<std::size_t>(count), seed);
      for (double& value : values) value *= scale;
      return values;
    };
    planes = many(c.batch * 3 * c.features * c.height * c.width, 1, 1);
    hidden_weight = many(c.hidden * c.features, 2, 2 / std::sqrt(c.features)), hidden_bias = many(c.hidden, 3, 0.3);
    out_weight = many((1 + c.features) * c.hidden, 4, 2 / std::sqrt(c.hidden)), out_bias = many(1 + c.features, 5, 0.3);
    const std::int64_t all = c.batch * c.rays;
    const Numbers noise = many(6 * all, 6, 0.1), places = many(all * c.samples, 7, 0.2);
    for (std::int64_t i = 0; i < all; ++i) {
      const double d[3] = {noise[6 * i], noise[6 * i + 1], -1};
      const double length = std::sqrt(d[0] * d[0] + d[1] * d[1] + 1);
      for (const double one : d) directions.push_back(one / length);
      for (int axis = 0; axis < 3; ++axis) origins.push_back((axis == 2 ? 2.7 : 0.0) + noise[6 * i + 3 + axis]);
      for (std::int64_t s = 0; s < c.samples; ++s)
        depths.push_back(2.1 + 1.2 * (s + 0.5 + std::tanh(places[i * c.samples + s])) / c.samples);
    }
    for (std::int64_t i = 0; i < all * c.importance; ++i)
      quantiles.push_back(std::fmod(0.618034 * static_cast<double>(i + 1), 1.0));
  }

  template <class R>
  struct Held {
    std::vector<R> numbers[9];
    Volume<R> volume;
    RayBundle<R> rays;
  };

  template <class R>
  void hold(Held<R>* held) const {
    const Numbers* all[9] = {&planes,  &hidden_weight, &hidden_bias, &out_weight, &out_bias,
                             &origins, &directions,    &depths,      &quantiles};
    for (int i = 0; i < 9; ++i) held->numbers[i].assign(all[i]->begin(), all[i]->end());
    Volume<R>& v = held->volume;
    v.batch = c.batch, v.features = c.features, v.hidden = c.hidden, v.height = c.height, v.width = c.width;
    v.planes = held->numbers[0].data(), v.hidden_weight = held->numbers[1].data();
    v.hidden_bias = held->numbers[2].data(), v.out_weight = held->numbers[3].data();
    v.out_bias = held->numbers[4].data();
    const int axes[3][2] = {{0, 1}, {0, 2}, {c.third[0], c.third[1]}};
    std::copy(&axes[0][0], &axes[0][0] + 6, &v.axes[0][0]);
    v.box_warp = 1;
    RayBundle<R>& r = held->rays;
    r.rays = c.rays, r.samples = c.samples, r.importance = c.importance;
    r.origins = held->numbers[5].data(), r.directions = held->numbers[6].data();
    r.depths = held->numbers[7].data(), r.quantiles = held->numbers[8].data();
    r.depth_image = c.rays * c.samples, r.depth_ray = c.samples;
    r.quantile_image = c.rays * c.importance, r.quantile_ray = c.importance;
  }
};

inline double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

// Density and colours of a point.
inline Numbers decode(const Problem& p, std::int64_t image, const double* point) {
  const Case& c = p.c;
  const int axes[3][2] = {{0, 1}, {0, 2}, {c.third[0], c.third[1]}};
  Numbers mean(static_cast<std::size_t>(c.features)), out(p.out_bias);
  for (int plane = 0; plane < 3; ++plane) {
    const double u = (point[axes[plane][0]] * 2 + 1) * 0.5 * static_cast<double>(c.width) - 0.5;
    const double v = (point[axes[plane][1]] * 2 + 1) * 0.5 * static_cast<double>(c.height) - 0.5;
    for (int corner = 0; corner < 4; ++corner) {
      const double x = std::floor(u) + corner % 2, y = std::floor(v) + corner / 2;
      if (x < 0 || y < 0 || x >= static_cast<double>(c.width) || y >= static_cast<double>(c.height)) continue;
      const double weight = (1 - std::abs(u - x)) * (1 - std::abs(v - y)) / 3;
      for (std::int64_t f = 0; f < c.features; ++f) {
        const std::int64_t at = ((image * 3 + plane) * c.features + f) * c.height + static_cast<std::int64_t>(y);
        mean[f] += weight * p.planes[at * c.width + static_cast<std::int64_t>(x)];
      }
    }
  }
  for (std::int64_t h = 0; h < c.hidden; ++h) {
    double value = p.hidden_bias[h];
    for (std::int64_t f = 0; f < c.features; ++f) value += p.hidden_weight[h * c.features + f] * mean[f];
    for (std::int64_t o = 0; o <= c.features; ++o) out[o] += p.out_weight[o * c.hidden + h] * softplus(value);
  }
  for (std::int64_t f = 1; f <= c.features; ++f) out[f] = 1.002 / (1 + std::exp(-out[f])) - 0.001;
  return out;
}

struct Sample {
  double depth;
  Numbers decoded;
};

inline Numbers interval_weights(const std::vector<Sample>& samples) {
  Numbers weights;
  double light = 1;
  for (std::size_t k = 0; k + 1 < samples.size(); ++k) {
    const double middle = 0.5 * (samples[k].decoded[0] + samples[k + 1].decoded[0]) - 1;
    const double kept = std::exp(-softplus(middle) * (samples[k + 1].depth - samples[k].depth));
    weights.push_back(light * (1 - kept)), light *= kept;
  }
  return weights;
}

// Features, depth and opacity of all rays, one after the other; `finer` keeps the second pass where a former call put
// it.
inline Numbers expected(const Problem& p, Numbers* finer) {
  const Case& c = p.c;
  Numbers out, places;
  for (std::int64_t ray = 0; ray < c.batch * c.rays; ++ray) {
    const auto sample = [&](double depth) {
      double point[3];
      for (int a = 0; a < 3; ++a) point[a] = p.origins[3 * ray + a] + depth * p.directions[3 * ray + a];
      return Sample{depth, decode(p, ray / c.rays, point)};
    };
    std::vector<Sample> samples;
    for (std::int64_t s = 0; s < c.samples; ++s) samples.push_back(sample(p.depths[ray * c.samples + s]));
    const Numbers first = interval_weights(samples);
    Numbers sums(static_cast<std::size_t>(c.samples)),
        depths(p.depths.begin() + ray * c.samples, p.depths.begin() + (ray + 1) * c.samples);
    if (c.importance > 0) cumulate(first.data(), c.samples, sums.data());
    for (std::int64_t i = 0; i < c.importance; ++i) {
      std::int64_t from = 0;
      double depth = finer_depth(depths.data(), sums.data(), c.samples, p.quantiles[ray * c.importance + i], &from);
      if (!finer->empty()) depth = (*finer)[ray * c.importance + i];
      places.push_back(depth);
      samples.push_back(sample(depth));
    }
    std::stable_sort(samples.begin(), samples.end(), [](auto& a, auto& b) { return a.depth < b.depth; });
    const Numbers weights = interval_weights(samples);
    Numbers features(static_cast<std::size_t>(c.features));
    double opacity = 0, moment = 0;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const double share = 0.5 * ((i > 0 ? weights[i - 1] : 0) + (i < weights.size() ? weights[i] : 0));
      opacity += share, moment += share * samples[i].depth;
      for (std::int64_t f = 0; f < c.features; ++f) features[f] += share * samples[i].decoded[1 + f];
    }
    for (const double one : features) out.push_back(2 * (one + (c.white ? 1 - opacity : 0)) - 1);
    out.push_back(moment / opacity), out.push_back(opacity);
  }
  if (finer->empty()) *finer = places;
  return out;
}

template <class R>
Numbers rendered(const Problem& p, const Options& options, Pool& pool) {
  Problem::Held<R> held;
  p.hold(&held);
  const std::int64_t rays = p.c.batch * p.c.rays, wide = p.c.features;
  std::vector<R> features(static_cast<std::size_t>(rays * wide)), depth(rays), opacity(rays);
  forward<R>(held.volume, held.rays, options, {features.data(), depth.data(), opacity.data()}, pool);
  Numbers out;
  for (std::int64_t i = 0; i < rays; ++i) {
    for (std::int64_t f = 0; f < wide; ++f) out.push_back(features[i * wide + f]);
    out.push_back(depth[i]), out.push_back(opacity[i]);
  }
  return out;
}

inline double largest(const Numbers& a, const Numbers& b) {
  double most = a.size() == b.size() ? 0 : 1e9;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const double apart = std::abs(a[i] - b[i]);
    most = apart <= most ? most : apart;  // a NaN is kept
  }
  return most;
}

template <class R>
std::vector<std::vector<R>> gradients(const Problem& p, const Numbers& slopes, const Options& options, Pool& pool) {
  Problem::Held<R> held;
  p.hold(&held);
  const std::int64_t rays = p.c.batch * p.c.rays, wide = p.c.features;
  std::vector<R> features, depth, opacity;
  for (std::int64_t i = 0; i < rays; ++i) {
    const double* at = slopes.data() + i * (wide + 2);
    for (std::int64_t f = 0; f < wide; ++f) features.push_back(static_cast<R>(at[f]));
    depth.push_back(static_cast<R>(at[wide])), opacity.push_back(static_cast<R>(at[wide + 1]));
  }
  std::vector<std::vector<R>> out;
  for (int i = 0; i < 5; ++i) out.emplace_back(held.numbers[i].size());
  backward<R>(held.volume, held.rays, options, {features.data(), depth.data(), opacity.data()},
              {out[0].data(), out[1].data(), out[2].data(), out[3].data(), out[4].data()}, pool);
  return out;
}

// Both arrangements of the planes, odd sizes, one and two passes.
inline std::vector<Case> cases() {
  return {
      {1, 32, 64, 20, 20, 64, 12, 12, {2, 0}, false}, {2, 5, 7, 9, 9, 6, 5, 19, {2, 0}, true},
      {1, 17, 33, 8, 13, 5, 40, 30, {2, 1}, false},   {2, 3, 16, 6, 6, 4, 17, 0, {2, 1}, true},
      {1, 4, 80, 7, 5, 3, 4, 1, {2, 0}, false},
  };
}

}  // namespace everface::test
