// Weights by PyTorch's names to what the kernels read: packed once, forward and transposed.
#pragma once

#include <stdexcept>
#include <string>

#include "../stylegan/layer.hpp"
#include "everface/perceptual.hpp"
#include "jobs.hpp"

namespace everface::perceptual {

struct BlockShape {
  int cin, hidden, cout, stride;
  bool expands, adds;
  int tap;  // number among the compared layers, or -1
};

// MobileNetV2's blocks 1 to 13 (Sandler et al. 2018, table 2).
constexpr BlockShape kShapes[kBlocks] = {
    {32, 32, 16, 1, false, false, 1},  {16, 96, 24, 2, true, false, -1},  {24, 144, 24, 1, true, true, 2},
    {24, 144, 32, 2, true, false, -1}, {32, 192, 32, 1, true, true, -1},  {32, 192, 32, 1, true, true, 3},
    {32, 192, 64, 2, true, false, -1}, {64, 384, 64, 1, true, true, -1},  {64, 384, 64, 1, true, true, -1},
    {64, 384, 64, 1, true, true, 4},   {64, 384, 96, 1, true, false, -1}, {96, 576, 96, 1, true, true, -1},
    {96, 576, 96, 1, true, true, 5}};
constexpr int kStemChannels = 32;

inline void store_as(float value, float* to) { *to = value; }
inline void store_as(float value, bf16* to) {
  std::uint32_t word;
  static_assert(sizeof word == sizeof value, "float32");
  __builtin_memcpy(&word, &value, sizeof word);
  to->bits = static_cast<std::uint16_t>((word + 0x7FFFu + ((word >> 16) & 1u)) >> 16);
}

// A matrix [depth, cols] in the order of the products: blocks of columns, and pairs of rows together in bfloat16.
template <class E>
class Packed {
 public:
  // at(k, c) for k < depth and c < cols; both are padded with zeros.
  template <class At>
  Packed(std::int64_t depth, std::int64_t cols, const At& at) : depth_(padded(depth)), cols_(padded(cols)) {
    constexpr std::int64_t together = sizeof(E) == 2 ? 2 : 1;
    const std::int64_t block = stylegan::kernels<E>().block;
    values_.resize(static_cast<std::size_t>(depth_ * cols_));
    E* to = values_.data();
    for (std::int64_t first = 0; first < cols_; first += block) {
      const std::int64_t end = first + block < cols_ ? first + block : cols_;
      for (std::int64_t k = 0; k < depth_; k += together)
        for (std::int64_t c = first; c < end; ++c)
          for (std::int64_t i = 0; i < together; ++i) store_as(k + i < depth && c < cols ? at(k + i, c) : 0.0f, to++);
    }
  }
  Product<E> product() const { return {values_.data(), depth_, cols_}; }

 private:
  std::int64_t depth_, cols_;
  std::vector<E> values_;
};

inline const Tensor& find(const Tensors& tensors, const std::string& name, std::size_t size) {
  const auto at = tensors.find(name);
  if (at == tensors.end() || at->second.values.size() != size)
    throw std::invalid_argument("perceptual weights: " + name + " is missing or of another shape");
  return at->second;
}

inline std::vector<float> padded_bias(const Tensors& tensors, const std::string& name, int channels) {
  std::vector<float> bias = find(tensors, name, static_cast<std::size_t>(channels)).values;
  bias.resize(static_cast<std::size_t>(padded(channels)), 0.0f);
  return bias;
}

// w[out, in] of a convolution, and its transpose.
template <class E>
Packed<E> forward_operand(const std::vector<float>& w, int out, int in) {
  return Packed<E>(in, out, [&](std::int64_t k, std::int64_t c) { return w[static_cast<std::size_t>(c * in + k)]; });
}
template <class E>
Packed<E> backward_operand(const std::vector<float>& w, int out, int in) {
  return Packed<E>(out, in, [&](std::int64_t k, std::int64_t c) { return w[static_cast<std::size_t>(k * in + c)]; });
}

template <class E>
struct StemWeights {
  Packed<E> forward, back;
  std::vector<float> bias;

  explicit StemWeights(const Tensors& tensors)
      : forward(forward_operand<E>(weight(tensors), kStemChannels, 27)),
        back(backward_operand<E>(weight(tensors), kStemChannels, 27)),
        bias(padded_bias(tensors, "stem.bias", kStemChannels)) {}

 private:
  static const std::vector<float>& weight(const Tensors& tensors) {
    return find(tensors, "stem.weight", kStemChannels * 27).values;
  }
};

template <class E>
struct BlockWeights {
  BlockShape shape;
  std::vector<Packed<E>> expand, expand_back;  // none in the first block
  Packed<E> project, project_back;
  std::vector<float> expand_bias, depthwise, flipped, depthwise_bias, project_bias;

  BlockWeights(const Tensors& tensors, int index)
      : shape(kShapes[index]),
        project(forward_operand<E>(project_weight(tensors, index), shape.cout, shape.hidden)),
        project_back(backward_operand<E>(project_weight(tensors, index), shape.cout, shape.hidden)) {
    const std::string name = name_of(index);
    if (shape.expands) {
      const auto size = static_cast<std::size_t>(shape.hidden * shape.cin);
      const std::vector<float>& w = find(tensors, name + "expand.weight", size).values;
      expand.push_back(forward_operand<E>(w, shape.hidden, shape.cin));
      expand_back.push_back(backward_operand<E>(w, shape.hidden, shape.cin));
      expand_bias = padded_bias(tensors, name + "expand.bias", shape.hidden);
    }
    const auto hidden = static_cast<std::size_t>(shape.hidden);
    const std::vector<float>& taps = find(tensors, name + "depthwise.weight", hidden * 9).values;
    depthwise.resize(hidden * 9), flipped.resize(hidden * 9);
    for (std::size_t c = 0; c < hidden; ++c)
      for (std::size_t t = 0; t < 9; ++t)
        depthwise[t * hidden + c] = taps[c * 9 + t], flipped[t * hidden + c] = taps[c * 9 + 8 - t];
    depthwise_bias = padded_bias(tensors, name + "depthwise.bias", shape.hidden);
    project_bias = padded_bias(tensors, name + "project.bias", shape.cout);
  }

 private:
  static std::string name_of(int index) { return "block" + std::to_string(index + 1) + "."; }
  static const std::vector<float>& project_weight(const Tensors& tensors, int index) {
    const auto size = static_cast<std::size_t>(kShapes[index].cout * kShapes[index].hidden);
    return find(tensors, name_of(index) + "project.weight", size).values;
  }
};

}  // namespace everface::perceptual
