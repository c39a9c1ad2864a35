// StyleGAN2's synthesis operators on the CPU (Karras et al. 2020, arXiv 1912.04958, section 2.2), free of any
// framework.
//
// Modulated convolution with weights that do not depend on the sample: y = act(d (w * (s x)) + b), where the styles s
// scale the input's channels and d[n, o] = rsqrt(sum_i s[n, i]^2 q[o, i] + eps), q[o, i] = sum over taps of w^2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "everface/core/number.hpp"
#include "everface/core/pool.hpp"

namespace everface::stylegan {

// E is float, bf16 or double. Images are [batch, height, width, channels], dense.
template <class E>
struct ModulatedConv {
  using R = Real<E>;
  std::int64_t batch = 0, height = 0, width = 0, cin = 0, cout = 0;  // of the input
  int taps = 3;                                                      // 1 or 3, along each axis
  bool up = false;  // transposed convolution of stride 2 and the [1,3,3,1] filter: twice the size
  bool demodulate = true;
  const E* x = nullptr;
  const R* weight = nullptr;    // [cout, cin, taps, taps]
  const R* styles = nullptr;    // [batch, cin]
  const R* noise = nullptr;     // [1 or batch, out height, out width] or null
  std::int64_t noise_step = 0;  // 0 or out height * out width
  R strength = 0;
  const R* bias = nullptr;  // [cout] or null
  R slope = 1, gain = 1, clamp = R(3.4e38);
  // For gradients by weights that stay: what pack and pack_transposed made of them.
  const E* transposed = nullptr;
  const R* squares = nullptr;
  R* squares_out = nullptr;  // where the forward pass of weights not packed leaves their sums of squares, or null
  // Inference alone: large images in bfloat16 may be computed in larger tiles, whose error in one layer is up to three
  // times PyTorch's; in the image of a whole network it is below PyTorch's (docs: bench latency).
  bool large_tiles = false;

  std::int64_t out_height() const { return up ? 2 * height : height; }
  std::int64_t out_width() const { return up ? 2 * width : width; }
};

// Weights in the order in which the kernels of this machine read them, with their sums of squares. Compact ones are not
// transformed yet, which takes several times the memory in large layers; each image does it anew, piece by piece.
template <class E>
struct PackedWeights {
  int algo = 0;
  bool compact = false;
  std::int64_t cin = 0, cout = 0;
  Buffer storage;
  std::vector<Real<E>> squares;  // q[cout, cin]
  const E* u() const { return reinterpret_cast<const E*>(storage.data()); }
};

template <class E>
PackedWeights<E> pack(const ModulatedConv<E>& conv, Pool& pool);

// The operand of the gradient of the input.
template <class E>
Buffer pack_transposed(const ModulatedConv<E>& conv, Pool& pool);

// y[batch, out height, out width, cout]; demod[batch, cout] receives d where conv.demodulate.
// With packed weights conv.weight is not read.
template <class E>
void forward(const ModulatedConv<E>& conv, const PackedWeights<E>* packed, E* y, Real<E>* demod, Pool& pool);

template <class E>
struct Gradients {
  E* x = nullptr;
  Real<E>* styles = nullptr;    // [batch, cin]
  Real<E>* weight = nullptr;    // as the weight
  Real<E>* bias = nullptr;      // [cout]
  Real<E>* strength = nullptr;  // [1]
};

// A 1x1 convolution of y to a few colours (torgb), whose backward costs nothing when it rides on that of y.
template <class E>
struct ColourGradient {
  int count = 0;                     // at most 4; 0 for none
  const Real<E>* colours = nullptr;  // its gradient [batch, count, pixels]
  const Real<E>* weights = nullptr;  // [batch, count, cout], the styles included
  Real<E>* dweights = nullptr;       // their gradient
};

// All gradients that are not null, from the forward's y and demod. dy may be null for zero, next to colours.
template <class E>
void backward(const ModulatedConv<E>& conv, const E* y, const Real<E>* demod, const E* dy,
              const ColourGradient<E>& colours, const Gradients<E>& grads, Pool& pool);

// The name of the kernels chosen for E on this machine.
template <class E>
const char* kernels_isa();

}  // namespace everface::stylegan
