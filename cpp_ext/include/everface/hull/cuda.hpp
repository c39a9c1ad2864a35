// The CUDA kernels of this room, called with host memory: they copy in, compute and copy out.
#pragma once

#include <cstdint>

namespace everface::hull::cuda {

// As everface::hull::project, for float64 queries and dense weights. vertices: [m, d] centred and scaled, gram [m, m]
// with the shift; queries [n, d] centred and scaled alike. Throws std::runtime_error with CUDA's message.
struct ProjectCall {
  std::int64_t n = 0, m = 0, d = 0;
  const double* queries = nullptr;
  const double* vertices = nullptr;
  const double* gram = nullptr;
  double shift = 0.0, radius2 = 0.0, touching2 = 0.0, tolerance = 0.0;
  double* weights = nullptr;    // [n, m]
  double* distance2 = nullptr;  // [n]
  double* gap = nullptr;        // [n]
};
void project(const ProjectCall& call);

// ER-Hull's scores of c subsets of b <= kSmall items, from the pool's Gram matrix [n, n] (with the shift).
struct ScoreCall {
  std::int64_t n = 0, c = 0, b = 0, groups = 0;
  const double* gram = nullptr;
  const std::int32_t* group = nullptr;
  const double* spread = nullptr;
  const std::int64_t* subsets = nullptr;
  double shift = 0.0;
  double* score = nullptr;  // [c]
};
void hull_scores(const ScoreCall& call);

// gram [n, n] := X X^T for float32 rows X [n, d], by tensor cores where the device has TF32 ones: each factor is split
// in two, which leaves about 21 bits of precision.
void gram_f32(const float* rows, std::int64_t n, std::int64_t d, float* gram);

}  // namespace everface::hull::cuda
