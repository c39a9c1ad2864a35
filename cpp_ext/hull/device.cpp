// Hands prepared hulls and pools to the CUDA kernels.
#include "everface/hull/device.hpp"

#include <cmath>
#include <stdexcept>
#include <vector>

#include "everface/hull/cuda.hpp"
#include "everface/hull/small_qp.hpp"
#include "pool.hpp"

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
  const std::vector<double> gram = compact(v.gram, v.m, v.m, v.ld_gram);
  std::vector<double> centred(static_cast<std::size_t>(n * v.d));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t k = 0; k < v.d; ++k) {
      centred[static_cast<std::size_t>(i * v.d + k)] = (queries[i * v.d + k] - v.centre[k]) * v.query_scale;
    }
  }
  cuda::ProjectCall call;
  call.n = n, call.m = v.m, call.d = v.d;
  call.queries = centred.data(), call.vertices = vertices.data(), call.gram = gram.data();
  call.shift = v.shift, call.radius2 = v.radius2, call.touching2 = v.touching2;
  call.tolerance = tolerance;
  call.weights = weights, call.distance2 = distance, call.gap = gap;
  cuda::project(call);
  for (std::int64_t i = 0; i < n; ++i) distance[i] = std::sqrt(distance[i]) * hull.unscale;
  for (std::int64_t i = 0; i < n * v.m; ++i) weights[i] = hull.stretch * weights[i] - hull.beta;
}

void scores_on_device(const Pool& pool, const std::int64_t* subsets, std::int64_t c, std::int64_t b, double* score) {
  if (b > kSmall) throw std::runtime_error("scores on CUDA: expected at most 16 items in a subset");
  const View& v = pool.prepared->view;
  const std::vector<double> gram = compact(v.gram, v.m, v.m, v.ld_gram);
  // The kernel works in our units; spreads are the caller's, and scores go back to them.
  std::vector<double> spread = pool.spread;
  for (double& one : spread) one /= pool.prepared->unscale;
  cuda::ScoreCall call;
  call.n = v.m, call.c = c, call.b = b, call.groups = pool.groups;
  call.gram = gram.data(), call.group = pool.group.data(), call.spread = spread.data();
  call.subsets = subsets, call.shift = v.shift, call.score = score;
  cuda::hull_scores(call);
  for (std::int64_t i = 0; i < c; ++i) score[i] *= pool.prepared->unscale;
}

void gram_on_device(const float* rows, std::int64_t n, std::int64_t d, float* gram) {
  cuda::gram_f32(rows, n, d, gram);
}

#else

namespace {
[[noreturn]] void absent() { throw std::runtime_error("built without CUDA"); }
}  // namespace

void project_on_device(const Prepared&, const double*, std::int64_t, double, double*, double*, double*) { absent(); }
void scores_on_device(const Pool&, const std::int64_t*, std::int64_t, std::int64_t, double*) { absent(); }
void gram_on_device(const float*, std::int64_t, std::int64_t, float*) { absent(); }

#endif

}  // namespace everface::hull
