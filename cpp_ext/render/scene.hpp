// The memory of one call: padded weights, fields, and what each thread works in.
#pragma once

#include <cstddef>
#include <vector>

#include "everface/core/carver.hpp"
#include "kernels.hpp"

namespace everface::render {

inline std::int64_t padded(std::int64_t count) { return (count + kPad - 1) / kPad * kPad; }

// What one thread needs.
template <class R>
struct Desk {
  Work<R> work;
  R* buffer;     // for texels and their adjoint
  Sums<R> sums;  // backward alone
};

// Fields of a volume (without memory), cut to what rays can reach in images image = 0 ... batch - 1.
template <class R>
std::vector<Scene<R>> make_scenes(const Volume<R>& volume, const RayBundle<R>& rays, const Options& options);

// Padded copies of the decoder.
template <class R>
void place_decoder(const Volume<R>& volume, Scene<R>* scene, Carver* carver);

template <class R>
Desk<R> place_desk(const Scene<R>& scene, std::int64_t samples, bool backward, Carver* carver);

template <class R>
void clear(const Scene<R>& scene, Sums<R>* sums);

// total += one
template <class R>
void add(const Scene<R>& scene, const Sums<R>& one, Sums<R>* total);

// Unpads the sums.
template <class R>
void write(const Scene<R>& scene, const Sums<R>& sums, const Gradients<R>& grads);

}  // namespace everface::render
