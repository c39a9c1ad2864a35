// A whole StyleGAN2 synthesis network (skip architecture) in one call: for inference with weights packed once, and for
// training, forward and backward, with weights that change at every step.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "everface/core/number.hpp"
#include "everface/core/pool.hpp"

namespace everface::stylegan {

// Addresses of one layer's parameters, or of their gradients; null where there is none.
template <class R>
struct LayerParameters {
  R* affine_weight;  // [cin, w_dim]
  R* affine_bias;    // [cin]
  R* weight;         // [cout, cin, 3, 3], or [colours, cin, 1, 1]
  R* bias;           // [cout]
  R* strength;       // [1]; not for torgb
};

struct SynthesisShape {
  std::int64_t resolution, w_dim;
  int colours;                         // at most 4
  std::vector<std::int64_t> channels;  // of the blocks 4, 8, ... resolution
  double clamp;                        // largest magnitude of every layer's result; infinite for none

  std::int64_t blocks() const { return static_cast<std::int64_t>(channels.size()); }
  std::int64_t layers() const { return 3 * blocks() - 1; }  // (conv0) conv1 torgb, block by block
  std::int64_t num_ws() const { return 2 * blocks(); }
};

template <class R>
struct SynthesisParameters {
  R* constant = nullptr;  // [channels[0], 4, 4]
  std::vector<LayerParameters<R>> layers;
  std::vector<const R*> noise;  // [r, r] by layer; null for torgb
};

// Weights that stay over many forward and backward passes, packed once: a search changes codes alone.
template <class E>
class FrozenWeights {
 public:
  FrozenWeights(const SynthesisShape& shape, const SynthesisParameters<Real<E>>& parameters, Pool& pool);
  ~FrozenWeights();
  FrozenWeights(FrozenWeights&&) noexcept;

  struct Layer;
  const std::vector<Layer>& layers() const { return layers_; }

 private:
  std::vector<Layer> layers_;
};

// What the backward pass needs of the forward one lives in one block of the caller's memory.
template <class E>
std::size_t saved_bytes(const SynthesisShape& shape, std::int64_t batch);

// image[batch, colours, resolution, resolution] from ws[batch, num_ws, w_dim]. `frozen`: of the same parameters.
template <class E>
void synthesis_forward(const SynthesisShape& shape, const SynthesisParameters<Real<E>>& parameters, std::int64_t batch,
                       const Real<E>* ws, Real<E>* image, std::byte* saved, Pool& pool,
                       const FrozenWeights<E>* frozen = nullptr);

// Gradients of the parameters (none where grads.layers is empty) and of ws (none where null). All are overwritten.
template <class E>
void synthesis_backward(const SynthesisShape& shape, const SynthesisParameters<Real<E>>& parameters, std::int64_t batch,
                        const Real<E>* ws, const Real<E>* dimage, std::byte* saved,
                        const SynthesisParameters<Real<E>>& grads, Real<E>* dws, Pool& pool,
                        const FrozenWeights<E>* frozen = nullptr);

// Inference: weights packed once, one arena for all activations, no allocation after the first image of a batch size.
template <class E>
class Executor {
 public:
  Executor(const SynthesisShape& shape, const SynthesisParameters<Real<E>>& parameters, Pool& pool);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  void run(std::int64_t batch, const Real<E>* ws, Real<E>* image, Pool& pool);
  std::size_t weight_bytes() const;
  std::size_t arena_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace everface::stylegan
