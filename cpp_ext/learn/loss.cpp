#include "everface/core/isa.hpp"
#include "everface/learn.hpp"

namespace everface::learn {

bool fast_bf16() { return selected_isa() >= Isa::kAvx512Bf16; }

Loss::Loss(const Tensors& perceptual_weights, int side, float mse_weight, bool fast)
    : full_(perceptual_weights, side),
      fast_(fast ? new perceptual::Network<bf16>(perceptual_weights, side) : nullptr),
      mse_weight_(mse_weight) {}

void Loss::operator()(const float* images, std::int64_t batch, std::int64_t resolution,
                      const perceptual::Target* const* targets, bool fast, float* losses, float* dimages, float scale,
                      Buffer& buffer, Pool& pool) const {
  if (fast && fast_)
    fast_->loss(images, batch, resolution, targets, mse_weight_, losses, dimages, scale, buffer, pool);
  else
    full_.loss(images, batch, resolution, targets, mse_weight_, losses, dimages, scale, buffer, pool);
}

}  // namespace everface::learn
