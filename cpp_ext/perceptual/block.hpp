// Inverted residuals in strips of rows, so that the many hidden channels never leave the cache. The backward pass needs
// of the forward one nothing but where ReLU6 passes.
#pragma once

#include <algorithm>

#include "depthwise.hpp"

namespace everface::perceptual {
namespace EVERFACE_ISA {

constexpr std::int64_t kStripBytes = 192 << 10;  // of hidden channels: beside the weights in the second-level cache

// Rows of a strip: as many as fit, and at least enough for the products.
inline std::int64_t strip_rows(std::int64_t width, std::int64_t channels) {
  return std::max<std::int64_t>(2, kStripBytes / (width * channels * std::int64_t{sizeof(float)}));
}

template <class E>
struct Strip {
  std::int64_t out_rows, in_rows;  // at most
  float* hidden;                   // [in_rows][width or ow][hidden]
  E *narrow, *deep;                // operands of the products

  Strip(const BlockJob<E>& job, bool back, std::byte* scratch) {
    // Forward: strips of results from rows of the hidden picture. Backward: strips of the input's gradient from rows
    // of the depthwise convolution's.
    const std::int64_t most = strip_rows(job.width, job.hidden);
    out_rows = std::max<std::int64_t>(1, back ? most : most / job.stride);
    in_rows = back ? out_rows / job.stride + 3 : out_rows * job.stride + 3;
    const std::int64_t hidden_pixels = back ? in_rows * job.ow : in_rows * job.width;
    const std::int64_t wide_pixels = back ? out_rows * job.width : out_rows * job.ow;
    const std::int64_t most_pixels = std::max(hidden_pixels, wide_pixels);
    std::size_t used = 0;
    const auto take = [&](std::int64_t count, std::size_t bytes) {
      std::byte* piece = scratch ? scratch + used : nullptr;
      used += (static_cast<std::size_t>(count) * bytes + 63) / 64 * 64;
      return piece;
    };
    hidden = reinterpret_cast<float*>(take(hidden_pixels * job.hidden, sizeof(float)));
    narrow = reinterpret_cast<E*>(take(most_pixels * std::max(job.cin, job.cout), sizeof(E)));
    deep = reinterpret_cast<E*>(take(wide_pixels * job.hidden, sizeof(E)));
    bytes = used;
  }
  std::size_t bytes;
};

template <class E>
std::size_t scratch_bytes(const BlockJob<E>& job) {
  return std::max(Strip<E>(job, false, nullptr).bytes, Strip<E>(job, true, nullptr).bytes);
}

// Rows begin <= y < end of what a strip needs, of which those before `ready` are still there from the last one.
class Window {
 public:
  explicit Window(std::int64_t row) : row_(row) {}
  // Moves what remains to the front; the first row that is to be computed.
  std::int64_t slide(float* rows, std::int64_t begin, std::int64_t end) {
    const std::int64_t kept = std::max<std::int64_t>(0, std::min(ready_, end) - begin);
    if (kept > 0 && begin > begin_)
      std::memmove(rows, rows + (begin - begin_) * row_, sizeof(float) * static_cast<std::size_t>(kept * row_));
    begin_ = begin, ready_ = end;
    return begin + kept;
  }

 private:
  std::int64_t row_, begin_ = 0, ready_ = -1;
};

// hidden rows begin <= y < end, to `to`; masks of the rows that this task owns.
template <class E>
void expand_rows(const BlockJob<E>& job, std::int64_t begin, std::int64_t end, std::int64_t own_begin,
                 std::int64_t own_end, E* narrow, float* to) {
  const std::int64_t pixels = (end - begin) * job.width, n = job.hidden;
  const float* x = job.x + begin * job.width * job.cin;
  if (!job.expands) {
    std::memcpy(to, x, sizeof(float) * static_cast<std::size_t>(pixels * n));
    return;
  }
  multiply(operand(x, pixels * job.cin, narrow), job.cin, pixels, job.expand, to);
  for (std::int64_t p = 0; p < pixels; ++p) {
    const std::int64_t y = begin + p / job.width;
    std::int8_t* mask =
        job.expand_mask && y >= own_begin && y < own_end ? job.expand_mask + (begin * job.width + p) * n : nullptr;
    for (std::int64_t c = 0; c < n; c += kLanes) {
      const Floats v = relu6(load(to + p * n + c) + load(job.expand_bias + c));
      store(to + p * n + c, v);
      if (mask) store_mask(mask + c, v);
    }
  }
}

// y = project + bias (+ x).
template <class E>
void project_rows(const BlockJob<E>& job, std::int64_t begin, std::int64_t end, const E* deep) {
  const std::int64_t pixels = (end - begin) * job.ow, n = job.cout;
  float* y = job.y + begin * job.ow * n;
  multiply(deep, job.hidden, pixels, job.project, y);
  const float* x = job.adds ? job.x + begin * job.ow * n : nullptr;
  for (std::int64_t p = 0; p < pixels; ++p)
    for (std::int64_t c = 0; c < n; c += kLanes) {
      Floats v = load(y + p * n + c) + load(job.project_bias + c);
      if (x) v += load(x + p * n + c);
      store(y + p * n + c, v);
    }
}

// Rows begin <= y < end of the result.
template <class E>
void forward(const BlockJob<E>& job, std::int64_t row_begin, std::int64_t row_end, std::byte* scratch) {
  const Strip<E> strip(job, false, scratch);
  const std::int64_t n = job.hidden, s = job.stride;
  const std::int64_t own_begin = row_begin * s, own_end = row_end == job.oh ? job.height : row_end * s;
  Window window(job.width * n);
  for (std::int64_t row = row_begin; row < row_end; row += strip.out_rows) {
    const std::int64_t last = std::min(row + strip.out_rows, row_end);
    const std::int64_t first = std::max<std::int64_t>(s * row - 1, 0), end = std::min(s * (last - 1) + 2, job.height);
    const std::int64_t fresh = window.slide(strip.hidden, first, end);
    expand_rows(job, fresh, end, own_begin, own_end, strip.narrow, strip.hidden + (fresh - first) * job.width * n);
    const Rows rows{strip.hidden, first, end, job.width, n};
    for (std::int64_t y = row; y < last; ++y) {
      E* to = strip.deep + (y - row) * job.ow * n;
      std::int8_t* mask = job.depthwise_mask ? job.depthwise_mask + y * job.ow * n : nullptr;
      depthwise_row(rows, s * y - 1, s, job.ow, job.depthwise, job.depthwise_bias,
                    [&](std::int64_t x, std::int64_t c, Floats sum) {
                      const Floats v = relu6(sum);
                      store(to + x * n + c, v);
                      if (mask) store_mask(mask + x * n + c, v);
                    });
    }
    project_rows(job, row, last, strip.deep);
  }
}

// Gradients of the depthwise convolution's results before ReLU6, rows begin <= y < end.
template <class E>
void project_rows_back(const BlockJob<E>& job, std::int64_t begin, std::int64_t end, E* narrow, float* to) {
  const std::int64_t pixels = (end - begin) * job.ow, n = job.hidden;
  const float* dy = job.dy + begin * job.ow * job.cout;
  multiply(operand(dy, pixels * job.cout, narrow), job.cout, pixels, job.project_back, to);
  const std::int8_t* mask = job.depthwise_mask + begin * job.ow * n;
  for (std::int64_t i = 0; i < pixels * n; i += kLanes) store(to + i, masked(load(to + i), mask + i));
}

// dx = expand's transpose (+ dy), rows begin <= y < end.
template <class E>
void expand_rows_back(const BlockJob<E>& job, std::int64_t begin, std::int64_t end, const E* deep) {
  const std::int64_t pixels = (end - begin) * job.width, n = job.cin;
  float* dx = job.dx + begin * job.width * n;
  multiply(deep, job.hidden, pixels, job.expand_back, dx);
  if (!job.adds) return;
  const float* dy = job.dy + begin * job.width * n;
  for (std::int64_t i = 0; i < pixels * n; i += kLanes) store(dx + i, load(dx + i) + load(dy + i));
}

// Rows begin <= y < end of the gradient of the input.
template <class E>
void backward(const BlockJob<E>& job, std::int64_t row_begin, std::int64_t row_end, std::byte* scratch) {
  const Strip<E> strip(job, true, scratch);
  const std::int64_t n = job.hidden, s = job.stride;
  Window window(job.ow * n);
  for (std::int64_t row = row_begin; row < row_end; row += strip.out_rows) {
    const std::int64_t last = std::min(row + strip.out_rows, row_end);
    const std::int64_t first = row / s - (s == 1 && row > 0 ? 1 : 0), end = std::min(last / s + 1, job.oh);
    const std::int64_t fresh = window.slide(strip.hidden, first, end);
    if (fresh < end) project_rows_back(job, fresh, end, strip.narrow, strip.hidden + (fresh - first) * job.ow * n);
    const Rows rows{strip.hidden, first, end, job.ow, n};
    for (std::int64_t y = row; y < last; ++y) {
      E* to = strip.deep + (y - row) * job.width * n;
      const std::int8_t* mask = job.expands ? job.expand_mask + y * job.width * n : nullptr;
      float* plain = job.expands ? nullptr : job.dx + y * job.width * n;
      const auto keep = [&](std::int64_t x, std::int64_t c, Floats sum) {
        if (plain)
          store(plain + x * n + c, sum);
        else
          store(to + x * n + c, masked(sum, mask + x * n + c));
      };
      if (s == 1)
        depthwise_row(rows, y - 1, 1, job.width, job.depthwise_flipped, nullptr, keep);
      else
        depthwise_row_back2(rows, y, job.width, job.depthwise, keep);
    }
    if (job.expands) expand_rows_back(job, row, last, strip.deep);
  }
}

}  // namespace EVERFACE_ISA
}  // namespace everface::perceptual
