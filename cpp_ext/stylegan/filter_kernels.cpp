// Resampling, bias and activation for one instruction set (see cmake/kernels.cmake).
#include "filter_kernels.hpp"

#include "everface/core/simd.hpp"

namespace everface::stylegan {
namespace EVERFACE_ISA {

using namespace core::EVERFACE_ISA;  // NOLINT: the vectors of this instruction set

// The first tap that meets a sample at an output, and that sample; further ones are `up` taps and one sample apart.
struct Window {
  std::int64_t tap, sample;
};

// Windows of one output after the other; finding each anew takes divisions.
class Windows {
 public:
  Windows(const Axis& axis, std::int64_t up, std::int64_t down, std::int64_t out) : up_(up), down_(down) {
    const std::int64_t first = out * down - axis.before;  // place of tap 0 in the upsampled image
    tap_ = ((-first) % up + up) % up;
    sample_ = (first + tap_) / up;
  }
  Window get() const { return sample_ < 0 ? Window{tap_ - sample_ * up_, 0} : Window{tap_, sample_}; }
  void advance() {
    for (tap_ -= down_; tap_ < 0; tap_ += up_) ++sample_;
  }

 private:
  std::int64_t up_, down_, tap_, sample_;
};

// Vectors of one line: f(position, lanes in use).
template <class E, class F>
EVERFACE_INLINE void each_vector(std::int64_t count, const F& f) {
  constexpr int lanes = Lanes<E>::count;
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) f(i, lanes);
  if (i < count) f(i, static_cast<int>(count - i));
}

// line[i] = sum over the rows of x that output row `out` needs.
template <class E>
void columns_into(const Resampling& job, const E* image, std::int64_t width, const Real<E>* taps, std::int64_t out,
                  Real<E>* line) {
  const Window first = Windows(job.rows, job.up, job.down, out).get();
  each_vector<E>(width, [&](std::int64_t i, int n) {
    Vec<E> sum{};
    std::int64_t row = first.sample;
    for (std::int64_t k = first.tap; k < job.taps && row < job.rows.in; k += job.up, ++row)
      sum += load_part(image + row * width + i, n) * taps[job.taps - 1 - k];
    store_part(line + i, sum, n);
  });
}

template <class E>
void along_pixels(const Resampling& job, const Real<E>* line, const Real<E>* taps, E* y) {
  const std::int64_t channels = job.channels;
  Windows windows(job.columns, job.up, job.down, 0);
  for (std::int64_t out = 0; out < job.columns.out; ++out, windows.advance()) {
    const Window first = windows.get();
    each_vector<E>(channels, [&](std::int64_t c, int n) {
      Vec<E> sum{};
      std::int64_t at = first.sample;
      for (std::int64_t k = first.tap; k < job.taps && at < job.columns.in; k += job.up, ++at)
        sum += load_part(line + at * channels + c, n) * taps[job.taps - 1 - k];
      store_part(y + out * channels + c, sum, n);
    });
  }
}

template <class E>
void along_row(const Resampling& job, const Real<E>* line, const Real<E>* taps, E* y) {
  const Axis& axis = job.columns;
  std::int64_t out = 0;
  Windows windows(axis, job.up, job.down, 0);
  const auto one = [&] {
    const Window first = windows.get();
    windows.advance();
    Real<E> sum = 0;
    std::int64_t at = first.sample;
    for (std::int64_t k = first.tap; k < job.taps && at < axis.in; k += job.up, ++at)
      sum += line[at] * taps[job.taps - 1 - k];
    from_real(sum, y + out++);
  };
  if (job.up == 1 && job.down == 1) {
    // Neighbours see the same taps, so a vector of them is a sum of shifted vectors, away from the borders.
    constexpr int lanes = Lanes<E>::count;
    while (out < axis.out && out < axis.before) one();
    for (; out + lanes <= axis.out && out - axis.before + job.taps - 1 + lanes <= axis.in; out += lanes) {
      Vec<E> sum{};
      for (std::int64_t k = 0; k < job.taps; ++k) sum += load(line + out - axis.before + k) * taps[job.taps - 1 - k];
      store(y + out, sum);
    }
    windows = Windows(axis, job.up, job.down, out);
  }
  while (out < axis.out) one();
}

template <class E>
void filter_rows(const Resampling& job, const E* x, const Real<E>* taps, E* y, Real<E>* line, std::int64_t begin,
                 std::int64_t end) {
  const std::int64_t inner = job.channels_last ? job.channels : 1;
  const std::int64_t width = job.columns.in * inner, out_width = job.columns.out * inner;
  for (std::int64_t r = begin; r < end; ++r) {
    const std::int64_t image = r / job.rows.out, row = r % job.rows.out;
    columns_into<E>(job, x + image * job.rows.in * width, width, taps, row, line);
    E* to = y + r * out_width;
    job.channels_last ? along_pixels<E>(job, line, taps, to) : along_row<E>(job, line, taps, to);
  }
}

template <class E>
EVERFACE_INLINE Vec<E> activated(const BiasAct<E>& job, Vec<E> v) {
  const Vec<E> limit = splat<Real<E>>(job.clamp);
  const Vec<E> scaled = v * (v > Real<E>(0) ? splat<Real<E>>(job.gain) : splat<Real<E>>(job.gain * job.slope));
  // In this order a NaN stays one.
  const Vec<E> below = scaled > limit ? limit : scaled;
  return below < -limit ? -limit : below;
}

template <class E>
void add_and_activate(const BiasAct<E>& job, const E* x, const Real<E>* bias, E* y, std::int64_t begin,
                      std::int64_t end) {
  const bool last = job.inner == 1;
  const std::int64_t length = last ? job.channels : job.inner;
  for (std::int64_t r = begin; r < end; ++r) {
    const E* from = x + r * length;
    E* to = y + r * length;
    const Real<E> shift = last || !bias ? 0 : bias[r % job.channels];
    each_vector<E>(length, [&](std::int64_t i, int n) {
      const Vec<E> added = last && bias ? load_part(bias + i, n) : splat<Real<E>>(shift);
      store_part(to + i, activated<E>(job, load_part(from + i, n) + added), n);
    });
  }
}

template <class E>
void activation_slope(const BiasAct<E>& job, const E* dy, const E* y, E* dx, std::int64_t begin, std::int64_t end) {
  using R = Real<E>;
  E rounded;  // a clamped y is the limit as E can hold it
  from_real(job.clamp, &rounded);
  const R limit = to_real(rounded);
  const Vec<E> up = splat<R>(job.gain), down = splat<R>(job.gain * job.slope);
  each_vector<E>(end - begin, [&](std::int64_t i, int n) {
    const Vec<E> value = load_part(y + begin + i, n), grad = load_part(dy + begin + i, n);
    const Vec<E> inside = grad * (value > R(0) ? up : down);
    store_part(dx + begin + i, maximum(value, -value) < limit ? inside : Vec<E>{}, n);
  });
}

template <class E>
FilterKernels<E> filter_table() {
  return {filter_rows<E>, add_and_activate<E>, activation_slope<E>};
}

FilterKernels<float> float_filters() { return filter_table<float>(); }
FilterKernels<bf16> bf16_filters() { return filter_table<bf16>(); }
#if EVERFACE_VECTOR_BYTES == 16  // base alone has float64, which tests compare to
FilterKernels<double> double_filters() { return filter_table<double>(); }
#endif

}  // namespace EVERFACE_ISA
}  // namespace everface::stylegan
