// What the CUDA kernels compute, on the host: every element, sum and matrix product of stylegan/device_ops.hpp against
// the CPU's own kernels. Only how a GPU's threads share the work is left out.
#include "stylegan/device_ops.hpp"

#include <algorithm>

#include "check.hpp"

using namespace everface;
using namespace everface::stylegan;

namespace {

struct Case {
  std::int64_t n, h, w, cin, cout;
  int taps;
  bool up, demodulate;
};

double distance(const std::vector<double>& found, const std::vector<double>& truth) {
  double worst = 0, scale = 1e-300;
  for (std::size_t i = 0; i < truth.size(); ++i)
    worst = std::max(worst, std::fabs(found[i] - truth[i])), scale = std::max(scale, std::fabs(truth[i]));
  return worst / scale;
}

std::vector<double> normal(std::int64_t count, unsigned seed) {
  return test::gaussian(static_cast<std::size_t>(count), seed);
}

void convolution(const Case& c, Pool& pool) {
  const std::int64_t out = c.h * c.w * (c.up ? 4 : 1), weights = c.cout * c.cin * c.taps * c.taps;
  const auto x = normal(c.n * c.h * c.w * c.cin, 1), weight = normal(weights, 2), styles = normal(c.n * c.cin, 3);
  const auto noise = normal(c.n * out, 4), bias = normal(c.cout, 5), dy = normal(c.n * out * c.cout, 6);
  ModulatedConv<double> conv;
  conv.batch = c.n, conv.height = c.h, conv.width = c.w, conv.cin = c.cin, conv.cout = c.cout;
  conv.taps = c.taps, conv.up = c.up, conv.demodulate = c.demodulate;
  conv.x = x.data(), conv.weight = weight.data(), conv.styles = styles.data();
  conv.noise = noise.data(), conv.noise_step = out, conv.bias = bias.data();
  conv.strength = 0.3, conv.slope = 0.2, conv.gain = 1.5, conv.clamp = 2.5;
  struct Results {
    std::vector<double> y, demod, dx, dstyles, dweight, dbias, dstrength;
    Gradients<double> grads() { return {dx.data(), dstyles.data(), dweight.data(), dbias.data(), dstrength.data()}; }
  };
  const auto empty = [&] {
    const auto sized = [](std::int64_t count) { return std::vector<double>(static_cast<std::size_t>(count)); };
    return Results{sized(c.n * out * c.cout),
                   sized(c.n * c.cout),
                   sized(c.n * c.h * c.w * c.cin),
                   sized(c.n * c.cin),
                   sized(weights),
                   sized(c.cout),
                   sized(1)};
  };
  Results mine = empty(), truth = empty();
  HostBackend host;
  forward_on<double>(host, conv, mine.y.data(), mine.demod.data());
  backward_on<double>(host, conv, mine.y.data(), mine.demod.data(), dy.data(), mine.grads());
  forward<double>(conv, nullptr, truth.y.data(), truth.demod.data(), pool);
  backward<double>(conv, truth.y.data(), truth.demod.data(), dy.data(), {}, truth.grads(), pool);
  constexpr double limit = 1e-10;
  CHECK(distance(mine.y, truth.y) < limit);
  if (c.demodulate) CHECK(distance(mine.demod, truth.demod) < limit);
  CHECK(distance(mine.dx, truth.dx) < limit);
  CHECK(distance(mine.dstyles, truth.dstyles) < limit);
  CHECK(distance(mine.dweight, truth.dweight) < limit);
  CHECK(distance(mine.dbias, truth.dbias) < limit);
  CHECK(distance(mine.dstrength, truth.dstrength) < limit);
}

// bfloat16 goes through the same code: its conversions are the CPU kernels' own.
void conversions() {
  for (const float value : {0.0f, -1.0f, 1.00390625f, 3.0e38f, 1e-30f, 0.1f}) {
    bf16 rounded;
    from_real(value, &rounded);
    CHECK(std::fabs(to_real(rounded) - value) <= std::fabs(value) / 256);
  }
}

}  // namespace

int main() {
  Pool pool(1);
  for (const Case& c : std::vector<Case>{{2, 5, 7, 3, 5, 3, false, true},
                                         {1, 4, 4, 6, 9, 3, false, false},
                                         {2, 3, 5, 7, 6, 3, true, true},
                                         {1, 6, 4, 2, 3, 3, true, false},
                                         {2, 6, 5, 8, 3, 1, false, true},
                                         {1, 1, 1, 2, 2, 3, false, true}})
    convolution(c, pool);
  conversions();
  return test::finish();
}
