// Learning on the CPU: pictures of a StyleGAN2 generator, their loss against photos, its gradients, and Adam.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "everface/core/pool.hpp"
#include "everface/perceptual.hpp"
#include "everface/synthesis.hpp"

namespace everface::learn {

// Whether this processor multiplies bfloat16 natively.
bool fast_bf16();

// MobileNetV2 distance + mse_weight * mean squared error, in float32 and, where that is faster, in bfloat16.
class Loss {
 public:
  // Throws std::invalid_argument (see perceptual::Network).
  Loss(const Tensors& perceptual_weights, int side, float mse_weight, bool fast);

  std::vector<perceptual::Target> targets(const float* images, std::int64_t batch, std::int64_t resolution,
                                          Pool& pool) const {
    return full_.targets(images, batch, resolution, fast_ != nullptr, pool);
  }
  // As perceptual::Network::loss; in bfloat16 if `fast` and this loss has it.
  void operator()(const float* images, std::int64_t batch, std::int64_t resolution,
                  const perceptual::Target* const* targets, bool fast, float* losses, float* dimages, float scale,
                  Buffer& buffer, Pool& pool) const;
  bool fast() const { return fast_ != nullptr; }

 private:
  perceptual::Network<float> full_;
  std::unique_ptr<perceptual::Network<bf16>> fast_;
  float mse_weight_;
};

// Sizes of the synthesis network with such weights (see Learner). Throws std::invalid_argument: none has them.
stylegan::SynthesisShape shape_of(const Tensors& weights, double clamp);

// Where a tensor lies in a block of floats.
struct Place {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int64_t at, size;
};

// A change of a weight by alpha / rank * up[out, rank] down[rank, in ...] (Hu et al. 2021).
struct Factor {
  std::size_t weight;  // index of its place
  std::int64_t rank, down, up;
};

using Numbers = std::vector<float, LargeAllocator<float>>;

// Codes of a batch: [count, w_dim] in W, or [count, num_ws, w_dim] in W+.
struct Codes {
  const float* values;
  std::int64_t count;
  bool plus;
};

using Targets = const perceptual::Target* const*;

// A synthesis network that is looked at and tuned, whole or by low-rank factors. Calls from several threads run one
// after the other, on the pool that is passed.
class Learner {
 public:
  // Weights by the names of NVIDIA's checkpoints, without "synthesis." ("b8.conv0.affine.weight"). Adapted weights have
  // "<name>.down" and "<name>.up" beside them in `factors`; if there are any, they alone are tuned.
  // Throws std::invalid_argument: a tensor is missing or of another shape.
  Learner(stylegan::SynthesisShape shape, const Tensors& weights, const Tensors& factors, float factor_scale,
          std::shared_ptr<const Loss> loss);
  ~Learner();
  Learner(const Learner&) = delete;
  Learner& operator=(const Learner&) = delete;

  const stylegan::SynthesisShape& shape() const { return shape_; }
  std::int64_t code_size(bool plus) const { return (plus ? shape_.num_ws() : 1) * shape_.w_dim; }

  // images[count, colours, resolution, resolution], in float32.
  void render(Codes codes, float* images, Pool& pool);
  // losses[count], in float32; lets go of the memory of earlier calls, for what is measured is done with for now.
  void losses(Codes codes, Targets targets, float* losses, Pool& pool);
  // losses[count], and the derivative of each by its own code; in fast precision.
  void gradient(Codes codes, Targets targets, float* losses, float* dcodes, Pool& pool);
  // The derivative by codes of sum(images dimages).
  void pull_back(Codes codes, const float* dimages, float* dcodes, Pool& pool);
  // One update by Adam (0.9, 0.999) on the mean loss, which is returned; in fast precision.
  float step(Codes codes, Targets targets, float learning_rate, Pool& pool);

  // What is tuned: places in the blocks of values, first and second moments.
  const std::vector<Place>& tuned() const { return factors_.empty() ? places_ : factor_places_; }
  std::int64_t tuned_size() const { return static_cast<std::int64_t>(tuned_values().size()); }
  // The weights as they are now, the factors' changes included, by place.
  const std::vector<Place>& places() const { return places_; }
  const Numbers& values(Pool& pool);

  // What is tuned, its moments (zeros before the first step) and the number of steps; copied out and in.
  std::int64_t state(float* values, float* mean, float* square) const;
  void restore(const float* values, const float* mean, const float* square, std::int64_t steps);
  std::size_t memory_bytes() const;

 private:
  template <class E>
  void chunk(Codes codes, Targets targets, float scale, float* losses, bool train, float* dcodes, Pool& pool);
  template <class E>
  void pull_back_as(Codes codes, const float* dimages, float* dcodes, Pool& pool);
  void lay_out(const Tensors& weights);
  void add_factors(const Tensors& factors);
  template <class E>
  const stylegan::FrozenWeights<E>* frozen(Pool& pool);
  void forget_packed();
  void release();          // all memory that the next call can make again
  void merge(Pool& pool);  // values_ from origin_ and the factors, if they changed
  void factor_gradients(Pool& pool);
  const float* full_codes(Codes codes);
  void fold(std::int64_t count, bool plus, float* dcodes) const;
  stylegan::SynthesisParameters<float> bound(Numbers& values) const;
  const Numbers& tuned_values() const { return factors_.empty() ? values_ : factor_values_; }

  stylegan::SynthesisShape shape_;
  std::shared_ptr<const Loss> loss_;
  std::vector<Place> places_, factor_places_;
  Numbers values_, noise_;
  std::vector<std::int64_t> noise_at_;  // by layer, -1 for none
  std::vector<Factor> factors_;
  float factor_scale_;
  Numbers origin_, factor_values_;  // the weights without their changes
  bool stale_ = false;              // the factors changed since values_ were made
  Numbers gradients_, factor_gradients_, mean_, square_;
  std::int64_t steps_ = 0;
  Numbers ws_, dws_, images_, dimages_;
  Buffer saved_, activations_;
  // Of the present weights.
  std::unique_ptr<stylegan::Executor<float>> executor_;
  std::unique_ptr<stylegan::FrozenWeights<float>> frozen_full_;
  std::unique_ptr<stylegan::FrozenWeights<bf16>> frozen_fast_;
};

}  // namespace everface::learn
