// The kernels of this processor against a direct convolution in double: every algorithm, odd sizes, all types, and the
// gradients as the derivatives of <dy, y>. EVERFACE_ISA chooses a narrower instruction set.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "everface/stylegan.hpp"
#include "numbers.hpp"

using namespace everface;
using namespace everface::stylegan;

namespace {

int failures = 0;

void check(bool ok, const std::string& what, double error) {
  if (!ok) ++failures;
  if (!ok) std::fprintf(stderr, "FAILED %s: error %.3g\n", what.c_str(), error);
}

using test::from;
using test::to;

struct Case {
  std::int64_t n, h, w, cin, cout;
  int taps;
  bool up;
};

template <class E>
struct Problem {
  using R = Real<E>;
  Case c;
  std::vector<E> x, dy;
  std::vector<R> weight, styles, noise, bias;

  explicit Problem(Case shape) : c(shape) {
    std::mt19937 rng(7);
    std::normal_distribution<double> normal;
    const std::int64_t f = c.up ? 2 : 1, pixels = c.h * c.w;
    const auto fill = [&](auto& out, std::int64_t count, double offset) {
      using T = typename std::remove_reference_t<decltype(out)>::value_type;
      for (std::int64_t i = 0; i < count; ++i) out.push_back(from<T>(normal(rng) + offset));
    };
    fill(x, c.n * pixels * c.cin, 0), fill(dy, c.n * pixels * f * f * c.cout, 0);
    fill(weight, c.cout * c.cin * c.taps * c.taps, 0), fill(styles, c.n * c.cin, 1);
    fill(noise, pixels * f * f, 0), fill(bias, c.cout, 0);
  }

  ModulatedConv<E> conv() const {
    ModulatedConv<E> m;
    m.batch = c.n, m.height = c.h, m.width = c.w, m.cin = c.cin, m.cout = c.cout, m.taps = c.taps, m.up = c.up;
    m.x = x.data(), m.weight = weight.data(), m.styles = styles.data(), m.noise = noise.data(), m.bias = bias.data();
    m.strength = R(0.3), m.slope = R(0.2), m.gain = R(1.5);
    return m;
  }

  // The definition, pixel by pixel, in double.
  std::vector<double> expected() const {
    const std::int64_t th = c.up ? 2 * c.h + 1 : c.h, tw = c.up ? 2 * c.w + 1 : c.w, f = c.up ? 2 : 1;
    const std::int64_t oh = f * c.h, ow = f * c.w;
    std::vector<double> y;
    y.reserve(static_cast<std::size_t>(c.n * oh * ow * c.cout));
    std::vector<double> t(static_cast<std::size_t>(c.n * th * tw * c.cout));
    const std::int64_t half = c.taps / 2;
    for (std::int64_t n = 0; n < c.n; ++n)
      for (std::int64_t i = 0; i < c.h; ++i)
        for (std::int64_t j = 0; j < c.w; ++j)
          for (std::int64_t a = 0; a < c.taps; ++a)
            for (std::int64_t b = 0; b < c.taps; ++b) {
              const std::int64_t ty = c.up ? 2 * i + a : i - a + half, tx = c.up ? 2 * j + b : j - b + half;
              if (ty < 0 || tx < 0 || ty >= th || tx >= tw) continue;
              for (std::int64_t o = 0; o < c.cout; ++o)
                for (std::int64_t k = 0; k < c.cin; ++k)
                  t[((n * th + ty) * tw + tx) * c.cout + o] += to(x[((n * c.h + i) * c.w + j) * c.cin + k]) *
                                                               styles[n * c.cin + k] *
                                                               weight[((o * c.cin + k) * c.taps + a) * c.taps + b];
            }
    const double fir[4] = {0.25, 0.75, 0.75, 0.25};
    for (std::int64_t n = 0; n < c.n; ++n)
      for (std::int64_t i = 0; i < oh; ++i)
        for (std::int64_t j = 0; j < ow; ++j)
          for (std::int64_t o = 0; o < c.cout; ++o) {
            double z = 0, sum = 1e-8;
            for (std::int64_t k = 0; k < c.cin; ++k)
              for (int s = 0; s < c.taps * c.taps; ++s) {
                const double v = styles[n * c.cin + k] * weight[(o * c.cin + k) * c.taps * c.taps + s];
                sum += v * v;
              }
            if (!c.up) z = t[((n * th + i) * tw + j) * c.cout + o];
            for (std::int64_t a = 0; c.up && a < 4; ++a)
              for (std::int64_t b = 0; b < 4; ++b) {
                const std::int64_t ty = i + a - 1, tx = j + b - 1;
                if (ty >= 0 && tx >= 0 && ty < th && tx < tw)
                  z += fir[a] * fir[b] * t[((n * th + ty) * tw + tx) * c.cout + o];
              }
            const double u = z / std::sqrt(sum) + 0.3 * noise[i * ow + j] + bias[o];
            y.push_back((u > 0 ? u : 0.2 * u) * 1.5);
          }
    return y;
  }
};

template <class A, class B>
double distance(const std::vector<A>& found, const std::vector<B>& truth) {
  double error = 0, size = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    error += std::pow(to(found[i]) - to(truth[i]), 2), size += std::pow(to(truth[i]), 2);
  }
  return std::sqrt(error / std::max(size, 1e-300));
}

template <class E>
struct Run {
  using R = Real<E>;
  std::vector<E> y, dx;
  std::vector<R> demod, dstyles, dweight, dbias, dstrength;

  Run(const Problem<E>& p, Pool& pool, bool prepacked) {
    const auto conv = p.conv();
    y.resize(p.dy.size()), demod.resize(static_cast<std::size_t>(p.c.n * p.c.cout));
    if (prepacked) {
      const auto packed = pack(conv, pool);
      auto without = conv;
      without.weight = nullptr;
      forward(without, &packed, y.data(), demod.data(), pool);
    } else {
      forward<E>(conv, nullptr, y.data(), demod.data(), pool);
    }
    dx.resize(p.x.size()), dstyles.resize(p.styles.size()), dweight.resize(p.weight.size());
    dbias.resize(p.bias.size()), dstrength.resize(1);
    const Gradients<E> grads{dx.data(), dstyles.data(), dweight.data(), dbias.data(), dstrength.data()};
    backward(conv, y.data(), demod.data(), p.dy.data(), {}, grads, pool);
  }
};

// In double, the gradient along a random direction is the finite difference of <dy, y>.
void check_directions(const Case& c, Pool& pool) {
  Problem<double> p(c);
  const Run<double> run(p, pool, false);
  const auto loss = [&] {
    const auto y = p.expected();
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * p.dy[i];
    return sum;
  };
  const auto along = [&](std::vector<double>& values, const std::vector<double>& gradient, const char* name) {
    std::mt19937 rng(3);
    std::normal_distribution<double> normal;
    const std::vector<double> before = values;
    std::vector<double> direction;
    double slope = 0;
    for (const double g : gradient) direction.push_back(normal(rng)), slope += g * direction.back();
    const double step = 1e-6;
    double difference = 0;
    for (const double sign : {1.0, -1.0}) {
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = before[i] + sign * step * direction[i];
      difference += sign * loss() / (2 * step);
    }
    values = before;
    const double error = std::abs(difference - slope) / (std::abs(slope) + 1);
    check(error < 1e-4, std::string("derivative by ") + name, error);
  };
  along(p.x, run.dx, "x"), along(p.weight, run.dweight, "weight");
  along(p.styles, run.dstyles, "styles"), along(p.bias, run.dbias, "bias");
}

template <class E>
void check_case(const Case& c, double limit, double gradient_limit, Pool& pool) {
  const Problem<E> p(c);
  const auto truth = p.expected();
  const Run<E> run(p, pool, false), packed(p, pool, true);
  const std::string what = std::string(kernels_isa<E>()) + " bytes " + std::to_string(sizeof(E)) + " channels " +
                           std::to_string(c.cin) + "->" + std::to_string(c.cout) + (c.up ? " up" : "");
  check(distance(run.y, truth) < limit, what + " forward", distance(run.y, truth));
  check(distance(packed.y, run.y) == 0, what + " packed", distance(packed.y, run.y));
  const Problem<double> exact(c);
  const Run<double> reference(exact, pool, false);
  check(distance(run.dx, reference.dx) < gradient_limit, what + " dx", distance(run.dx, reference.dx));
  check(distance(run.dweight, reference.dweight) < gradient_limit, what + " dweight",
        distance(run.dweight, reference.dweight));
  if (c.cin > 1)  // demodulation undoes the style of a single channel: its gradient is zero
    check(distance(run.dstyles, reference.dstyles) < gradient_limit, what + " dstyles",
          distance(run.dstyles, reference.dstyles));
  check(distance(run.dbias, reference.dbias) < gradient_limit, what + " dbias", distance(run.dbias, reference.dbias));
}

}  // namespace

int main() {
  const std::vector<Case> cases = {
      {1, 1, 1, 1, 1, 3, false},
      {2, 5, 7, 3, 5, 3, false},
      {1, 13, 14, 17, 33, 3, false},
      {2, 4, 4, 40, 20, 3, false},
      {1, 16, 17, 33, 9, 3, false},
      {2, 3, 5, 7, 6, 3, true},
      {1, 9, 8, 34, 17, 3, true},
      {2, 6, 5, 18, 3, 1, false},
      {1, 40, 40, 8, 8, 3, false},
      // More tiles than one chunk has, or one block of rows; and channels from which weight gradients pack a panel: at
      // 100 only double does, so that it is also compared with the kernels that do not.
      {1, 53, 52, 5, 40, 3, false},
      {1, 37, 35, 5, 24, 3, true},
      {1, 9, 9, 7, 264, 3, false},
      {1, 9, 9, 7, 100, 3, false},
  };
  for (const int threads : {1, 3}) {
    Pool pool(threads);
    for (const Case& c : cases) {
      check_case<float>(c, 3e-6, 2e-5, pool);
      check_case<double>(c, 1e-12, 1e-10, pool);
      check_case<bf16>(c, 1e-2, 2e-1, pool);
    }
    check_directions({2, 5, 4, 3, 4, 3, false}, pool);
    check_directions({1, 13, 12, 2, 3, 3, false}, pool);
    check_directions({1, 4, 5, 3, 2, 3, true}, pool);
    check_directions({1, 5, 4, 3, 70, 3, false}, pool);
  }
  std::printf("stylegan: %d failures, kernels %s and %s\n", failures, kernels_isa<float>(), kernels_isa<bf16>());
  return failures == 0 ? 0 : 1;
}
