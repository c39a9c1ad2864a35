// The table of kernels that each instruction set provides, and the plain data that they share.
#pragma once

#include <cstdint>

#include "everface/core/isa.hpp"
#include "everface/render.hpp"

namespace everface::render {

// Channels are padded to this many numbers, so that kernels read and write whole vectors.
constexpr std::int64_t kPad = 16;
// Samples whose places in the planes are found at once.
constexpr int kBlock = 16;
// Samples whose colours are computed at once.
constexpr int kShown = 12;
// Texel rows of one task.
constexpr std::int64_t kRows = 8;

// One plane, or several that are sampled at the same two coordinates, as the decoder's first layer sees it. Only the
// rectangle that the rays reach is there.
template <class R>
struct Field {
  int axes[2];         // of its column and row
  int sources[3];      // planes added up
  bool transposed[3];  // whether the plane's axes are the other way round
  int count = 0;       // of sources
  std::int64_t left = 0, top = 0, columns = 0, rows = 0;
  R* texels = nullptr;    // [rows, columns, hidden padded]
  R* gradient = nullptr;  // likewise, or null
};

// The decoder, padded with zeros.
template <class R>
struct Decoder {
  const R* first = nullptr;        // [features, hpad]: the first layer, transposed, times 1/3
  const R* first_back = nullptr;   // [hidden, fpad]: the same, not transposed
  const R* first_bias = nullptr;   // [hpad]
  const R* density = nullptr;      // [hpad]
  const R* colour = nullptr;       // [hidden, fpad], transposed
  const R* colour_back = nullptr;  // [features, hpad]
  const R* colour_bias = nullptr;  // [fpad]
  R density_bias = 0;
};

// One image's volume.
template <class R>
struct Scene : Decoder<R> {
  int fields = 0;
  Field<R> field[3];
  std::int64_t height = 0, width = 0;     // of the planes
  std::int64_t features = 0, hidden = 0;  // as given
  std::int64_t fpad = 0, hpad = 0;        // padded
  R scale[2], shift;                      // a coordinate to columns, to rows; see lookup.hpp
  const R* planes = nullptr;              // [3, features, height, width]
  R stop = 0, skip = 0, farthest = 0;
  bool white_back = false;
};

// One ray's numbers in and out.
template <class R>
struct Ray {
  const R *origin, *direction, *depths, *quantiles;
  std::int64_t samples, importance;
  R *features, *depth, *opacity;           // forward
  const R *dfeatures, *ddepth, *dopacity;  // backward
};

// Memory of one thread, for rays of n samples in all.
template <class R>
struct Work {
  R *depth, *sigma, *sorted_depth, *sorted_sigma, *weight, *share, *sums;  // [n + kPad] each
  R* hidden;                                                               // [n, hpad], by sample
  std::int32_t *order, *spare;                                             // [n + kPad]
  unsigned char* known;                                                    // [n]
  R* tile;                                                                 // see sizes in render.cpp
  // Backward alone, in the order of depth.
  R *front, *shine, *dshine, *dsigma;  // [n, hpad], [n, fpad], [n, fpad], [n + kPad]
};

// Gradients of the decoder summed by one thread; the arrays lie one after the other.
template <class R>
struct Sums {
  R *first, *first_bias, *density, *colour, *colour_bias;  // [features, hpad], [hpad], [hpad], [features, hpad], [fpad]
  R density_bias;
};

// What a chunk of rays leaves for the texels: places and gradients of the hidden layer.
template <class R>
struct Left {
  R* places;            // [n, 3]
  R* gradients;         // [n, hpad]
  std::int64_t* count;  // of this ray
};

template <class R>
struct Kernels {
  Isa isa;
  // Rows first ... last - 1 of a field's rectangle. buffer: [kRows, features, columns].
  void (*texels)(const Scene<R>& scene, const Field<R>& field, std::int64_t first, std::int64_t last, R* buffer);
  void (*march)(const Scene<R>& scene, const Ray<R>& ray, const Work<R>& work);
  void (*march_back)(const Scene<R>& scene, const Ray<R>& ray, const Work<R>& work, const Left<R>& left, Sums<R>* sums);
  // Adds to kPad channels of a field's gradient what rays left, each in its own part of `per_ray` samples.
  void (*scatter)(const Scene<R>& scene, const Field<R>& field, std::int64_t channel, std::int64_t rays,
                  std::int64_t per_ray, const R* places, const R* gradients, const std::int64_t* counts);
  // From the texels' gradients to those of the planes [3, features, height, width] (null for none) and the first layer.
  void (*texels_back)(const Scene<R>& scene, const Field<R>& field, std::int64_t first, std::int64_t last, R* buffer,
                      R* planes, Sums<R>* sums);
};

template <class R>
const Kernels<R>& kernels();

}  // namespace everface::render
