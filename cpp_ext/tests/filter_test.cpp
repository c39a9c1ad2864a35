// Resampling and activation of this processor against their definitions in double: odd sizes, both layouts, all types.
// EVERFACE_ISA chooses a narrower instruction set.
#include "everface/filter.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "check.hpp"
#include "numbers.hpp"

using namespace everface;
using namespace everface::stylegan;

namespace {

using test::from;
using test::to;

template <class E>
std::vector<E> rounded(const std::vector<double>& values) {
  std::vector<E> out;
  for (const double value : values) out.push_back(from<E>(value));
  return out;
}

template <class E>
constexpr double tolerance() {
  return std::is_same_v<E, bf16> ? 8e-3 : std::is_same_v<E, float> ? 1e-6 : 1e-14;
}

// The sample of the upsampled image at p, or none.
std::int64_t sample_at(const Axis& axis, std::int64_t up, std::int64_t p) {
  const std::int64_t at = p - axis.before;
  return at >= 0 && at % up == 0 && at / up < axis.in ? at / up : -1;
}

template <class E>
void resample(const Resampling& job, Pool& pool) {
  using R = Real<E>;
  const std::int64_t c = job.channels, h = job.rows.in, w = job.columns.in, oh = job.rows.out, ow = job.columns.out;
  const auto x = rounded<E>(test::gaussian(static_cast<std::size_t>(job.batch * c * h * w), 1));
  const auto taps = rounded<R>(test::gaussian(static_cast<std::size_t>(job.taps), 2));
  std::vector<E> y(static_cast<std::size_t>(job.batch * c * oh * ow));
  upfirdn<E>(job, x.data(), taps.data(), y.data(), pool);
  const auto place = [&](std::int64_t n, std::int64_t ch, std::int64_t row, std::int64_t col, std::int64_t height,
                         std::int64_t width) {
    return static_cast<std::size_t>(job.channels_last ? ((n * height + row) * width + col) * c + ch
                                                      : ((n * c + ch) * height + row) * width + col);
  };
  double worst = 0, scale = 1;
  for (std::int64_t n = 0; n < job.batch; ++n)
    for (std::int64_t ch = 0; ch < c; ++ch)
      for (std::int64_t i = 0; i < oh; ++i)
        for (std::int64_t j = 0; j < ow; ++j) {
          double sum = 0;
          for (std::int64_t k = 0; k < job.taps; ++k)
            for (std::int64_t l = 0; l < job.taps; ++l) {
              const std::int64_t row = sample_at(job.rows, job.up, i * job.down + k);
              const std::int64_t col = sample_at(job.columns, job.up, j * job.down + l);
              if (row >= 0 && col >= 0)
                sum += to(x[place(n, ch, row, col, h, w)]) * double(taps[static_cast<std::size_t>(job.taps - 1 - k)]) *
                       double(taps[static_cast<std::size_t>(job.taps - 1 - l)]);
            }
          worst = std::max(worst, std::fabs(sum - to(y[place(n, ch, i, j, oh, ow)])));
          scale = std::max(scale, std::fabs(sum));
        }
  CHECK(worst <= tolerance<E>() * scale);
}

template <class E>
void activate(const BiasAct<E>& job, bool biased, Pool& pool) {
  using R = Real<E>;
  const auto count = static_cast<std::size_t>(job.outer * job.channels * job.inner);
  const auto x = rounded<E>(test::gaussian(count, 1)), dy = rounded<E>(test::gaussian(count, 2));
  const auto bias = rounded<R>(test::gaussian(static_cast<std::size_t>(job.channels), 3));
  std::vector<E> y(count), dx(count);
  bias_act<E>(job, x.data(), biased ? bias.data() : nullptr, y.data(), pool);
  bias_act_grad<E>(job, dy.data(), y.data(), dx.data(), pool);
  double worst = 0, worst_grad = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t channel = i / static_cast<std::size_t>(job.inner) % static_cast<std::size_t>(job.channels);
    const double v = to(x[i]) + (biased ? double(bias[channel]) : 0.0), slope = v > 0 ? 1.0 : double(job.slope);
    const double z = v * slope * double(job.gain), clamp = double(job.clamp);
    worst = std::max(worst, std::fabs(std::clamp(z, -clamp, clamp) - to(y[i])));
    const double wanted = std::fabs(to(y[i])) < to(from<E>(clamp)) ? to(dy[i]) * slope * double(job.gain) : 0.0;
    worst_grad = std::max(worst_grad, std::fabs(wanted - to(dx[i])));
  }
  CHECK(worst <= 8 * tolerance<E>());
  CHECK(worst_grad <= 8 * tolerance<E>());
}

template <class E>
void all(Pool& pool) {
  for (const bool last : {false, true}) {
    const std::int64_t channels = last ? 35 : 3;
    resample<E>({2, channels, {9, 10, 2}, {70, 71, 2}, 1, 1, 4, last}, pool);
    resample<E>({1, channels, {5, 10, 2}, {7, 14, 2}, 2, 1, 4, last}, pool);
    resample<E>({1, channels, {9, 5, 1}, {12, 6, 1}, 1, 2, 4, last}, pool);
    resample<E>({2, channels, {5, 7, -3}, {6, 9, 5}, 3, 2, 5, last}, pool);
    resample<E>({0, channels, {5, 5, 0}, {6, 6, 0}, 1, 1, 1, last}, pool);
  }
  activate<E>({2, 5, 67, Real<E>(0.2), Real<E>(1.4), Real<E>(1.5)}, true, pool);
  activate<E>({33, 21, 1, Real<E>(0.2), Real<E>(1.4), Real<E>(3.4e38)}, true, pool);
  activate<E>({3, 4, 40, Real<E>(1), Real<E>(1), Real<E>(0.5)}, false, pool);
  activate<E>({0, 4, 40, Real<E>(1), Real<E>(1), Real<E>(0.5)}, false, pool);
}

}  // namespace

int main() {
  for (const int threads : {1, 3}) {
    Pool pool(threads);
    all<float>(pool);
    all<bf16>(pool);
    all<double>(pool);
  }
  return test::finish();
}
