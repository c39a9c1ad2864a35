// Scores of many candidate subsets of one pool, all from the pool's Gram matrix.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace everface::hull {

class Pool;  // Gram matrix, timestamps and spreads of a pool of latents

// pool: [n, d] row-major, stride ld; group: [n] timestamps as 0..groups-1; spread: [n]. Throws std::invalid_argument.
std::shared_ptr<const Pool> make_pool(const double* pool, std::int64_t n, std::int64_t d, std::int64_t ld,
                                      const std::int32_t* group, std::int32_t groups, const double* spread,
                                      int threads);

std::int64_t pool_size(const Pool& pool);

// subsets: [c, b] distinct indices in each row (the caller checks). score: [c] ER-Hull's score.
void hull_scores(const Pool& pool, const std::int64_t* subsets, std::int64_t c, std::int64_t b, int threads,
                 double* score);

// The subset of least score below `bound` (the first of equals): its row, or -1 where there is none, and its score.
// Most subsets need no exact score: the distances to the affine hulls bound it from below.
struct Best {
  std::int64_t row = -1;
  double score = 0.0;
};
Best best_subset(const Pool& pool, const std::int64_t* subsets, std::int64_t c, std::int64_t b, double bound,
                 int threads);

// log_volume: [c] natural logarithm of sqrt(det Gram) of each subset's edges; -infinity where it is flat.
void simplex_log_volumes(const Pool& pool, const std::int64_t* subsets, std::int64_t c, std::int64_t b, int threads,
                         double* log_volume);

// distance: [n] of every pool item to the hull of one subset; weight: [n, b] of the nearest point.
void pool_distances(const Pool& pool, const std::int64_t* subset, std::int64_t b, int threads, double* distance,
                    double* weight);

}  // namespace everface::hull
