// The renderer of this processor against what a CUDA block computes, by a team of one in double: values, skipping, and
// gradients, which are finite differences too. EVERFACE_ISA chooses a narrower instruction set.
#include <algorithm>
#include <cmath>
#include <vector>

#include "check.hpp"
#include "everface/render.hpp"
#include "everface/render/team_march.hpp"

using namespace everface;
using namespace everface::render;
using namespace everface::test;

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

// Features, depth and opacity of all rays, and the volume's gradients from those of what the rays show.
struct Plain {
  Numbers rays;
  std::vector<Numbers> gradients;
};

void by_one(const Problem& p, const Numbers& slopes, Plain* to) {
  const Case& c = p.c;
  Problem::Held<double> held;
  p.hold(&held);
  const Volume<double>& volume = held.volume;
  const long pixels = c.height * c.width, n = c.samples + c.importance, rays = c.batch * c.rays;
  const long texels = 3 * pixels * c.hidden;
  Numbers drawn(texels), back(texels);
  std::vector<Numbers>& parts = to->gradients;
  for (int i = 0; i < 5; ++i) parts.emplace_back(held.numbers[i].size());
  TeamVolume<double> v;
  v.features = c.features, v.hidden = c.hidden, v.height = c.height, v.width = c.width, v.white_back = c.white;
  std::copy(&volume.axes[0][0], &volume.axes[0][0] + 6, &v.axes[0][0]);
  v.scale[0] = static_cast<double>(c.width), v.scale[1] = static_cast<double>(c.height);
  v.texels = drawn.data(), v.first_bias = volume.hidden_bias;
  v.out_weight = volume.out_weight, v.out_bias = volume.out_bias;
  v.dtexels = back.data();
  v.dfirst_bias = parts[2].data(), v.dout_weight = parts[3].data(), v.dout_bias = parts[4].data();
  Numbers reals(TeamWork<double>::reals(n, c.features, c.hidden)), &out = to->rays;
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
}

std::size_t numbers_shown(const Case& c) { return static_cast<std::size_t>(c.batch * c.rays * (c.features + 2)); }

void check_case(const Problem& p, Pool& pool) {
  const Case& c = p.c;
  const Options options{c.white, 0, 0};
  const Numbers slopes = gaussian(numbers_shown(c), 31);
  Plain plain;
  by_one(p, slopes, &plain);
  Numbers exact = rendered<double>(p, options, pool);
  CHECK(largest(exact, plain.rays) < 1e-11);
  CHECK(largest(rendered<float>(p, options, pool), plain.rays) < 2e-5);
  const auto wide = gradients<double>(p, slopes, options, pool);
  const auto single = gradients<float>(p, slopes, options, pool);
  for (int part = 0; part < 5; ++part) {
    const Numbers& truth = plain.gradients[part];
    CHECK(largest(wide[part], truth) < 1e-10);
    double norm = 0, error = 0;
    for (std::size_t i = 0; i < truth.size(); ++i)
      norm += truth[i] * truth[i], error += std::pow(truth[i] - single[part][i], 2);
    CHECK(std::sqrt(error / norm) < 2e-5);
  }
  const double stop = 1e-3, skip = 1e-3, samples = static_cast<double>(c.samples + c.importance);
  Numbers skipped = rendered<double>(p, {c.white, stop, skip}, pool);
  for (std::size_t i = 0; i < exact.size(); ++i)
    if (i % (c.features + 2) == static_cast<std::size_t>(c.features)) exact[i] = skipped[i] = 0;  // not the depth
  CHECK(largest(exact, skipped) < 2 * stop + samples * skip);
}

// The derivative along a random direction is the finite difference: of one pass, as a second one's samples move.
void check_directions(Problem p) {
  const Numbers slopes = gaussian(numbers_shown(p.c), 11);
  Plain exact;
  by_one(p, slopes, &exact);
  Numbers* parts[5] = {&p.planes, &p.hidden_weight, &p.hidden_bias, &p.out_weight, &p.out_bias};
  for (unsigned part = 0; part < 5; ++part) {
    const Numbers before = *parts[part], direction = gaussian(before.size(), 20 + part);
    double slope = 0, difference = 0;
    for (std::size_t i = 0; i < before.size(); ++i) slope += exact.gradients[part][i] * direction[i];
    for (const double sign : {1.0, -1.0}) {
      for (std::size_t i = 0; i < before.size(); ++i) (*parts[part])[i] = before[i] + sign * 1e-6 * direction[i];
      Plain moved;
      by_one(p, slopes, &moved);
      for (std::size_t i = 0; i < slopes.size(); ++i) difference += sign * moved.rays[i] * slopes[i] / 2e-6;
    }
    *parts[part] = before;
    CHECK(std::abs(difference - slope) < 1e-5 * (1 + std::abs(slope)));
  }
}

// Nothing outside is read or written, whatever the numbers are.
void check_wild_numbers(Pool& pool) {
  for (const double wild : {std::nan(""), 1e30, -1e30, HUGE_VAL}) {
    Problem p({1, 4, 5, 6, 7, 9, 8, 8, {2, 1}, false});
    p.origins[4] = p.directions[10] = wild;
    const Numbers a = rendered<float>(p, {}, pool);
    CHECK(a[0] == a[0]);  // the first ray is sound
    gradients<float>(p, Numbers(a.size(), 1.0), {}, pool);
    p.planes[3] = p.planes[90] = wild;
    rendered<float>(p, {}, pool);
    gradients<float>(p, Numbers(a.size(), 1.0), {}, pool);
  }
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

}  // namespace

int main() {
  check_elements();
  // Both arrangements of the planes, odd sizes, one and two passes.
  const std::vector<Case> cases = {
      {1, 32, 64, 20, 20, 64, 12, 12, {2, 0}, false}, {2, 5, 7, 9, 9, 6, 5, 19, {2, 0}, true},
      {1, 17, 33, 8, 13, 5, 40, 30, {2, 1}, false},   {2, 3, 16, 6, 6, 4, 17, 0, {2, 1}, true},
      {1, 4, 80, 7, 5, 3, 4, 1, {2, 0}, false},
  };
  for (const int threads : {1, 3}) {
    Pool pool(threads);
    for (const Case& c : cases) check_case(Problem(c), pool);
    check_wild_numbers(pool);
  }
  check_directions(Problem({2, 3, 16, 6, 6, 4, 17, 0, {2, 1}, true}));
  check_directions(Problem({1, 5, 7, 9, 9, 6, 12, 0, {2, 0}, false}));
  return finish();
}
