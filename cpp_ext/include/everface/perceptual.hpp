// MobileNetV2's features of pictures (Sandler et al. 2018), the distance between those of two pictures, and its
// gradient by the first.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "everface/core/number.hpp"
#include "everface/core/pool.hpp"

namespace everface {

// A named array in C order.
struct Tensor {
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};
using Tensors = std::map<std::string, Tensor>;

namespace perceptual {

constexpr int kBlocks = 13;
constexpr int kTaps = 6;  // layers that are compared: the stem and the blocks 1, 3, 6, 10, 13

// A photo to compare pictures with.
struct Target {
  std::vector<float> image;  // [3, side, side] in [-1, 1]
  // Unit vectors [pixels, channels padded to 16] of each compared layer, in one type or, in half the memory, the other.
  std::array<std::vector<float>, kTaps> features;
  std::array<std::vector<bf16>, kTaps> rounded;
};

// The weights are packed once, and no call changes anything but its results and its buffer.
template <class E>
class Network {
 public:
  // Weights by PyTorch's names ("stem.weight", "block2.expand.bias"), batch norms folded in. Smaller pictures are
  // enlarged to `side`, bilinearly, by a whole factor. Throws std::invalid_argument: a layer is missing or of another
  // shape.
  explicit Network(const Tensors& weights, int side = 128);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // Targets of images[batch, 3, resolution, resolution], their features rounded or not.
  std::vector<Target> targets(const float* images, std::int64_t batch, std::int64_t resolution, bool round,
                              Pool& pool) const;

  // losses[batch] = distance + mse_weight * mean squared difference, and where dimages is not null, the gradient of
  // their sum times `scale` by the images[batch, 3, resolution, resolution]. The buffer is for activations.
  void loss(const float* images, std::int64_t batch, std::int64_t resolution, const Target* const* targets,
            float mse_weight, float* losses, float* dimages, float scale, Buffer& buffer, Pool& pool) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace perceptual
}  // namespace everface
