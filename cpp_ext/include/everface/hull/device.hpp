// The CUDA implementations behind the same objects as the CPU ones; without CUDA each throws std::runtime_error.
#pragma once

#include <cstdint>

#include "everface/hull/project.hpp"
#include "everface/hull/scores.hpp"

namespace everface::hull {

// queries: [n, d] float64 in the caller's units; weights [n, m], distance [n] and gap [n] as in Result.
void project_on_device(const Prepared& hull, const double* queries, std::int64_t n, double tolerance, double* weights,
                       double* distance, double* gap);

// As hull_scores; b at most 16.
void scores_on_device(const Pool& pool, const std::int64_t* subsets, std::int64_t c, std::int64_t b, double* score);

// gram [n, n] := X X^T of float32 rows [n, d] by tensor cores.
void gram_on_device(const float* rows, std::int64_t n, std::int64_t d, float* gram);

}  // namespace everface::hull
