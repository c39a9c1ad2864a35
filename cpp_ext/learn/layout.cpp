// Where weights and factors lie in a learner's blocks of numbers.
#include <stdexcept>

#include "everface/learn.hpp"

namespace everface::learn {
namespace {

constexpr std::int64_t kLine = 16;          // floats
constexpr std::int64_t kMostPixels = 4096;  // of a side

std::int64_t size_of(const std::vector<std::int64_t>& shape) {
  std::int64_t size = 1;
  for (const std::int64_t side : shape) size *= side;
  return size;
}

const Tensor& find(const Tensors& tensors, const std::string& name, const std::vector<std::int64_t>& shape) {
  const auto at = tensors.find(name);
  if (at == tensors.end()) throw std::invalid_argument("generator: " + name + " is missing");
  if (at->second.shape != shape || static_cast<std::int64_t>(at->second.values.size()) != size_of(shape))
    throw std::invalid_argument("generator: " + name + " is of another shape");
  return at->second;
}

// Appends a tensor to a block of floats, on a line of the cache of its own.
Place append(const std::string& name, const Tensor& tensor, Numbers& block) {
  const Place place{name, tensor.shape, static_cast<std::int64_t>(block.size()), size_of(tensor.shape)};
  block.insert(block.end(), tensor.values.begin(), tensor.values.end());
  block.resize((block.size() + kLine - 1) / kLine * kLine, 0.0f);
  return place;
}

}  // namespace

stylegan::SynthesisShape shape_of(const Tensors& weights, double clamp) {
  stylegan::SynthesisShape shape{2, 0, 0, {}, clamp};
  for (;;) {
    const std::string name = "b" + std::to_string(2 * shape.resolution);
    const auto at = weights.find(name + ".conv1.weight"), affine = weights.find(name + ".conv1.affine.weight");
    const auto colour = weights.find(name + ".torgb.weight");
    if (at == weights.end() || affine == weights.end() || colour == weights.end()) break;
    if (shape.resolution == kMostPixels) throw std::invalid_argument("generator: more than 4096 pixels");
    if (at->second.shape.empty() || affine->second.shape.size() != 2 || colour->second.shape.empty())
      throw std::invalid_argument("generator: " + name + " is of another shape");
    shape.resolution *= 2, shape.channels.push_back(at->second.shape[0]);
    shape.w_dim = affine->second.shape[1], shape.colours = static_cast<int>(colour->second.shape[0]);
  }
  if (shape.channels.empty()) throw std::invalid_argument("generator: b4 is missing");
  for (const std::int64_t channels : shape.channels)
    if (channels < 1 || shape.w_dim < 1) throw std::invalid_argument("generator: a layer without channels");
  if (shape.colours < 1 || shape.colours > 4) throw std::invalid_argument("generator: 1 to 4 colours are supported");
  return shape;
}

// The constant, then layer by layer: affine weight, affine bias, weight, bias and, but for torgb, noise strength.
void Learner::lay_out(const Tensors& weights) {
  const auto add = [&](const std::string& name, const std::vector<std::int64_t>& sides) {
    places_.push_back(append(name, find(weights, name, sides), values_));
  };
  const std::int64_t w = shape_.w_dim;
  add("b4.const", {shape_.channels.at(0), 4, 4});
  const auto layer = [&](const std::string& name, std::int64_t cin, std::int64_t cout, std::int64_t taps) {
    add(name + ".affine.weight", {cin, w}), add(name + ".affine.bias", {cin});
    add(name + ".weight", {cout, cin, taps, taps}), add(name + ".bias", {cout});
  };
  const auto convolution = [&](const std::string& name, std::int64_t cin, std::int64_t cout, std::int64_t side) {
    layer(name, cin, cout, 3);
    add(name + ".noise_strength", {});
    noise_at_.push_back(static_cast<std::int64_t>(noise_.size()));
    append(name, find(weights, name + ".noise_const", {side, side}), noise_);
  };
  for (std::int64_t b = 0; b < shape_.blocks(); ++b) {
    const std::int64_t side = std::int64_t{4} << b, channels = shape_.channels[static_cast<std::size_t>(b)];
    const std::string name = "b" + std::to_string(side);
    if (b > 0) convolution(name + ".conv0", shape_.channels[static_cast<std::size_t>(b - 1)], channels, side);
    convolution(name + ".conv1", channels, channels, side);
    layer(name + ".torgb", channels, shape_.colours, 1);
    noise_at_.push_back(-1);
  }
}

void Learner::add_factors(const Tensors& factors) {
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const Place& weight = places_[i];
    const auto down = factors.find(weight.name + ".down"), up = factors.find(weight.name + ".up");
    if (down == factors.end() || up == factors.end()) continue;
    if (weight.shape.size() < 2 || up->second.shape.size() != 2)
      throw std::invalid_argument("factors: " + weight.name + " is no matrix");
    const std::int64_t rank = up->second.shape[1];
    std::vector<std::int64_t> shape = weight.shape;
    shape[0] = rank;
    const Tensor& lower = find(factors, weight.name + ".down", shape);
    const Tensor& upper = find(factors, weight.name + ".up", {weight.shape[0], rank});
    factor_places_.push_back(append(weight.name + ".down", lower, factor_values_));
    factor_places_.push_back(append(weight.name + ".up", upper, factor_values_));
    const std::size_t last = factor_places_.size() - 1;
    factors_.push_back({i, rank, factor_places_[last - 1].at, factor_places_[last].at});
  }
  if (2 * factors_.size() != factors.size()) throw std::invalid_argument("factors: some belong to no weight");
  origin_ = values_, stale_ = true;
}

stylegan::SynthesisParameters<float> Learner::bound(Numbers& values) const {
  stylegan::SynthesisParameters<float> p;
  std::size_t next = 0;
  const auto take = [&] { return values.data() + places_[next++].at; };
  p.constant = take();
  for (const std::int64_t noise : noise_at_) {
    stylegan::LayerParameters<float> layer{take(), take(), take(), take(), nullptr};
    if (noise >= 0) layer.strength = take();
    p.layers.push_back(layer);
    p.noise.push_back(noise < 0 ? nullptr : noise_.data() + noise);
  }
  return p;
}

}  // namespace everface::learn
