// The CUDA implementations behind the same objects as the CPU ones; without CUDA each throws std::runtime_error.
#pragma once

#include <cstdint>

#include "everface/hull/project.hpp"
#include "everface/hull/scores.hpp"

namespace everface::hull {

// hull: prepared with Purpose::kVertices. queries: [n, d] float64 in the caller's units, in host or device memory;
// weights [n, m], distance [n] and gap [n] in host memory, as in Result.
void project_on_device(const Prepared& hull, const double* queries, std::int64_t n, double tolerance, double* weights,
                       double* distance, double* gap);

// As hull_scores; pool: prepared with Purpose::kVertices, group and spread: as for make_pool; b at most 16.
struct PoolItems {
  const std::int32_t* group = nullptr;
  std::int32_t groups = 0;
  const double* spread = nullptr;
};
void scores_on_device(const Prepared& pool, const PoolItems& items, const std::int64_t* subsets, std::int64_t c,
                      std::int64_t b, double* score);

}  // namespace everface::hull
