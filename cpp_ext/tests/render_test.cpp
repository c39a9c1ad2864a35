// The renderer of this processor against its definition in double, sample by sample: both arrangements of the planes,
// odd sizes, one and two passes, skipping, and the gradients as finite differences. EVERFACE_ISA chooses a narrower
// instruction set.
#include "everface/render.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "check.hpp"
#include "everface/render/elements.hpp"
#include "everface/render/team_march.hpp"

using namespace everface;
using namespace everface::render;
using everface::test::gaussian;

namespace {

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

double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

// Density and colours of a point.
Numbers decode(const Problem& p, std::int64_t image, const double* point) {
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

Numbers interval_weights(const std::vector<Sample>& samples) {
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
Numbers expected(const Problem& p, Numbers* finer) {
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
Numbers found(const Problem& p, const Options& options, Pool& pool) {
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

double largest(const Numbers& a, const Numbers& b) {
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

// The derivative along a random direction is the finite difference, the second pass staying where it is.
void check_gradients(Problem p, Pool& pool) {
  Numbers finer;
  const Numbers slopes = gaussian(expected(p, &finer).size(), 11);
  const Options options{p.c.white, 0, 0};
  const auto loss = [&] {
    const Numbers out = expected(p, &finer);
    double total = 0;
    for (std::size_t i = 0; i < out.size(); ++i) total += out[i] * slopes[i];
    return total;
  };
  const auto exact = gradients<double>(p, slopes, options, pool);
  const auto single = gradients<float>(p, slopes, options, pool);
  Numbers* parts[5] = {&p.planes, &p.hidden_weight, &p.hidden_bias, &p.out_weight, &p.out_bias};
  for (unsigned part = 0; part < 5; ++part) {
    const Numbers before = *parts[part], direction = gaussian(before.size(), 20 + part);
    double slope = 0, norm = 0, error = 0, difference = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
      slope += exact[part][i] * direction[i];
      norm += exact[part][i] * exact[part][i], error += std::pow(exact[part][i] - single[part][i], 2);
    }
    for (const double sign : {1.0, -1.0}) {
      for (std::size_t i = 0; i < before.size(); ++i) (*parts[part])[i] = before[i] + sign * 1e-6 * direction[i];
      difference += sign * loss() / 2e-6;
    }
    *parts[part] = before;
    CHECK(std::abs(difference - slope) < 1e-5 * (1 + std::abs(slope)));
    CHECK(std::sqrt(error / norm) < 2e-5);
  }
}

// What a CUDA block computes, by a team of one, against the CPU's kernels.
void check_team(const Problem& p, Pool& pool) {
  const Case& c = p.c;
  Problem::Held<double> held;
  p.hold(&held);
  const Volume<double>& volume = held.volume;
  const long pixels = c.height * c.width, n = c.samples + c.importance, rays = c.batch * c.rays;
  const long texels = 3 * pixels * c.hidden;
  const Options options{c.white, 0, 0};
  const Numbers truth = found<double>(p, options, pool), slopes = gaussian(truth.size(), 31);
  const auto wanted = gradients<double>(p, slopes, options, pool);
  Numbers drawn(texels), back(texels), parts[5];
  for (int i = 0; i < 5; ++i) parts[i].resize(wanted[i].size());
  TeamVolume<double> v;
  v.features = c.features, v.hidden = c.hidden, v.height = c.height, v.width = c.width, v.white_back = c.white;
  std::copy(&volume.axes[0][0], &volume.axes[0][0] + 6, &v.axes[0][0]);
  v.scale[0] = static_cast<double>(c.width), v.scale[1] = static_cast<double>(c.height);
  v.texels = drawn.data(), v.first_bias = volume.hidden_bias;
  v.out_weight = volume.out_weight, v.out_bias = volume.out_bias;
  v.dtexels = back.data();
  v.dfirst_bias = parts[2].data(), v.dout_weight = parts[3].data(), v.dout_bias = parts[4].data();
  Numbers reals(TeamWork<double>::reals(n, c.features, c.hidden)), out;
  std::vector<int> ints(TeamWork<double>::ints(n));
  const TeamWork<double> work(reals.data(), ints.data(), n, c.features, c.hidden);
  SerialTeam team;
  TeamMarch<SerialTeam, double> march(team, v, work);
  for (long at = 0; at < rays; ++at) {
    const double* planes = volume.planes + at / c.rays * 3 * c.features * pixels;
    if (at % c.rays == 0) {
      for (long k = 0; k < texels; ++k)
        drawn[k] = first_layer(planes, volume.hidden_weight, c.features, c.hidden, pixels, k), back[k] = 0;
    }
    Numbers features(c.features);
    double depth = 0, opacity = 0;
    const double* slope = slopes.data() + at * (c.features + 2);
    const TeamRay<double> ray{&p.origins[3 * at],
                              &p.directions[3 * at],
                              &p.depths[at * c.samples],
                              p.quantiles.data() + at * c.importance,
                              static_cast<long>(c.samples),
                              static_cast<long>(c.importance),
                              features.data(),
                              &depth,
                              &opacity,
                              slope,
                              slope + c.features,
                              slope + c.features + 1};
    march.forward(ray);
    out.insert(out.end(), features.begin(), features.end()), out.push_back(depth), out.push_back(opacity);
    march.backward(ray);
    if (at % c.rays != c.rays - 1) continue;
    double* dplanes = parts[0].data() + at / c.rays * 3 * c.features * pixels;
    for (long k = 0; k < 3 * c.features * pixels; ++k)
      dplanes[k] = first_layer_to_plane(back.data(), volume.hidden_weight, c.features, c.hidden, pixels, k);
    for (long k = 0; k < c.features * c.hidden; ++k)
      for (long first = 0; first < pixels; first += 10)
        parts[1][k] += first_layer_to_weight(back.data(), planes, c.features, c.hidden, pixels, first,
                                             std::min(first + 10, pixels), k);
  }
  CHECK(largest(out, truth) < 1e-11);
  for (int i = 0; i < 5; ++i) CHECK(largest(parts[i], wanted[i]) < 1e-10);
}

void check_elements() {
  const double weights[5] = {0.1, 0.5, 0.2, 0.0, 0.3}, depths[6] = {1, 2, 3, 4, 5, 6};
  double sums[4];
  cumulate(weights, 6, sums);
  CHECK(sums[0] == 0 && std::abs(sums[3] - 1) < 1e-15);
  const double bins[3] = {0.5 * (0.5 + 0.5), 0.5 * (0.5 + 0.2), 0.5 * (0.2 + 0.3)};
  CHECK(std::abs(sums[1] - (bins[0] + 0.01001) / (bins[0] + bins[1] + bins[2] + 3 * 0.01001)) < 1e-12);
  std::int64_t from = 3;
  CHECK(finer_depth(depths, sums, 6, 0.0, &from) == 1.5 && from == 0);
  CHECK(std::abs(finer_depth(depths, sums, 6, 0.5 * (sums[1] + sums[2]), &from) - 3.0) < 1e-12 && from == 1);
  CHECK(finer_depth(depths, sums, 6, 7.0, &from) == 4.5 && finer_depth(depths, sums, 6, -7.0, &from) == 1.5);
  const Step<double> step = pass(0.5, 0.25);
  CHECK(step.weight == 0.375 && step.light == 0.125);
}

// Nothing outside is read or written, whatever the numbers are.
void check_wild_numbers(Pool& pool) {
  for (const double wild : {std::nan(""), 1e30, -1e30, HUGE_VAL}) {
    Problem p({1, 4, 5, 6, 7, 9, 8, 8, {2, 1}, false});
    p.origins[4] = p.directions[10] = wild;
    const Numbers a = found<float>(p, {}, pool);
    CHECK(a[0] == a[0]);  // the first ray is sound
    gradients<float>(p, Numbers(a.size(), 1.0), {}, pool);
    p.planes[3] = p.planes[90] = wild;
    found<float>(p, {}, pool);
    gradients<float>(p, Numbers(a.size(), 1.0), {}, pool);
  }
}

}  // namespace

int main() {
  const std::vector<Case> cases = {
      {1, 32, 64, 20, 20, 64, 12, 12, {2, 0}, false}, {2, 5, 7, 9, 9, 6, 5, 19, {2, 0}, true},
      {1, 17, 33, 8, 13, 5, 40, 30, {2, 1}, false},   {2, 3, 16, 6, 6, 4, 17, 0, {2, 1}, true},
      {1, 4, 80, 7, 5, 3, 4, 1, {2, 0}, false},
  };
  check_elements();
  for (const int threads : {1, 3}) {
    Pool pool(threads);
    for (const Case& c : cases) {
      const Problem p(c);
      Numbers finer;
      const Numbers truth = expected(p, &finer);
      CHECK(largest(found<double>(p, {c.white, 0, 0}, pool), truth) < 1e-11);
      CHECK(largest(found<float>(p, {c.white, 0, 0}, pool), truth) < 2e-5);
      const double stop = 1e-3, skip = 1e-3, samples = static_cast<double>(c.samples + c.importance);
      Numbers exact = found<double>(p, {c.white, 0, 0}, pool), skipped = found<double>(p, {c.white, stop, skip}, pool);
      for (std::size_t i = 0; i < exact.size(); ++i)
        if (i % (c.features + 2) == static_cast<std::size_t>(c.features)) exact[i] = skipped[i] = 0;  // not the depth
      CHECK(largest(exact, skipped) < 2 * stop + samples * skip);
      if (c.samples < 20) check_gradients(p, pool);
      if (threads == 1) check_team(p, pool);
    }
    check_wild_numbers(pool);
  }
  std::printf("render: kernels %s\n", kernels_isa<float>());
  return everface::test::finish();
}
