// Modulated convolution on a CUDA device: the contract of stylegan.hpp with all addresses on the device, queued on a
// stream. Scratch memory comes from the stream's pool (cudaMallocAsync). Built where nvcc is.
#pragma once

#include "everface/stylegan.hpp"

namespace everface::stylegan::cuda {

// E is float or bf16. conv.weight is read; there are no packed weights.
template <class E>
void forward(const ModulatedConv<E>& conv, E* y, float* demod, void* stream);
template <class E>
void backward(const ModulatedConv<E>& conv, const E* y, const float* demod, const E* dy, const Gradients<E>& grads,
              void* stream);

}  // namespace everface::stylegan::cuda
