// What the CUDA kernels compute, by a team of one thread on the host, against the CPU's kernels.
#include "everface/hull/team_qp.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "check.hpp"
#include "everface/hull/project.hpp"
#include "hull/prepared.hpp"

using namespace everface;
using everface::test::gaussian;

namespace {

// What a device gets, and the entries of the Gram matrix that it makes of it.
void device_elements_agree() {
  const std::int64_t m = 9, d = 21;
  const auto vertices = gaussian(m * d, 13);
  const auto host = hull::prepare<double>(vertices.data(), m, d, d, 0.02, 1, hull::Purpose::kMany, "");
  const auto bare = hull::prepare<double>(vertices.data(), m, d, d, 0.02, 1, hull::Purpose::kVertices, "");
  const hull::View &a = host->view, &b = bare->view;
  CHECK(b.gram == nullptr && std::abs(a.shift - b.shift) <= 1e-14 * a.shift);
  CHECK(std::abs(a.radius2 - b.radius2) <= 1e-14 && std::abs(a.touching2 - b.touching2) <= 1e-14);
  std::vector<double> rows;
  for (std::int64_t i = 0; i < m; ++i)
    rows.insert(rows.end(), b.vertices + i * b.ld_vertices, b.vertices + i * b.ld_vertices + d);
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < m; ++j) {
      CHECK(std::abs(hull::gram_entry(rows.data(), d, i, j, b.shift) - a.gram[i * a.ld_gram + j]) <= 1e-13);
    }
    for (std::int64_t k = 0; k < d; ++k) {
      const auto at = static_cast<std::size_t>(i * d + k);
      CHECK(std::abs(hull::to_ours(vertices[at], b.centre[k], b.scale) - rows[at]) <= 1e-15);
    }
  }
}

// The code that a CUDA block runs, by a team of one.
void team_solver_agrees() {
  for (const auto& [m, d] : {std::array<std::int64_t, 2>{6, 40}, {30, 50}, {45, 12}}) {
    const std::int64_t n = 25;
    const auto vertices = gaussian(static_cast<std::size_t>(m * d), 7);
    auto queries = gaussian(static_cast<std::size_t>(n * d), 8);
    for (std::int64_t k = 0; k < d; ++k)
      queries[static_cast<std::size_t>(k)] =
          0.5 * (vertices[static_cast<std::size_t>(k)] + vertices[static_cast<std::size_t>(d + k)]);
    const auto prepared = hull::prepare<double>(vertices.data(), m, d, d, 0.0, 1, hull::Purpose::kMany, "");
    std::vector<double> distance(static_cast<std::size_t>(n));
    hull::Result<double> result;
    result.distance = distance.data();
    hull::project<double>(*prepared, queries.data(), n, d, {}, result);
    const hull::View& v = prepared->view;
    std::vector<double> compact(static_cast<std::size_t>(m * d)), gram(static_cast<std::size_t>(m * m));
    for (std::int64_t i = 0; i < m; ++i) {
      std::copy_n(v.vertices + i * v.ld_vertices, d, compact.begin() + i * d);
      std::copy_n(v.gram + i * v.ld_gram, m, gram.begin() + i * m);
    }
    hull::TeamHull team_hull;
    team_hull.m = static_cast<int>(m), team_hull.d = static_cast<int>(d);
    team_hull.vertices = compact.data(), team_hull.gram = gram.data();
    team_hull.shift = v.shift, team_hull.radius2 = v.radius2, team_hull.touching2 = v.touching2;
    std::vector<double> doubles(static_cast<std::size_t>(hull::TeamMemory::doubles(team_hull.m, team_hull.d)));
    std::vector<int> ints(static_cast<std::size_t>(hull::TeamMemory::ints(team_hull.m)));
    const hull::TeamMemory memory(doubles.data(), ints.data(), team_hull.m, team_hull.d);
    hull::SerialTeam team;
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t k = 0; k < d; ++k)
        memory.q[k] = (queries[static_cast<std::size_t>(i * d + k)] - v.centre[k]) * v.query_scale;
      hull::TeamSolver<hull::SerialTeam> solver(team, team_hull, memory);
      double distance2 = 0.0, gap = 0.0;
      solver.project(1e-8, distance2, gap);
      CHECK(gap <= 1e-8);
      const double found = std::sqrt(distance2) * prepared->unscale;
      CHECK(std::abs(found - distance[static_cast<std::size_t>(i)]) < 1e-8);
    }
  }
}

}  // namespace

int main() {
  device_elements_agree();
  team_solver_agrees();
  return everface::test::finish();
}
