// Hands prepared hulls and pools to the CUDA kernels.
#include "everface/hull/device.hpp"

#include <cmath>
#include <stdexcept>
#include <vector>

#include "everface/hull/cuda.hpp"
#include "everface/hull/small_qp.hpp"
#include "prepared.hpp"

namespace everface::hull {

#ifdef EVERFACE_HAVE_CUDA

namespace {

// [rows, columns] without the padding.
std::vector<double> compact(const double* from, std::int64_t rows, std::int64_t columns, std::int64_t ld) {
  std::vector<double> out;
  out.reserve(static_cast<std::size_t>(rows * columns));
  for (std::int64_t i = 0; i < rows; ++i) out.insert(out.end(), from + i * ld, from + i * ld + columns);
  return out;
}

}  // namespace

void project_on_device(const Prepared& hull, const double* queries, std::int64_t n, double tolerance, double* weights,
                       double* distance, double* gap) {
  const View& v = hull.view;
  const std::vector<double> vertices = compact(v.vertices, v.m, v.d, v.ld_vertices);
  cuda::ProjectCall call;
  call.n = n, call.m = v.m, call.d = v.d;
  call.queries = queries, call.vertices = vertices.data();
  call.centre = v.centre, call.query_scale = v.query_scale;
  call.shift = v.shift, call.radius2 = v.radius2, call.touching2 = v.touching2;
  call.tolerance = tolerance;
  call.weights = weights, call.distance2 = distance, call.gap = gap;
  cuda::project(call);
  for (std::int64_t i = 0; i < n; ++i) distance[i] = std::sqrt(distance[i]) * hull.unscale;
  for (std::int64_t i = 0; i < n * v.m; ++i) weights[i] = hull.stretch * weights[i] - hull.beta;
}

void scores_on_device(const Prepared& pool, const PoolItems& items, const std::int64_t* subsets, std::int64_t c,
                      std::int64_t b, double* score) {
  if (b > kSmall) throw std::runtime_error("scores on CUDA: expected at most 16 items in a subset");
  const View& v = pool.view;
  const std::vector<double> latents = compact(v.vertices, v.m, v.d, v.ld_vertices);
  // The kernel works in our units; spreads are the caller's, and scores go back to them.
  std::vector<double> spread(items.spread, items.spread + v.m);
  for (double& one : spread) one /= pool.unscale;
  cuda::ScoreCall call;
  call.n = v.m, call.d = v.d, call.c = c, call.b = b, call.groups = items.groups;
  call.pool = latents.data(), call.group = items.group, call.spread = spread.data();
  call.subsets = subsets, call.shift = v.shift, call.score = score;
  cuda::hull_scores(call);
  for (std::int64_t i = 0; i < c; ++i) score[i] *= pool.unscale;
}

#else

namespace {
[[noreturn]] void absent() { throw std::runtime_error("built without CUDA"); }
}  // namespace

void project_on_device(const Prepared&, const double*, std::int64_t, double, double*, double*, double*) { absent(); }
void scores_on_device(const Prepared&, const PoolItems&, const std::int64_t*, std::int64_t, std::int64_t, double*) {
  absent();
}

#endif

}  // namespace everface::hull
