// The renderer of this processor against its definition in double: values, skipping, and the gradients as finite
// differences. EVERFACE_ISA chooses a narrower instruction set.
#include <cstdio>

#include "problem.hpp"

using namespace everface;
using namespace everface::test;

namespace {

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

}  // namespace

int main() {
  for (const int threads : {1, 3}) {
    Pool pool(threads);
    for (const Case& c : cases()) {
      const Problem p(c);
      Numbers finer;
      const Numbers truth = expected(p, &finer);
      CHECK(largest(rendered<double>(p, {c.white, 0, 0}, pool), truth) < 1e-11);
      CHECK(largest(rendered<float>(p, {c.white, 0, 0}, pool), truth) < 2e-5);
      const double stop = 1e-3, skip = 1e-3, samples = static_cast<double>(c.samples + c.importance);
      Numbers exact = rendered<double>(p, {c.white, 0, 0}, pool);
      Numbers skipped = rendered<double>(p, {c.white, stop, skip}, pool);
      for (std::size_t i = 0; i < exact.size(); ++i)
        if (i % (c.features + 2) == static_cast<std::size_t>(c.features)) exact[i] = skipped[i] = 0;  // not the depth
      CHECK(largest(exact, skipped) < 2 * stop + samples * skip);
      if (c.samples < 20) check_gradients(p, pool);
    }
    check_wild_numbers(pool);
  }
  std::printf("render: kernels %s\n", kernels_isa<float>());
  return finish();
}
