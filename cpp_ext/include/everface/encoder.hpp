// From photos to codes in one pass: the residual network of engine/latents/encoder.py (pre-activation, group norm; He
// et al. 2016, Wu and He 2018), in float32.
#pragma once

#include <cstdint>
#include <vector>

#include "everface/core/pool.hpp"
#include "everface/perceptual.hpp"

namespace everface {

class Encoder {
 public:
  // Weights by PyTorch's names ("blocks.0.c1.weight"), without the scales of int8.
  // Throws std::invalid_argument: a layer is missing, or of another shape.
  explicit Encoder(const Tensors& weights);

  std::int64_t side() const { return side_; }
  std::int64_t w_dim() const { return fully_connected_.cout; }

  // codes[count, w_dim] of images[count, 3, resolution, resolution] in [-1, 1], resampled to `side` first. The same
  // photo gives the same code in any batch and with any number of threads.
  void operator()(const float* images, std::int64_t count, std::int64_t resolution, float* codes, Pool& pool) const;

 private:
  struct Convolution {
    std::int64_t cin = 0, cout = 0, taps = 1, stride = 1, padding = 0;
    std::vector<float> packed, bias;
  };
  struct Norm {
    std::vector<float> gain, bias;
  };
  struct Residual {
    Norm norm1, norm2;
    Convolution conv1, conv2, skip;  // no columns where the block adds its input as it is
    bool halves;
  };
  // Numbers [count, side, side, channels padded to 16].
  struct Maps {
    std::int64_t count, side, channels;
    std::vector<float> values;
    Maps(std::int64_t count, std::int64_t side, std::int64_t channels);
    std::int64_t stride() const;
    float* image(std::int64_t n) { return values.data() + n * side * side * stride(); }
    const float* image(std::int64_t n) const { return values.data() + n * side * side * stride(); }
  };

  static Convolution convolution(const Tensors& weights, const std::string& name, std::int64_t cin, std::int64_t taps,
                                 std::int64_t stride);
  static Norm norm(const Tensors& weights, const std::string& name, std::int64_t channels);
  static Residual residual(const Tensors& weights, const std::string& name, std::int64_t cin, bool halves);
  static Maps resampled(const float* images, std::int64_t count, std::int64_t resolution, std::int64_t side,
                        Pool& pool);
  static Maps apply(const Convolution& layer, const Maps& x, Pool& pool);
  static Maps apply(const Norm& layer, const Maps& x, Pool& pool);  // and SiLU
  static Maps apply(const Residual& block, const Maps& x, Pool& pool);
  static Maps halved(const Maps& x);

  std::int64_t side_ = 4;
  Convolution stem_, fully_connected_;
  std::vector<Residual> blocks_;
  Norm norm_;
  std::vector<float> mean_, spread_;
};

}  // namespace everface
