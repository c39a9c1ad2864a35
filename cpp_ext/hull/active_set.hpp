// The simplex least-squares problem of one query, from the Gram matrix alone:
//   min over w >= 0, sum w = 1 of  w G w / 2 - h w.
// Block pivoting (Portugal, Judice, Vicente, "A comparison of block pivoting and interior-point algorithms for linear
// least squares problems with nonnegative variables", 1994) with a limit on what may enter at once; it is finite
// because each face minimum must be below the last one, and Wolfe's method ("Finding the nearest point in a polytope",
// 1976) finishes where it is not.
#pragma once

#include "face.hpp"

namespace everface::hull::EVERFACE_ISA {

// Weights that would be right if all vertices were orthogonal: the simplex projection of h / diag, by Michelot's
// shrinking set. A good first corral, since vertices seen from their mean are nearly so in many dimensions.
inline void orthogonal_start(Corral& c, const double* h) {
  const std::int64_t m = c.view.m;
  const double floor = 0.01 * c.view.radius2;
  double level = 0.0, below = -1e300;
  for (int round = 0; round < 50; ++round) {
    double weighted = 0.0, total = 0.0;
    for (std::int64_t i = 0; i < m; ++i) {
      const double inverse = h[i] > below ? 1.0 / most(c.view.diagonal[i], floor) : 0.0;
      weighted += inverse * h[i];
      total += inverse;
    }
    level = (weighted - 1.0) / total;
    if (!(level > below)) break;
    below = level;
  }
  c.clear();
  std::int64_t top = 0;
  for (std::int64_t i = 0; i < m; ++i) {
    if (h[i] > below) c.add(i, 0.0);
    if (h[i] > h[top]) top = i;
  }
  if (c.k == 0) c.add(top, 0.0);
}

// The value below which `count` of the n numbers lie (quickselect on the scratch copy).
inline double nth_smallest(double* x, std::int64_t n, std::int64_t count) {
  std::int64_t low = 0, high = n - 1, want = count - 1;
  while (low < high) {
    const double pivot = x[(low + high) / 2];
    std::int64_t i = low, j = high;
    while (i <= j) {
      while (x[i] < pivot) ++i;
      while (x[j] > pivot) --j;
      if (i <= j) {
        const double t = x[i];
        x[i] = x[j], x[j] = t;
        ++i, --j;
      }
    }
    if (want <= j) {
      high = j;
    } else if (want >= i) {
      low = i;
    } else {
      break;
    }
  }
  return x[want];
}

// Adds the vertices with value[i] < bound that are not in the corral, the lowest ones first and at most half as many
// as it holds; returns how many.
inline std::int64_t add_violators(Corral& c, const double* value, double bound) {
  std::int64_t found = 0;
  for (std::int64_t i = 0; i < c.view.m; ++i) {
    if (value[i] < bound && !c.in[i]) c.order[found++] = value[i];
  }
  if (found == 0) return 0;
  const std::int64_t cap = most<std::int64_t>(4, c.k / 2);
  const double limit = found > cap ? nth_smallest(c.order, found, cap) : bound;
  std::int64_t added = 0;
  for (std::int64_t i = 0; i < c.view.m && added < cap; ++i) {
    if (value[i] < bound && value[i] <= limit && !c.in[i]) {
      c.add(i, 0.0);
      ++added;
    }
  }
  return added;
}

inline double weighted(const Corral& c, const double* value) {
  double total = 0.0;
  for (std::int64_t a = 0; a < c.k; ++a) total += c.w[a] * value[c.S[a]];
  return total;
}

// How much a gradient entry may undercut the face's value before its vertex must enter.
inline double entering_tolerance(const View& view, double norm2) {
  return 4e-15 * (view.radius2 + view.shift + std::sqrt(norm2 * view.radius2));
}

// Wolfe's method from the corral's feasible weights: one vertex enters at a time and the objective falls every time.
inline void wolfe(Corral& c, const double* h, double tolerance) {
  for (std::int64_t round = 0; round < 20 * c.view.m + 100; ++round) {
    c.gradient(h);
    const double here = weighted(c, c.y);
    std::int64_t enter = -1;
    double low = here - tolerance;
    for (std::int64_t i = 0; i < c.view.m; ++i) {
      if (c.y[i] < low && !c.in[i]) low = c.y[i], enter = i;
    }
    if (enter < 0 && round > 0) return;
    if (enter >= 0) c.add(enter, 0.0);
    for (;;) {
      c.minimise(h, 1.0);
      double step = 1.0;
      for (std::int64_t a = 0; a < c.k; ++a) {
        if (c.z[a] <= 0.0) step = least(step, c.w[a] / (c.w[a] - c.z[a] + 1e-300));
      }
      const bool inside = step >= 1.0;
      for (std::int64_t a = 0; a < c.k; ++a) c.w[a] += step * (c.z[a] - c.w[a]);
      if (inside) break;
      const std::int64_t last = c.S[c.k - 1];
      c.drop_unless([&c](std::int64_t a) { return c.z[a] > 0.0 || c.w[a] > 1e-16; });
      // The entering vertex could not move at all: it depends on the others, and nothing is to be gained.
      if (last == enter && !c.in[enter] && step <= 0.0) return;
    }
  }
}

// From the corral in S (weights ignored) to the optimum; leaves the gradient of the last face in y.
inline void solve_simplex(Corral& c, const double* h, double norm2) {
  const double tolerance = entering_tolerance(c.view, norm2);
  double best = 1e300;
  for (;;) {
    c.minimise(h, 1.0);
    if (c.drop_unless([&c](std::int64_t a) { return c.z[a] > 0.0; }) > 0 && c.k > 0) continue;
    double value = c.nu;
    for (std::int64_t a = 0; a < c.k; ++a) c.w[a] = c.z[a], value -= c.z[a] * h[c.S[a]];
    if (!(value < best)) {
      c.restore();
      wolfe(c, h, tolerance);
      c.gradient(h);
      return;
    }
    best = value;
    c.save();
    c.gradient(h);
    if (add_violators(c, c.y, c.nu - tolerance) == 0) return;
  }
}

}  // namespace everface::hull::EVERFACE_ISA
