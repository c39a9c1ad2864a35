// Volume rendering of three planes in two passes (Chan et al. 2022, EG3D, arXiv 2112.07945, section 4), free of any
// framework: samples of the planes, the decoder, importance sampling and compositing in one call, forward and backward.
//
// A ray at a time: no feature of a sample outlives its ray. Both the sampling and the decoder's first layer are linear,
// so the layer is applied once to the planes' texels, and a sample reads its hidden layer from them.
#pragma once

#include <cstdint>

#include "everface/core/pool.hpp"

namespace everface::render {

// R is float or double.
template <class R>
struct Volume {
  std::int64_t batch = 0, features = 0, hidden = 0, height = 0, width = 0;
  const R* planes = nullptr;         // [batch, 3, features, height, width]
  const R* hidden_weight = nullptr;  // [hidden, features]
  const R* hidden_bias = nullptr;    // [hidden]
  const R* out_weight = nullptr;     // [1 + features, hidden]: density, then colours
  const R* out_bias = nullptr;       // [1 + features]
  int axes[3][2] = {};               // which of x, y, z are a plane's column and row
  double box_warp = 1;               // side of the cube that the planes span
};

// Depths ascend along a ray. Steps are 0 where all images, or all rays, share their numbers.
template <class R>
struct RayBundle {
  std::int64_t rays = 0;          // of each image
  const R* origins = nullptr;     // [batch, rays, 3]
  const R* directions = nullptr;  // [batch, rays, 3]
  std::int64_t samples = 0;       // at least 4 where there are importance samples, else 2
  const R* depths = nullptr;      // [samples] of image i and ray j at i depth_image + j depth_ray
  std::int64_t depth_image = 0, depth_ray = 0;
  std::int64_t importance = 0;
  const R* quantiles = nullptr;  // [importance], likewise
  std::int64_t quantile_image = 0, quantile_ray = 0;
};

// Both are fractions of a ray's light. A ray ends where less than `stop` is left, and colours of samples that give
// less than `skip` count as grey: together they change a feature by less than 2 stop + samples skip, an opacity by less
// than stop. 0 and 0 compute everything.
struct Options {
  bool white_back = false;
  double stop = 0, skip = 0;
};

// Of rays, or their gradients.
template <class R>
struct March {
  R* features = nullptr;  // [batch, rays, features], 2 x - 1 of the colours
  R* depth = nullptr;     // [batch, rays]; the largest first-pass depth where a ray meets nothing
  R* opacity = nullptr;   // [batch, rays]
};

// As the volume's parts; all of them, or null for those that nobody wants.
template <class R>
struct Gradients {
  R* planes = nullptr;
  R* hidden_weight = nullptr;
  R* hidden_bias = nullptr;
  R* out_weight = nullptr;
  R* out_bias = nullptr;
};

template <class R>
void forward(const Volume<R>& volume, const RayBundle<R>& rays, const Options& options, const March<R>& out,
             Pool& pool);

// Where samples lie carries no gradient, as in the original. No colour is skipped here.
template <class R>
void backward(const Volume<R>& volume, const RayBundle<R>& rays, const Options& options, const March<const R>& dout,
              const Gradients<R>& grads, Pool& pool);

}  // namespace everface::render
