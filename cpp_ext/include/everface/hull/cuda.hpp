// The CUDA kernels of this room, called with host memory: they copy in, compute and copy out. Gram matrices are made on
// the device, by its float64 tensor cores where it has any.
#pragma once

#include <cstdint>

namespace everface::hull::cuda {

// As everface::hull::project, for float64 queries and dense weights. vertices: [m, d] centred and scaled. queries
// [n, d] in the caller's units, in host or in device memory. Throws std::runtime_error with CUDA's message.
struct ProjectCall {
  std::int64_t n = 0, m = 0, d = 0;
  const double* queries = nullptr;
  const double* vertices = nullptr;
  const double* centre = nullptr;  // [d]
  double query_scale = 1.0;
  double shift = 0.0, radius2 = 0.0, touching2 = 0.0, tolerance = 0.0;
  double* weights = nullptr;    // [n, m]
  double* distance2 = nullptr;  // [n]
  double* gap = nullptr;        // [n]
};
void project(const ProjectCall& call);

// ER-Hull's scores of c subsets of b <= kSmall items of a pool [n, d], centred and scaled; spreads in the same scale.
struct ScoreCall {
  std::int64_t n = 0, d = 0, c = 0, b = 0, groups = 0;
  const double* pool = nullptr;
  const std::int32_t* group = nullptr;
  const double* spread = nullptr;
  const std::int64_t* subsets = nullptr;
  double shift = 0.0;
  double* score = nullptr;  // [c]
};
void hull_scores(const ScoreCall& call);

}  // namespace everface::hull::cuda
