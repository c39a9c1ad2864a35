// What the CUDA kernels compute, by a team of one thread on the host, against the CPU's kernels in double.
#include "everface/render/team_march.hpp"

#include "problem.hpp"

using namespace everface;
using namespace everface::test;

namespace {

// What a CUDA block computes, by a team of one, against the CPU's kernels.
void check_team(const Problem& p, Pool& pool) {
  const Case& c = p.c;
  Problem::Held<double> held;
  p.hold(&held);
  const Volume<double>& volume = held.volume;
  const long pixels = c.height * c.width, n = c.samples + c.importance, rays = c.batch * c.rays;
  const long texels = 3 * pixels * c.hidden;
  const Options options{c.white, 0, 0};
  const Numbers truth = rendered<double>(p, options, pool), slopes = gaussian(truth.size(), 31);
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

}  // namespace

int main() {
  check_elements();
  Pool pool(1);
  for (const Case& c : cases()) check_team(Problem(c), pool);
  return finish();
}
