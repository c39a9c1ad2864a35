// One block of queries: correlate them with the vertices, try the affine hull, solve, certify.
#pragma once

#include "gemm.hpp"
#include "primal.hpp"

namespace everface::hull::EVERFACE_ISA {

template <class T>
constexpr double kEpsilon = sizeof(T) == 4 ? 1.2e-7 : 2.3e-16;

// As correlate_block, from vertices that are not packed.
template <class T>
inline void correlate_few(const View& view, const T* queries, std::int64_t ld, Block& block, Polish& polish) {
  for (std::int64_t i = 0; i < block.count; ++i) {
    polish.centre(queries + i * ld);
    block.norm2[i] = dot(polish.q, polish.q, view.ld_vertices);
    polish.correlate_query(block.correlation + i * padded(view.m));
  }
}

// correlation := (queries - centre) vertices^T in our units, norm2 := their squared lengths.
template <class T>
inline void correlate_block(const View& view, const T* queries, std::int64_t ld, Block& block) {
  T* centred = static_cast<T*>(block.queries);
  const std::int64_t columns = packed_columns<T>(view.m), ld_out = padded(view.m);
  const double scale = view.query_scale;
  for (std::int64_t i = 0; i < block.count; ++i) block.norm2[i] = 0.0;
  for (std::int64_t k0 = 0; k0 < view.d; k0 += kDepth) {
    const std::int64_t depth = least(kDepth, view.d - k0);
    for (std::int64_t i = 0; i < block.count; ++i) {
      const T* from = queries + i * ld + k0;
      T* to = centred + i * kDepth;
      const double* centre = view.centre + k0;
      double total[4] = {0.0, 0.0, 0.0, 0.0};
      std::int64_t j = 0;
      constexpr std::int64_t lanes = kLanes<double>;
      if constexpr (sizeof(T) == sizeof(double)) {
        Vec<double> square{};
        for (; j + lanes <= depth; j += lanes) {
          const Vec<double> x = (load(from + j) - load(centre + j)) * scale;
          store(to + j, x);
          square += x * x;
        }
        total[0] = sum<double>(square);
      } else {
        for (; j + 4 <= depth; j += 4) {
          for (int p = 0; p < 4; ++p) {
            const double x = (static_cast<double>(from[j + p]) - centre[j + p]) * scale;
            to[j + p] = static_cast<T>(x);
            total[p] += x * x;
          }
        }
      }
      for (; j < depth; ++j) {
        const double x = (static_cast<double>(from[j]) - centre[j]) * scale;
        to[j] = static_cast<T>(x);
        total[0] += x * x;
      }
      block.norm2[i] += (total[0] + total[1]) + (total[2] + total[3]);
    }
    product_chunk<T>(centred, kDepth, block.count, static_cast<const T*>(view.packed) + k0 * columns, view.m, depth,
                     block.correlation, ld_out, k0 > 0);
  }
}

// Below this a weight is outside the hull for sure, and not by rounding.
constexpr double kOutside = -1e-7;

// Takes the nearest point of the affine hull into the corral where it lies in the hull, or may do so but for rounding.
// Weights from float32 products are first corrected in float64.
template <class T>
inline bool take_affine(Corral& c, Polish& polish, double* w, const T* query) {
  const std::int64_t m = c.view.m;
  const double uniform = 1.0 / static_cast<double>(m);
  double low = 1e300;
  for (std::int64_t i = 0; i < m; ++i) low = least(low, w[i]);
  const bool rough = sizeof(T) == 4 && low + uniform < -kOutside;
  if (low + uniform < (rough ? -1e-2 : kOutside)) return false;
  c.clear();
  for (std::int64_t i = 0; i < m; ++i) {
    // What is smaller is rounding: a query on a face should get that face's vertices only.
    if (rough || std::fabs(w[i] + uniform) > c.view.weight_noise) c.add(i, w[i] + uniform);
  }
  if (rough) {
    polish.centre(query);
    if (polish.correct_affine(c) < kOutside) return false;
  }
  Polish::normalise(c);
  return true;
}

// The certificate from inner products, and whether rounding leaves it good enough.
template <class T>
inline bool certify_cheaply(Corral& c, const double* h, double norm2, double tolerance, Certificate& found) {
  const View& view = c.view;
  const double here = weighted(c, c.y);
  double low = c.y[0];
  for (std::int64_t i = 1; i < view.m; ++i) low = least(low, c.y[i]);
  found.slack = most(0.0, here - low);
  found.distance2 = norm2 - weighted(c, h) + (here - view.shift);
  found.gap = relative_gap(most(found.distance2, 0.0), found.slack, view.touching2);
  const double error = inner_product_error(kEpsilon<T>, norm2, view.radius2, std::sqrt(norm2 * view.radius2));
  return 2.0 * error <= 0.25 * tolerance * most(found.distance2, view.touching2) && found.gap <= 0.5 * tolerance;
}

// Where inner products could not certify the corral: corrections in the vertices' space, at worst a new solution there.
template <class T>
inline Certificate refine(Corral& c, Polish& polish, double norm2, double tolerance) {
  if (sizeof(T) == 4) {
    polish.correlate_query(c.exact);
    solve_simplex(c, c.exact, norm2);
  }
  const Certificate found = polish.run(c, tolerance);
  if (found.gap <= tolerance) return found;
  Primal primal(c.view, polish);
  return primal.ready() ? primal.run(c, tolerance) : found;
}

inline void emit(const Corral& c, const Certificate& found, std::int64_t i, Block& block) {
  std::int32_t* index = block.index + i * c.view.m;
  double* weight = block.weight + i * c.view.m;
  std::int32_t used = 0;
  double total = 0.0;
  for (std::int64_t a = 0; a < c.k; ++a) {
    if (c.w[a] > 0.0) index[used] = c.S[a], weight[used++] = c.w[a], total += c.w[a];
  }
  for (std::int32_t a = 0; a < used; ++a) weight[a] /= total;
  block.used[i] = used;
  block.distance2[i] = most(found.distance2, 0.0);
  block.gap[i] = found.gap;
}

inline std::size_t scratch(const View& view) { return Corral::doubles(view.m) + Polish::doubles(view.m, view.d); }

template <class T>
void project_block(const View& view, const T* queries, std::int64_t ld, double tolerance, Block& block) {
  const std::int64_t width = padded(view.m);
  Corral c(view, block.scratch);
  Polish polish(view, block.scratch + Corral::doubles(view.m));
  if (view.packed) {
    correlate_block<T>(view, queries, ld, block);
  } else {
    correlate_few<T>(view, queries, ld, block, polish);
  }
  const bool affine = view.inverse && block.use_affine;
  if (affine) {
    product(block.correlation, width, block.count, view.packed_inverse, view.m, view.m, block.affine, width);
  }
  block.affine_hits = 0;
  for (std::int64_t i = 0; i < block.count; ++i) {
    const double* h = block.correlation + i * width;
    const double norm2 = block.norm2[i];
    Certificate found;
    block.used[i] = 0, block.gap[i] = 1e300, block.distance2[i] = norm2;
    if (!(norm2 < 1e300)) continue;
    if (affine && take_affine<T>(c, polish, block.affine + i * width, queries + i * ld)) {
      c.gradient(h);
      if (!certify_cheaply<T>(c, h, norm2, tolerance, found)) {
        polish.centre(queries + i * ld);
        found = polish.run(c, tolerance);
      }
      if (found.gap <= tolerance) {
        ++block.affine_hits;
        emit(c, found, i, block);
        continue;
      }
    }
    orthogonal_start(c, h);
    solve_simplex(c, h, norm2);
    if (!certify_cheaply<T>(c, h, norm2, tolerance, found)) {
      polish.centre(queries + i * ld);
      found = refine<T>(c, polish, norm2, tolerance);
    }
    emit(c, found, i, block);
  }
}

}  // namespace everface::hull::EVERFACE_ISA
