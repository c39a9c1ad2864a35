// Scores of subsets of a pool, their lower bounds, and the distances that they are made of.
#include "everface/hull/scores.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "check.hpp"

using namespace everface;
using everface::test::gaussian;

namespace {

constexpr std::int64_t kNone = -1;

void scores_and_bounds() {
  const std::int64_t n = 26, d = 40;
  const auto pool = gaussian(n * d, 9);
  std::vector<std::int32_t> group(n);
  std::vector<double> spread(n, 3.0);
  for (std::size_t i = 0; i < group.size(); ++i) group[i] = static_cast<std::int32_t>(i % 4);
  const auto made = hull::make_pool(pool.data(), n, d, d, group.data(), 4, spread.data(), 2);
  for (const std::int64_t b : {1, 2, 5, 16, 20}) {
    const std::int64_t c = 50;
    std::vector<std::int64_t> subsets;
    std::mt19937 engine(1);
    for (std::int64_t i = 0; i < c; ++i) {
      std::vector<std::int64_t> all(n);
      for (std::int64_t j = 0; j < n; ++j) all[static_cast<std::size_t>(j)] = j;
      std::shuffle(all.begin(), all.end(), engine);
      subsets.insert(subsets.end(), all.begin(), all.begin() + b);
    }
    std::vector<double> score(c), volume(c), distance(n), weight(static_cast<std::size_t>(n * b));
    hull::hull_scores(*made, subsets.data(), c, b, 2, score.data());
    hull::simplex_log_volumes(*made, subsets.data(), c, b, 2, volume.data());
    const auto least = std::min_element(score.begin(), score.end()) - score.begin();
    const hull::Best best = hull::best_subset(*made, subsets.data(), c, b, 1e300, 2);
    CHECK(best.row == least && best.score == score[static_cast<std::size_t>(least)]);
    CHECK(hull::best_subset(*made, subsets.data(), c, b, best.score, 2).row == kNone);
    hull::pool_distances(*made, subsets.data(), b, 2, distance.data(), weight.data());
    for (std::int64_t i = 0; i < b; ++i)
      CHECK(distance[static_cast<std::size_t>(subsets[static_cast<std::size_t>(i)])] < 1e-6);
    for (const double one : volume) CHECK(std::isfinite(one));
  }
}

}  // namespace

int main() {
  scores_and_bounds();
  return everface::test::finish();
}
