// Preparing a hull: centre, scale, Gram matrix, pseudo-inverse.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>

#include "everface/core/pool.hpp"
#include "everface/hull/elements.hpp"
#include "everface/hull/project.hpp"
#include "prepared.hpp"

namespace everface::hull {
namespace {

constexpr std::int64_t kRows = 56;       // rows of a matrix product handed to a thread at once
constexpr std::int64_t kUnpacked = 128;  // vertices up to which packing them costs more than it gains

const Intake<double>& intake(const Kernels& k, const double*) { return k.intake_f64; }
const Intake<float>& intake(const Kernels& k, const float*) { return k.intake_f32; }

template <class T>
void measure_vertices(Prepared& hull, const T* from, std::int64_t ld) {
  View& v = hull.view;
  double* centre = hull.centre.get();
  const double share = 1.0 / static_cast<double>(v.m);
  double largest = 0.0, check = 0.0;
  intake(*hull.kernels, from).mean(from, v.m, v.d, ld, centre);
  for (std::int64_t k = 0; k < v.d; ++k) centre[k] *= share;
  intake(*hull.kernels, from).largest(from, v.m, v.d, ld, centre, &largest, &check);
  if (!(check == 0.0))
    throw std::invalid_argument("vertices: expected finite numbers, found NaN, infinity or overflow");
  // A power of two brings the coordinates near 1, so that squares neither overflow nor vanish.
  int exponent = 0;
  if (largest > 0.0) std::frexp(largest * std::sqrt(static_cast<double>(v.d)), &exponent);
  v.scale = std::ldexp(1.0, -std::max(-1000, std::min(1000, exponent)));
}

// What lies below the diagonal, from what lies above it.
void mirror(const View& v, double* out) {
  for (std::int64_t i = 1; i < v.m; ++i) {
    for (std::int64_t j = 0; j < i; ++j) out[i * v.ld_gram + j] = out[j * v.ld_gram + i];
  }
}

// out := A A^T, rows shared by the threads; packed is A in panels.
void symmetric_product(const Prepared& hull, const double* a, std::int64_t lda, std::int64_t depth,
                       const double* packed, double* out, int threads) {
  const View& v = hull.view;
  std::atomic<std::int64_t> next{0};
  together(threads, [&](int) {
    for (std::int64_t i; (i = next.fetch_add(kRows)) < v.m;) {
      hull.kernels->gram_rows(a, lda, i, std::min(i + kRows, v.m), packed, v.m, depth, out, v.ld_gram);
    }
  });
  mirror(v, out);
}

// The Gram matrix without the centred vertices: a few columns at a time, which stay in cache.
template <class T>
void gram_of_columns(Prepared& hull, const T* from, std::int64_t ld) {
  View& v = hull.view;
  const Kernels& run = *hull.kernels;
  Aligned<double> part(static_cast<std::size_t>(v.m * kDepth + kPad), false);
  for (std::int64_t k = 0; k < v.d; k += kDepth) {
    const std::int64_t depth = std::min(kDepth, v.d - k), width = padded(depth);
    intake(run, from).centred(from + k, v.m, depth, ld, v.centre + k, v.scale, part.get(), width);
    run.gram_dots(part.get(), width, v.m, width, hull.gram.get(), v.ld_gram, k > 0);
  }
  mirror(v, hull.gram.get());
}

// The centred vertices, their Gram matrix, and packed vertices for many queries.
template <class T>
void gram_and_vertices(Prepared& hull, const T* from, std::int64_t ld, int threads, Purpose purpose) {
  View& v = hull.view;
  const Kernels& run = *hull.kernels;
  hull.vertices = Aligned<double>(static_cast<std::size_t>(v.m * v.ld_vertices + kPad), false);
  v.vertices = hull.vertices.get();
  intake(run, from).centred(from, v.m, v.d, ld, v.centre, v.scale, hull.vertices.get(), v.ld_vertices);
  if (purpose == Purpose::kVertices) return;
  if (purpose != Purpose::kMany && v.m <= kUnpacked) {
    run.gram_dots(v.vertices, v.ld_vertices, v.m, v.ld_vertices, hull.gram.get(), v.ld_gram, false);
    mirror(v, hull.gram.get());
    return;
  }
  Aligned<double> packed(run.packed_size(v.m, v.d, sizeof(double)) / sizeof(double), false);
  run.pack_f64(v.vertices, v.m, v.d, v.ld_vertices, packed.get());
  symmetric_product(hull, v.vertices, v.ld_vertices, v.d, packed.get(), hull.gram.get(),
                    v.m * v.d > 1 << 18 ? threads : 1);
  if (sizeof(T) == sizeof(double)) {
    hull.packed_f64 = std::move(packed);
    v.packed = hull.packed_f64.get();
  } else {
    hull.packed_f32 = Aligned<float>(run.packed_size(v.m, v.d, sizeof(float)) / sizeof(float), false);
    run.pack_f32(v.vertices, v.m, v.d, v.ld_vertices, hull.packed_f32.get());
    v.packed = hull.packed_f32.get();
  }
}

// The pseudo-inverse of V V^T: its null space is the vector of ones, because the vertices are centred.
void invert(Prepared& hull, int threads) {
  View& v = hull.view;
  const std::int64_t m = v.m, ld = padded(m) + kPad;
  Aligned<double> upper(static_cast<std::size_t>((m + 1) * ld));
  for (std::int64_t i = 0; i < m; ++i) {
    std::memcpy(upper.get() + i * ld, v.gram + i * v.ld_gram, static_cast<std::size_t>(m) * sizeof(double));
  }
  // Beyond a condition of about 1e10 the affine hull's weights mean nothing; the active set copes better.
  if (!hull.kernels->factor(upper.get(), m, ld, 1e-10 * v.shift)) return;
  Aligned<double> half(static_cast<std::size_t>(m * v.ld_gram + kPad));
  hull.kernels->invert_upper(upper.get(), m, ld, half.get(), v.ld_gram);
  hull.packed_inverse = Aligned<double>(hull.kernels->packed_size(m, m, sizeof(double)) / sizeof(double), false);
  hull.kernels->pack_f64(half.get(), m, m, v.ld_gram, hull.packed_inverse.get());
  hull.inverse = Aligned<double>(static_cast<std::size_t>(m * v.ld_gram));
  double* inverse = hull.inverse.get();
  symmetric_product(hull, half.get(), v.ld_gram, m, hull.packed_inverse.get(), inverse, threads);
  const double ones = 1.0 / (v.shift * static_cast<double>(m) * static_cast<double>(m));
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < m; ++j) inverse[i * v.ld_gram + j] -= ones;
    for (std::int64_t j = m; j < v.ld_gram; ++j) inverse[i * v.ld_gram + j] = 0.0;
    v.weight_noise = std::max(v.weight_noise, inverse[i * v.ld_gram + i]);
  }
  v.weight_noise = std::min(1e-8, 2e-14 * v.radius2 * v.weight_noise);
  hull.kernels->pack_f64(inverse, m, m, v.ld_gram, hull.packed_inverse.get());
  v.inverse = inverse;
  v.packed_inverse = hull.packed_inverse.get();
}

void finish_norms(Prepared& hull, bool have_gram) {
  View& v = hull.view;
  double* diagonal = hull.diagonal.get();
  double total = 0.0;
  for (std::int64_t i = 0; i < v.m; ++i) {
    const double* row = v.vertices + i * v.ld_vertices;
    diagonal[i] = have_gram ? v.gram[i * v.ld_gram + i] : std::inner_product(row, row + v.d, row, 0.0);
    v.radius2 = std::max(v.radius2, diagonal[i]);
    total += diagonal[i];
  }
  for (std::int64_t i = v.m; i < padded(v.m); ++i) diagonal[i] = 1.0;
  v.shift = total > 0.0 ? total / static_cast<double>(v.m) : 1.0;
}

void finish_gram(Prepared& hull) {
  const View& v = hull.view;
  double* gram = hull.gram.get();
  for (std::int64_t i = 0; i < v.m; ++i) {
    for (std::int64_t j = 0; j < v.m; ++j) gram[i * v.ld_gram + j] += v.shift;
    for (std::int64_t j = v.m; j < v.ld_gram; ++j) gram[i * v.ld_gram + j] = 0.0;
  }
}

void require(bool ok, const char* message) {
  if (!ok) throw std::invalid_argument(message);
}

}  // namespace

template <class T>
std::shared_ptr<const Prepared> prepare(const T* vertices, std::int64_t m, std::int64_t d, std::int64_t ld, double beta,
                                        int threads, Purpose purpose, const char* isa) {
  require(m >= 1 && m <= 8192, "vertices: expected 1 to 8192 rows");
  require(d >= 1 && d <= (1 << 20), "vertices: expected 1 to 1048576 columns");
  require(ld >= d || m == 1, "vertices: expected a row stride of at least the number of columns");
  require(beta >= 0.0 && std::isfinite(beta), "beta: expected a finite number >= 0");
  auto hull = std::make_shared<Prepared>();
  hull->kernels = find_kernels(isa);
  require(hull->kernels != nullptr, "isa: not compiled in, or this processor cannot run it");
  View& v = hull->view;
  v.m = m, v.d = d;
  v.ld_vertices = padded(d), v.ld_gram = padded(m);
  const bool gram = purpose != Purpose::kVertices;
  if (gram) hull->gram = Aligned<double>(static_cast<std::size_t>(m * v.ld_gram + kPad), false);
  hull->diagonal = Aligned<double>(static_cast<std::size_t>(padded(m)));
  hull->centre = Aligned<double>(static_cast<std::size_t>(padded(d)));
  v.gram = hull->gram.get();
  v.diagonal = hull->diagonal.get(), v.centre = hull->centre.get();
  measure_vertices(*hull, vertices, ld);
  if (purpose == Purpose::kGram && m <= kUnpacked) {
    gram_of_columns(*hull, vertices, ld);
  } else {
    gram_and_vertices(*hull, vertices, ld, threads, purpose);
  }
  finish_norms(*hull, gram);
  if (gram) finish_gram(*hull);
  const double touching = sizeof(T) == sizeof(double) ? kTouchingF64 : kTouchingF32;
  v.touching2 = touching * touching * v.radius2;
  if (purpose == Purpose::kMany && m > 1 && m <= d + 1) invert(*hull, m > 128 ? threads : 1);

  hull->beta = beta;
  hull->stretch = 1.0 + static_cast<double>(m) * beta;
  hull->item = static_cast<int>(sizeof(T));
  v.query_scale = v.scale / hull->stretch;
  hull->unscale = hull->stretch / v.scale;
  return hull;
}

std::int64_t vertex_count(const Prepared& hull) { return hull.view.m; }
std::int64_t dimension(const Prepared& hull) { return hull.view.d; }

template std::shared_ptr<const Prepared> prepare(const float*, std::int64_t, std::int64_t, std::int64_t, double, int,
                                                 Purpose, const char*);
template std::shared_ptr<const Prepared> prepare(const double*, std::int64_t, std::int64_t, std::int64_t, double, int,
                                                 Purpose, const char*);

}  // namespace everface::hull
