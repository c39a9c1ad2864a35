// ToRGB (domain everface, version 1): a modulated 1x1 convolution to a few colours, added to the upsampled image of the
// block before: image = up(skip) + clamp(weight (styles x) + bias).
//   x       T [n, h, w, cin], channels last; T is float32 or bfloat16
//   styles  float32 [n, cin], the layer's gain included
//   weight  float32 [colours, cin, 1, 1], at most 4 colours
//   bias    float32 [colours]
//   skip    float32 [n, colours, h / 2, w / 2]; optional
//   image   float32 [n, colours, h, w]
// Attribute, required: clamp (above 0; infinite for none).
#pragma once

#include "workspace.hpp"

namespace everface::ort {

template <class E>
class ToRGB {
 public:
  using Output = float;
  static const char* name() { return "ToRGB"; }
  static const std::vector<InputType>& inputs();

  ToRGB(Api api, const OrtKernelInfo* info);
  void compute(OrtKernelContext* context);

  const Api api;

 private:
  float clamp_;
  std::shared_ptr<Workspaces> workspaces_;
};

}  // namespace everface::ort
