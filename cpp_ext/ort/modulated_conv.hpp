// ModulatedConv (domain everface, version 1): a StyleGAN2 layer, y = clamp(gain lrelu(d (w * (s x)) + noise + bias)).
//   x       T [n or 1, height, width, cin], channels last; T is float32 or bfloat16; one image serves the whole batch
//   styles  float32 [n, cin]
//   weight  float32 [cout, cin, k, k], k = 1 or 3, a constant initializer: it is packed once
//   bias    float32 [cout]
//   noise   float32 [n or 1, H, W], its strength included; optional
//   y       T [n, H, W, cout]
// Attributes, all required: height and width of x (the order of the packed weights depends on them), up 1 or 2
// (transposed convolution and the [1,3,3,1] filter; needs k = 3), demodulate 0 or 1, slope, gain, clamp (above 0;
// infinite for none).
#pragma once

#include "everface/stylegan.hpp"
#include "workspace.hpp"

namespace everface::ort {

template <class E>
class ModulatedConv {
 public:
  using Output = E;
  static const char* name() { return "ModulatedConv"; }
  static const std::vector<InputType>& inputs();

  ModulatedConv(Api api, const OrtKernelInfo* info);
  void compute(OrtKernelContext* context);

  const Api api;

 private:
  stylegan::ModulatedConv<E> conv_;  // what does not depend on the input
  stylegan::PackedWeights<E> packed_;
  std::shared_ptr<Workspaces> workspaces_;
};

}  // namespace everface::ort
