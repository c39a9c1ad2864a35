// The kernels of this processor against the definition of every element (stylegan/device_ops.hpp, which a GPU runs too:
// only how its threads share the work is left out), in double on the host: every algorithm, odd sizes, all types, and
// the definition's gradients as the derivatives of <dy, y>. EVERFACE_ISA chooses a narrower instruction set.
#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

#include "check.hpp"
#include "numbers.hpp"
#include "stylegan/device_ops.hpp"

using namespace everface;
using namespace everface::stylegan;

namespace {

struct Case {
  std::int64_t n, h, w, cin, cout;
  int taps;
  bool up, demodulate;
  double clamp = 3e38;
};

template <class E>
struct Results {
  using R = Real<E>;
  std::vector<E> y, dx;
  std::vector<R> demod, dstyles, dweight, dbias, dstrength;

  Gradients<E> gradients() { return {dx.data(), dstyles.data(), dweight.data(), dbias.data(), dstrength.data()}; }
};

template <class E>
struct Problem {
  using R = Real<E>;
  Case c;
  std::vector<E> x, dy;
  std::vector<R> weight, styles, noise, bias;

  explicit Problem(const Case& shape) : c(shape) {
    const std::int64_t out = c.h * c.w * (c.up ? 4 : 1);
    unsigned seed = 7;
    const auto fill = [&](auto& values, std::int64_t count, double offset) {
      using T = typename std::remove_reference_t<decltype(values)>::value_type;
      for (const double one : test::gaussian(static_cast<std::size_t>(count), seed))
        values.push_back(test::from<T>(one + offset));
      ++seed;
    };
    fill(x, c.n * c.h * c.w * c.cin, 0), fill(dy, c.n * out * c.cout, 0);
    fill(weight, c.cout * c.cin * c.taps * c.taps, 0), fill(styles, c.n * c.cin, 1);
    fill(noise, c.n * out, 0), fill(bias, c.cout, 0);
  }

  ModulatedConv<E> conv() const {
    ModulatedConv<E> m;
    m.batch = c.n, m.height = c.h, m.width = c.w, m.cin = c.cin, m.cout = c.cout, m.taps = c.taps, m.up = c.up;
    m.x = x.data(), m.weight = weight.data(), m.styles = styles.data(), m.noise = noise.data(), m.bias = bias.data();
    m.noise_step = m.out_height() * m.out_width(), m.demodulate = c.demodulate;
    m.strength = R(0.3), m.slope = R(0.2), m.gain = R(1.5), m.clamp = static_cast<R>(c.clamp);
    return m;
  }

  Results<E> empty() const {
    Results<E> results;
    results.y.resize(dy.size()), results.demod.resize(static_cast<std::size_t>(c.n * c.cout));
    results.dx.resize(x.size()), results.dstyles.resize(styles.size()), results.dweight.resize(weight.size());
    results.dbias.resize(bias.size()), results.dstrength.resize(1);
    return results;
  }

  Results<E> by_kernels(Pool& pool, bool prepacked) const {
    Results<E> results = empty();
    auto m = conv();
    PackedWeights<E> packed;
    if (prepacked) packed = pack(m, pool), m.weight = nullptr;
    forward(m, prepacked ? &packed : nullptr, results.y.data(), results.demod.data(), pool);
    backward(conv(), results.y.data(), results.demod.data(), dy.data(), {}, results.gradients(), pool);
    return results;
  }
};

Results<double> definition(const Problem<double>& p) {
  Results<double> results = p.empty();
  HostBackend host;
  forward_on<double>(host, p.conv(), results.y.data(), results.demod.data());
  backward_on<double>(host, p.conv(), results.y.data(), results.demod.data(), p.dy.data(), results.gradients());
  return results;
}

template <class A>
double distance(const std::vector<A>& found, const std::vector<double>& truth) {
  double error = 0, size = 0;
  for (std::size_t i = 0; i < truth.size(); ++i)
    error += std::pow(test::to(found[i]) - truth[i], 2), size += std::pow(truth[i], 2);
  return std::sqrt(error / std::max(size, 1e-300));
}

template <class E>
void check_case(const Case& c, double limit, double gradient_limit, Pool& pool) {
  const Problem<E> p(c);
  const Results<double> truth = definition(Problem<double>(c));
  const Results<E> found = p.by_kernels(pool, false), packed = p.by_kernels(pool, true);
  const std::string what = std::string(kernels_isa<E>()) + " bytes " + std::to_string(sizeof(E)) + " channels " +
                           std::to_string(c.cin) + "->" + std::to_string(c.cout) + (c.up ? " up " : " ");
  const auto near = [&](const auto& values, const std::vector<double>& wanted, double most, const char* part) {
    const double error = distance(values, wanted);
    test::check(error < most, (what + part + ": error " + std::to_string(error)).c_str(), __FILE__, __LINE__);
  };
  near(found.y, truth.y, limit, "y"), near(packed.y, truth.y, limit, "y of packed weights");
  if (c.demodulate) near(found.demod, truth.demod, limit, "demod");
  near(found.dx, truth.dx, gradient_limit, "dx"), near(found.dweight, truth.dweight, gradient_limit, "dweight");
  near(found.dbias, truth.dbias, gradient_limit, "dbias");
  // One sum of many signs: what rounding of the type leaves of it is no measure.
  if (std::is_same_v<E, double>) near(found.dstrength, truth.dstrength, gradient_limit, "dstrength");
  // Demodulation undoes the style of a single channel: its gradient is zero.
  if (c.cin > 1) near(found.dstyles, truth.dstyles, gradient_limit, "dstyles");
}

// The definition's gradient along a random direction is the finite difference of <dy, y>.
void check_directions(const Case& c) {
  Problem<double> p(c);
  const Results<double> exact = definition(p);
  const auto along = [&](std::vector<double>& values, const std::vector<double>& gradient) {
    const std::vector<double> before = values, direction = test::gaussian(values.size(), 3);
    const double step = 1e-6;
    double slope = 0, difference = 0;
    for (std::size_t i = 0; i < values.size(); ++i) slope += gradient[i] * direction[i];
    for (const double sign : {1.0, -1.0}) {
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = before[i] + sign * step * direction[i];
      const auto y = definition(p).y;
      for (std::size_t i = 0; i < y.size(); ++i) difference += sign * y[i] * p.dy[i] / (2 * step);
    }
    values = before;
    CHECK(std::abs(difference - slope) < 1e-4 * (std::abs(slope) + 1));
  };
  along(p.x, exact.dx), along(p.weight, exact.dweight), along(p.styles, exact.dstyles), along(p.bias, exact.dbias);
}

}  // namespace

int main() {
  const std::vector<Case> cases = {
      {1, 1, 1, 1, 1, 3, false, true},
      {2, 5, 7, 3, 5, 3, false, true, 2.5},
      {1, 13, 14, 17, 33, 3, false, true},
      {2, 4, 4, 40, 20, 3, false, true},
      {1, 4, 4, 6, 9, 3, false, false},
      {1, 16, 17, 33, 9, 3, false, true},
      {2, 3, 5, 7, 6, 3, true, true, 2.5},
      {1, 6, 4, 2, 3, 3, true, false},
      {1, 9, 8, 34, 17, 3, true, true},
      {2, 6, 5, 18, 3, 1, false, true},
      {1, 40, 40, 8, 8, 3, false, true},
      // More tiles than one chunk has, or one block of rows; and channels from which weight gradients pack a panel: at
      // 100 only double does, so that it is also compared with the kernels that do not.
      {1, 53, 52, 5, 40, 3, false, true},
      {1, 37, 35, 5, 24, 3, true, true},
      {1, 9, 9, 7, 264, 3, false, true},
      {1, 9, 9, 7, 100, 3, false, true},
  };
  for (const int threads : {1, 3}) {
    Pool pool(threads);
    for (const Case& c : cases) {
      check_case<double>(c, 1e-12, 1e-10, pool);
      if (c.clamp < 3e38) continue;  // what another type clamps is not what double does
      check_case<float>(c, 3e-6, 2e-5, pool);
      check_case<bf16>(c, 1e-2, 2e-1, pool);
    }
  }
  check_directions({2, 5, 4, 3, 4, 3, false, true});
  check_directions({1, 13, 12, 2, 3, 3, false, true});
  check_directions({1, 4, 5, 3, 2, 3, true, true});
  check_directions({1, 5, 4, 3, 70, 3, false, false});
  return test::finish();
}
