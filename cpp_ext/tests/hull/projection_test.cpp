// Projection without Python, on every instruction set that the processor runs.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>

#include "check.hpp"
#include "everface/hull/project.hpp"
#include "hull/prepared.hpp"

using namespace everface;
using everface::test::gaussian;

namespace {

constexpr std::int64_t kNone = -1;

// Frank-Wolfe gap of weights, computed from the vertices alone.
double gap_of(const std::vector<double>& vertices, const double* query, const double* w, std::int64_t m,
              std::int64_t d) {
  std::vector<double> r(query, query + d);
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t k = 0; k < d; ++k)
      r[static_cast<std::size_t>(k)] -= w[i] * vertices[static_cast<std::size_t>(i * d + k)];
  }
  double top = -1e300, here = 0.0;
  for (std::int64_t i = 0; i < m; ++i) {
    double g = 0.0;
    for (std::int64_t k = 0; k < d; ++k)
      g += r[static_cast<std::size_t>(k)] * vertices[static_cast<std::size_t>(i * d + k)];
    top = std::max(top, g);
    here += w[i] * g;
  }
  return top - here;
}

void projects_on_every_instruction_set() {
  for (const char* isa : hull::isas()) {
    for (const auto& [m, d, n] :
         {std::array<std::int64_t, 3>{1, 1, 1}, {3, 2, 9}, {17, 33, 70}, {64, 300, 5}, {90, 20, 11}}) {
      auto vertices = gaussian(static_cast<std::size_t>(m * d), 1);
      auto queries = gaussian(static_cast<std::size_t>(n * d), 2);
      for (std::int64_t k = 0; k < d; ++k) queries[static_cast<std::size_t>(k)] = vertices[static_cast<std::size_t>(k)];
      const auto prepared = hull::prepare<double>(vertices.data(), m, d, d, 0.0, 2, hull::Purpose::kMany, isa);
      std::vector<double> w(static_cast<std::size_t>(n * m)), distance(static_cast<std::size_t>(n)), gap(distance);
      hull::Result<double> result;
      hull::SparseWeights<double> sparse;
      result.weights = w.data(), result.distance = distance.data(), result.gap = gap.data(), result.sparse = &sparse;
      hull::Options options;
      options.threads = 2;
      hull::project<double>(*prepared, queries.data(), n, d, options, result);
      CHECK(result.first_not_finite == kNone);
      CHECK(distance[0] < 1e-12);
      CHECK(sparse.start.size() == static_cast<std::size_t>(n + 1) && sparse.index.size() == sparse.value.size());
      for (std::int64_t i = 0; i < n; ++i) {
        CHECK(gap[static_cast<std::size_t>(i)] <= 1e-8);
        const double limit = 1e-8 * std::pow(distance[static_cast<std::size_t>(i)], 2) + 1e-11;
        CHECK(gap_of(vertices, queries.data() + i * d, w.data() + i * m, m, d) <= limit);
      }
    }
  }
}

void float32_agrees_with_float64() {
  const std::int64_t m = 40, d = 129, n = 33;
  const auto vertices = gaussian(m * d, 3), queries = gaussian(n * d, 4);
  const std::vector<float> v32(vertices.begin(), vertices.end()), q32(queries.begin(), queries.end());
  const auto wide = hull::prepare<double>(vertices.data(), m, d, d, 0.02, 1, hull::Purpose::kMany, "");
  const auto narrow = hull::prepare<float>(v32.data(), m, d, d, 0.02, 1, hull::Purpose::kMany, "");
  std::vector<double> distance(n);
  std::vector<float> distance32(n);
  hull::Result<double> result;
  hull::Result<float> result32;
  result.distance = distance.data(), result32.distance = distance32.data();
  hull::project<double>(*wide, queries.data(), n, d, {}, result);
  hull::project<float>(*narrow, q32.data(), n, d, {1e-5, 1}, result32);
  for (std::int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    CHECK(std::abs(distance[at] - distance32[at]) < 1e-5 * distance[at]);
  }
}

// Hulls prepared for a few queries, from Gram matrices of unpacked rows, give the same points.
template <class T>
void few_queries_agree(double tolerance) {
  for (const char* isa : hull::isas()) {
    for (const auto& [m, d] : {std::array<std::int64_t, 2>{1, 1}, {2, 5}, {5, 3}, {50, 77}, {130, 31}}) {
      const std::int64_t n = 3;
      const auto v64 = gaussian(static_cast<std::size_t>(m * d), 10),
                 q64 = gaussian(static_cast<std::size_t>(n * d), 11);
      const std::vector<T> vertices(v64.begin(), v64.end()), queries(q64.begin(), q64.end());
      std::vector<T> distance[2] = {std::vector<T>(n), std::vector<T>(n)};
      std::vector<double> gap(n);
      for (int i = 0; i < 2; ++i) {
        const auto purpose = i ? hull::Purpose::kMany : hull::Purpose::kFew;
        const auto prepared = hull::prepare<T>(vertices.data(), m, d, d, 0.02, 1, purpose, isa);
        hull::Result<T> result;
        result.distance = distance[i].data(), result.gap = gap.data();
        hull::project<T>(*prepared, queries.data(), n, d, {tolerance, 1}, result);
        for (const double one : gap) CHECK(one <= tolerance);
      }
      for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
        CHECK(std::abs(distance[0][i] - distance[1][i]) <= std::sqrt(tolerance) * 1e-2 * (1 + distance[1][i]));
      }
    }
  }
}

// The Gram matrix without the vertices, a few columns at a time, is the one beside them.
void gram_of_columns_agrees() {
  for (const char* isa : hull::isas()) {
    for (const auto& [m, d] : {std::array<std::int64_t, 2>{1, 1}, {7, 300}, {30, 513}, {150, 20}}) {
      const auto vertices = gaussian(static_cast<std::size_t>(m * d), 12);
      const auto with = hull::prepare<double>(vertices.data(), m, d, d, 0.0, 1, hull::Purpose::kMany, isa);
      const auto without = hull::prepare<double>(vertices.data(), m, d, d, 0.0, 1, hull::Purpose::kGram, isa);
      const hull::View &a = with->view, &b = without->view;
      for (std::int64_t i = 0; i < m * a.ld_gram; ++i) CHECK(std::abs(a.gram[i] - b.gram[i]) <= 1e-13 * a.radius2);
    }
  }
}

void bad_numbers_are_found() {
  const auto vertices = gaussian(5 * 6, 5);
  auto queries = gaussian(4 * 6, 6);
  queries[2 * 6 + 1] = std::numeric_limits<double>::quiet_NaN();
  const auto prepared = hull::prepare<double>(vertices.data(), 5, 6, 6, 0.0, 1, hull::Purpose::kMany, "");
  hull::Result<double> result;
  hull::project<double>(*prepared, queries.data(), 4, 6, {}, result);
  CHECK(result.first_not_finite == 2);
  bool thrown = false;
  try {
    hull::prepare<double>(queries.data(), 4, 6, 6, 0.0, 1, hull::Purpose::kMany, "");
  } catch (const std::invalid_argument&) {
    thrown = true;
  }
  CHECK(thrown);
}

}  // namespace

int main() {
  projects_on_every_instruction_set();
  float32_agrees_with_float64();
  few_queries_agree<double>(1e-8);
  few_queries_agree<float>(1e-5);
  gram_of_columns_agrees();
  bad_numbers_are_found();
  return everface::test::finish();
}
