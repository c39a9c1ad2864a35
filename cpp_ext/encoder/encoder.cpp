#include "everface/encoder.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "everface/core/carver.hpp"
#include "everface/core/products.hpp"

namespace everface {
namespace {

constexpr std::int64_t kGroups = 8, kTogether = 4, kMostStages = 8;
constexpr std::int64_t kBand = 64;  // pixels whose surroundings are multiplied at once

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("encoder: " + what); }

const std::vector<float>& find(const Tensors& weights, const std::string& name,
                               const std::vector<std::int64_t>& shape) {
  const auto at = weights.find(name);
  if (at == weights.end()) refuse(name + " is missing");
  if (at->second.shape != shape) refuse(name + " is of another shape");
  return at->second.values;
}

// Rows of a weight; what follows checks its whole shape.
std::int64_t rows_of(const Tensors& weights, const std::string& name) {
  const auto at = weights.find(name);
  if (at == weights.end()) refuse(name + " is missing");
  if (at->second.shape.empty() || at->second.shape[0] < 1) refuse(name + " is of another shape");
  return at->second.shape[0];
}

// What one pixel of a smaller or larger row is made of: bilinear, its triangle as wide as the new pixels.
struct Taps {
  std::int64_t first;
  std::vector<float> weights;
};

std::vector<Taps> taps_of(std::int64_t from, std::int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to), reach = std::max(scale, 1.0);
  std::vector<Taps> taps(static_cast<std::size_t>(to));
  for (std::int64_t i = 0; i < to; ++i) {
    Taps& own = taps[static_cast<std::size_t>(i)];
    const double centre = scale * (static_cast<double>(i) + 0.5);
    own.first = std::max<std::int64_t>(0, static_cast<std::int64_t>(std::floor(centre - reach - 0.5)) + 1);
    double sum = 0;
    for (std::int64_t at = own.first; at < from; ++at) {
      const double weight = 1 - std::fabs(static_cast<double>(at) + 0.5 - centre) / reach;
      if (weight <= 0) break;
      own.weights.push_back(static_cast<float>(weight)), sum += weight;
    }
    for (float& weight : own.weights) weight = static_cast<float>(static_cast<double>(weight) / sum);
  }
  return taps;
}

}  // namespace

Encoder::Maps::Maps(std::int64_t count_, std::int64_t side_, std::int64_t channels_)
    : count(count_),
      side(side_),
      channels(channels_),
      values(static_cast<std::size_t>(count * side * side * stride())) {}

std::int64_t Encoder::Maps::stride() const { return round_up(channels, 16); }

Encoder::Convolution Encoder::convolution(const Tensors& weights, const std::string& name, std::int64_t cin,
                                          std::int64_t taps, std::int64_t stride) {
  Convolution layer{cin, rows_of(weights, name + ".weight"), taps, stride, taps == 3 ? 1 : 0, {}, {}};
  const bool flat = taps == 4;  // the last layer, on all pixels at once
  const auto& values = flat ? find(weights, name + ".weight", {layer.cout, cin * taps * taps})
                            : find(weights, name + ".weight", {layer.cout, cin, taps, taps});
  const std::int64_t area = taps * taps, depth = area * cin;
  std::vector<float> rows(values.size());  // [cout][taps][cin], as the surroundings of a pixel lie
  for (std::int64_t o = 0; o < layer.cout; ++o)
    for (std::int64_t c = 0; c < cin; ++c)
      for (std::int64_t t = 0; t < area; ++t)
        rows[static_cast<std::size_t>(o * depth + t * cin + c)] =
            values[static_cast<std::size_t>((o * cin + c) * area + t)];
  layer.packed.resize(static_cast<std::size_t>(packed_elements<float>(depth, layer.cout)));
  pack_matrix<float>(rows.data(), 1, depth, depth, layer.cout, layer.packed.data());
  layer.bias = find(weights, name + ".bias", {layer.cout});
  return layer;
}

Encoder::Norm Encoder::norm(const Tensors& weights, const std::string& name, std::int64_t channels) {
  if (channels % kGroups != 0) refuse(name + " has channels that make no " + std::to_string(kGroups) + " groups");
  return {find(weights, name + ".weight", {channels}), find(weights, name + ".bias", {channels})};
}

Encoder::Residual Encoder::residual(const Tensors& weights, const std::string& name, std::int64_t cin, bool halves) {
  Residual block{norm(weights, name + ".n1", cin), {}, {}, {}, {}, halves};
  block.conv1 = convolution(weights, name + ".c1", cin, 3, halves ? 2 : 1);
  const std::int64_t cout = block.conv1.cout;
  block.norm2 = norm(weights, name + ".n2", cout);
  block.conv2 = convolution(weights, name + ".c2", cout, 3, 1);
  if (cin != cout) block.skip = convolution(weights, name + ".s", cin, 1, 1);
  if (block.conv2.cout != cout || (cin != cout && block.skip.cout != cout)) refuse(name + " adds different channels");
  return block;
}

Encoder::Encoder(const Tensors& weights) : stem_(convolution(weights, "stem", 3, 3, 1)) {
  std::int64_t channels = stem_.cout;
  for (std::int64_t b = 0; weights.count("blocks." + std::to_string(b) + ".c1.weight") > 0; ++b) {
    if (b == 2 * kMostStages) refuse("more halvings than " + std::to_string(kMostStages));
    blocks_.push_back(residual(weights, "blocks." + std::to_string(b), channels, b % 2 == 0));
    channels = blocks_.back().conv1.cout;
    if (b % 2 == 0) side_ *= 2;
  }
  norm_ = norm(weights, "norm", channels);
  fully_connected_ = convolution(weights, "fc", channels, 4, 4);
  mean_ = find(weights, "w_avg", {w_dim()}), spread_ = find(weights, "w_std", {w_dim()});
}

void Encoder::operator()(const float* images, std::int64_t count, std::int64_t resolution, float* codes,
                         Pool& pool) const {
  const std::int64_t w = w_dim();
  for (std::int64_t first = 0; first < count; first += kTogether) {
    const std::int64_t some = std::min(kTogether, count - first);
    Maps x = apply(stem_, resampled(images + first * 3 * resolution * resolution, some, resolution, side_, pool), pool);
    for (const Residual& block : blocks_) x = apply(block, x, pool);
    const Maps code = apply(fully_connected_, apply(norm_, x, pool), pool);
    for (std::int64_t n = 0; n < some; ++n)
      for (std::int64_t i = 0; i < w; ++i)
        codes[(first + n) * w + i] =
            mean_[static_cast<std::size_t>(i)] + spread_[static_cast<std::size_t>(i)] * code.image(n)[i];
  }
}

Encoder::Maps Encoder::resampled(const float* images, std::int64_t count, std::int64_t resolution, std::int64_t side,
                                 Pool& pool) {
  Maps maps(count, side, 3);
  const auto taps = taps_of(resolution, side);
  pool.dynamic(count * 3, [&](std::int64_t plane, int) {
    const float* from = images + plane * resolution * resolution;
    float* to = maps.image(plane / 3) + plane % 3;
    std::vector<float> row(static_cast<std::size_t>(resolution));
    for (const Taps& down : taps) {
      std::fill(row.begin(), row.end(), 0.0f);
      for (std::size_t t = 0; t < down.weights.size(); ++t)
        for (std::int64_t i = 0; i < resolution; ++i)
          row[static_cast<std::size_t>(i)] +=
              down.weights[t] * from[(down.first + static_cast<std::int64_t>(t)) * resolution + i];
      for (const Taps& across : taps) {
        float sum = 0;
        for (std::size_t t = 0; t < across.weights.size(); ++t)
          sum += across.weights[t] * row[static_cast<std::size_t>(across.first) + t];
        *to = sum, to += maps.stride();
      }
    }
  });
  return maps;
}

Encoder::Maps Encoder::apply(const Convolution& layer, const Maps& x, Pool& pool) {
  const std::int64_t out = (x.side + 2 * layer.padding - layer.taps) / layer.stride + 1, pixels = out * out;
  const std::int64_t bands = ceil_div(pixels, kBand), depth = layer.taps * layer.taps * layer.cin;
  Maps y(x.count, out, layer.cout);
  pool.dynamic(x.count * bands, [&](std::int64_t task, int) {
    const std::int64_t n = task / bands, begin = task % bands * kBand, end = std::min(begin + kBand, pixels);
    std::vector<float> patches(static_cast<std::size_t>((end - begin) * depth));
    float *patch = patches.data(), *rows = y.image(n) + begin * y.stride();
    for (std::int64_t p = begin; p < end; ++p) {
      std::copy(layer.bias.begin(), layer.bias.end(), y.image(n) + p * y.stride());
      for (std::int64_t t = 0; t < layer.taps * layer.taps; ++t, patch += layer.cin) {
        const std::int64_t row = p / out * layer.stride + t / layer.taps - layer.padding;
        const std::int64_t column = p % out * layer.stride + t % layer.taps - layer.padding;
        if (row < 0 || column < 0 || row >= x.side || column >= x.side) continue;  // zeros
        std::copy_n(x.image(n) + (row * x.side + column) * x.stride(), layer.cin, patch);
      }
    }
    multiply_packed<float>(patches.data(), depth, end - begin, layer.packed.data(), depth, layer.cout, rows, y.stride(),
                           true);
  });
  return y;
}

Encoder::Maps Encoder::apply(const Norm& layer, const Maps& x, Pool& pool) {
  Maps y(x.count, x.side, x.channels);
  const std::int64_t pixels = x.side * x.side, each = x.channels / kGroups, stride = x.stride();
  pool.dynamic(x.count * kGroups, [&](std::int64_t task, int) {
    const std::int64_t first = task % kGroups * each;
    const float* from = x.image(task / kGroups) + first;
    float* to = y.image(task / kGroups) + first;
    double sum = 0, square = 0;
    for (std::int64_t p = 0; p < pixels; ++p)
      for (std::int64_t c = 0; c < each; ++c) sum += static_cast<double>(from[p * stride + c]);
    const double count = static_cast<double>(pixels * each), mean = sum / count;
    for (std::int64_t p = 0; p < pixels; ++p)
      for (std::int64_t c = 0; c < each; ++c) {
        const double off = static_cast<double>(from[p * stride + c]) - mean;
        square += off * off;
      }
    const auto scale = static_cast<float>(1 / std::sqrt(square / count + 1e-5));
    for (std::int64_t c = 0; c < each; ++c) {
      const float gain = layer.gain[static_cast<std::size_t>(first + c)] * scale;
      const float offset = layer.bias[static_cast<std::size_t>(first + c)] - static_cast<float>(mean) * gain;
      for (std::int64_t p = 0; p < pixels; ++p) {
        const float value = from[p * stride + c] * gain + offset;
        to[p * stride + c] = value / (1 + std::exp(-value));
      }
    }
  });
  return y;
}

Encoder::Maps Encoder::halved(const Maps& x) {
  Maps y(x.count, x.side / 2, x.channels);
  for (std::int64_t n = 0; n < x.count; ++n)
    for (std::int64_t p = 0; p < y.side * y.side; ++p) {
      const float* from = x.image(n) + (p / y.side * 2 * x.side + p % y.side * 2) * x.stride();
      const float* below = from + x.side * x.stride();
      float* to = y.image(n) + p * y.stride();
      for (std::int64_t c = 0; c < x.channels; ++c)
        to[c] = (from[c] + from[x.stride() + c] + below[c] + below[x.stride() + c]) / 4;
    }
  return y;
}

Encoder::Maps Encoder::apply(const Residual& block, const Maps& x, Pool& pool) {
  Maps y = apply(block.conv2, apply(block.norm2, apply(block.conv1, apply(block.norm1, x, pool), pool), pool), pool);
  Maps skip = block.halves ? halved(x) : x;
  if (block.skip.cout > 0) skip = apply(block.skip, skip, pool);
  for (std::size_t i = 0; i < y.values.size(); ++i) y.values[i] += skip.values[i];
  return y;
}

}  // namespace everface
