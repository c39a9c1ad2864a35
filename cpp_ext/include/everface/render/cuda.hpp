// The renderer on NVIDIA GPUs, called with device memory: one block a ray. It has only been compiled so far: no machine
// with a GPU was at hand, so speed is unknown. What a block computes, team_march.hpp, is tested on the CPU by a team of
// one.
#pragma once

#include "everface/render.hpp"

namespace everface::render::cuda {

// As everface::render::forward and backward; options' stop and skip count for nothing: all is computed. All pointers
// are device memory, work goes to the default stream and is done on return. Throws std::runtime_error with CUDA's
// message.
void forward(const Volume<float>& volume, const RayBundle<float>& rays, const Options& options,
             const March<float>& out);
void backward(const Volume<float>& volume, const RayBundle<float>& rays, const Options& options,
              const March<const float>& dout, const Gradients<float>& grads);

}  // namespace everface::render::cuda
