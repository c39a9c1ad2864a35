// Nearest points of convex hulls, many queries at once, on the CPU.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace everface::hull {

// A hull prepared once for any number of queries: centred vertices, their Gram matrix and, where the vertices are
// affinely independent, its pseudo-inverse.
class Prepared;

// vertices: [m, d] row-major with row stride ld (elements), float32 or float64. beta >= 0 dilates the hull: weights sum
// to 1 and each is >= -beta, which is a scaling of the hull by 1 + m beta about the mean of its vertices.
// purpose: what to prepare.
// isa: "" for the best that this processor has, or one of isas(). Throws std::invalid_argument naming what is wrong.
enum class Purpose {
  kMany,     // all that pays for many queries: packed vertices, the projection to the affine hull
  kFew,      // for a few queries: the Gram matrix
  kGram,     // no queries: the Gram matrix without the vertices
  kVertices  // for a device, which makes the Gram matrix itself: the vertices and their norms
};
template <class T>
std::shared_ptr<const Prepared> prepare(const T* vertices, std::int64_t m, std::int64_t d, std::int64_t ld, double beta,
                                        int threads, Purpose purpose, const char* isa);

std::int64_t vertex_count(const Prepared& hull);
std::int64_t dimension(const Prepared& hull);

// The instruction sets compiled in that this processor can run, best first.
std::vector<const char*> isas();

struct Options {
  double tolerance = 1e-8;  // relative duality gap
  int threads = 1;
};

// Weights that are not zero (before the shift by -beta), query after query.
template <class T>
struct SparseWeights {
  std::vector<std::int64_t> start;  // [n + 1]
  std::vector<std::int32_t> index;
  std::vector<T> value;
};

// Where results go; a null pointer leaves that result out. gap is relative: (distance^2 - lower bound^2) over
// max(distance^2, (touching * radius of the hull)^2), see elements.hpp.
template <class T>
struct Result {
  T* weights = nullptr;  // [n, m]
  SparseWeights<T>* sparse = nullptr;
  T* distance = nullptr;               // [n]
  double* gap = nullptr;               // [n]
  std::int64_t first_not_finite = -1;  // the first query that holds NaN, infinity or a number too large to square
};

// queries: [n, d] with row stride ld.
template <class T>
void project(const Prepared& hull, const T* queries, std::int64_t n, std::int64_t ld, const Options& options,
             Result<T>& result);

}  // namespace everface::hull
