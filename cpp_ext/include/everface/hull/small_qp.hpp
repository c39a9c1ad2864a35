// The simplex least-squares problem with few vertices, in memory that a thread of either processor holds by itself:
//   min over w >= 0, sum w = 1 of  w G w / 2 - h w.
// Starts with all vertices, whose factor all queries share, then block pivoting, then Wolfe's method; see
// active_set.hpp.
#pragma once

#include <cmath>
#include <cstdint>

#include "everface/hull/elements.hpp"

namespace everface::hull {

constexpr int kSmall = 16;  // vertices at the most

// Cholesky factor of a few vertices' Gram matrix, packed by rows, diagonal inverted; 0 on the diagonal marks a vertex
// that depends on the ones before it.
struct SmallFactor {
  double lower[kSmall * (kSmall + 1) / 2];
};

EVERFACE_HD static inline int row_start(int i) { return i * (i + 1) / 2; }

// gram [b, ld]; pick [k]: the vertices to factor. least_pivot as in face.hpp.
EVERFACE_HD static inline void small_factor(const double* gram, int ld, const int* pick, int k, double least_pivot,
                                            SmallFactor& f) {
  for (int i = 0; i < k; ++i) {
    double* row = f.lower + row_start(i);
    const double* from = gram + pick[i] * ld;
    for (int j = 0; j < i; ++j) {
      const double* other = f.lower + row_start(j);
      double value = from[pick[j]];
      for (int p = 0; p < j; ++p) value -= row[p] * other[p];
      row[j] = value * other[j];
    }
    double pivot = from[pick[i]];
    for (int p = 0; p < i; ++p) pivot -= row[p] * row[p];
    row[i] = pivot > least_pivot ? 1.0 / std::sqrt(pivot) : 0.0;
  }
}

// z [k] := argmin on the affine hull of the picked vertices; returns the multiplier of sum z = 1.
EVERFACE_HD static inline double small_minimise(const SmallFactor& f, const int* pick, int k, const double* h,
                                                double* z) {
  double ones[kSmall];
  double sum_a = 0.0, sum_b = 0.0;
  for (int i = 0; i < k; ++i) {
    const double* row = f.lower + row_start(i);
    double a = h[pick[i]], b = 1.0;
    for (int p = 0; p < i; ++p) a -= row[p] * z[p], b -= row[p] * ones[p];
    z[i] = a * row[i], ones[i] = b * row[i];
    sum_a += z[i] * ones[i], sum_b += ones[i] * ones[i];
  }
  const double nu = (1.0 - sum_a) / sum_b;
  for (int i = k - 1; i >= 0; --i) {
    double value = z[i] + nu * ones[i];
    for (int p = i + 1; p < k; ++p) value -= f.lower[row_start(p) + i] * z[p];
    z[i] = value * f.lower[row_start(i) + i];
  }
  return nu;
}

// The part of the affine hull's squared distance that all queries share: L^-1 1 in `ones`; returns its square.
EVERFACE_HD static inline double small_affine_ones(const SmallFactor& f, int b, double* ones) {
  double total = 0.0;
  for (int i = 0; i < b; ++i) {
    const double* row = f.lower + row_start(i);
    double value = 1.0;
    for (int p = 0; p < i; ++p) value -= row[p] * ones[p];
    ones[i] = value * row[i];
    total += ones[i] * ones[i];
  }
  return total;
}

// Squared distance of a query to the affine hull of all b vertices: no more than that to the hull.
EVERFACE_HD static inline double small_affine_distance2(const SmallFactor& f, int b, const double* ones, double ones2,
                                                        const double* h, double norm2, double shift) {
  double y[kSmall];
  double own = 0.0, mixed = 0.0;
  for (int i = 0; i < b; ++i) {
    const double* row = f.lower + row_start(i);
    double value = h[i];
    for (int p = 0; p < i; ++p) value -= row[p] * y[p];
    y[i] = value * row[i];
    own += y[i] * y[i], mixed += y[i] * ones[i];
  }
  const double distance2 = norm2 - shift - own + (1.0 - mixed) * (1.0 - mixed) / ones2;
  return fmax(distance2 - 1e-14 * (norm2 + shift), 0.0);
}

// One vertex at a time from weights w [k] >= 0; the objective falls every time, so this ends.
EVERFACE_HD static inline int small_wolfe(const double* gram, int ld, int b, const double* h, double least_pivot,
                                          double tolerance, int* pick, double* w, int k) {
  SmallFactor f;
  double z[kSmall];
  for (int round = 0; round < 20 * b + 20; ++round) {
    int enter = -1;
    double here = 0.0, low = 0.0;
    for (int pass = 0; pass < 2; ++pass) {
      if (pass == 1) low = here - tolerance;
      for (int i = 0; i < b; ++i) {
        double y = -h[i], weight = 0.0;
        for (int a = 0; a < k; ++a) {
          y += gram[i * ld + pick[a]] * w[a];
          if (pick[a] == i) weight = w[a];
        }
        if (pass == 0) here += weight * y;
        if (pass == 1 && !(weight > 0.0) && y < low) low = y, enter = i;
      }
    }
    if (enter < 0 && round > 0) return k;
    if (enter >= 0) pick[k] = enter, w[k++] = 0.0;
    for (;;) {
      small_factor(gram, ld, pick, k, least_pivot, f);
      small_minimise(f, pick, k, h, z);
      double step = 1.0;
      for (int a = 0; a < k; ++a) {
        if (z[a] <= 0.0) step = fmin(step, w[a] / (w[a] - z[a] + 1e-300));
      }
      const bool inside = step >= 1.0;
      int n = 0;
      for (int a = 0; a < k; ++a) {
        const double moved = w[a] + step * (z[a] - w[a]);
        if (inside || z[a] > 0.0 || moved > 1e-16) pick[n] = pick[a], w[n++] = moved;
      }
      const bool stuck = enter >= 0 && step <= 0.0 && n < k && (n == 0 || pick[n - 1] != enter);
      k = n;
      if (inside) break;
      if (stuck) return k;
    }
  }
  return k;
}

// Squared distance of a query to the hull of b <= kSmall vertices. gram [b, ld] has `shift` added to every entry, full
// is its factor over all vertices in order, h [b] = v_i . q, norm2 = q . q.
EVERFACE_HD static inline double small_distance2(const double* gram, int ld, int b, const SmallFactor& full,
                                                 const double* h, double norm2, double shift) {
  int pick[kSmall + 1], best_pick[kSmall + 1];
  double w[kSmall + 1], best_w[kSmall + 1];
  double largest = 0.0;
  for (int i = 0; i < b; ++i) pick[i] = i, largest = fmax(largest, gram[i * ld + i]);
  const double least_pivot = 2e-14 * largest, tolerance = 4e-15 * (largest + std::sqrt(norm2 * largest));
  int k = b, best_k = 0;
  double nu = small_minimise(full, pick, k, h, w), best = 1e300;
  for (;;) {
    int n = 0;
    for (int a = 0; a < k; ++a) {
      if (w[a] > 0.0) pick[n] = pick[a], w[n++] = w[a];
    }
    double value = nu;
    for (int a = 0; a < k && n == k; ++a) value -= w[a] * h[pick[a]];
    if (n == k && !(value < best)) {
      k = small_wolfe(gram, ld, b, h, least_pivot, tolerance, best_pick, best_w, best_k);
      for (int a = 0; a < k; ++a) pick[a] = best_pick[a], w[a] = best_w[a];
      break;
    }
    if (n == k) {
      best = value, best_k = k;
      for (int a = 0; a < k; ++a) best_pick[a] = pick[a], best_w[a] = w[a];
      for (int i = 0; i < b; ++i) {
        double y = -h[i] - nu + tolerance;
        bool in = false;
        for (int a = 0; a < k; ++a) y += gram[i * ld + pick[a]] * w[a], in = in || pick[a] == i;
        if (!in && y < 0.0) pick[n++] = i;
      }
      if (n == k) break;
    }
    k = n;
    SmallFactor f;
    small_factor(gram, ld, pick, k, least_pivot, f);
    nu = small_minimise(f, pick, k, h, w);
  }
  double distance2 = norm2 - shift;
  for (int a = 0; a < k; ++a) {
    double y = -2.0 * h[pick[a]];
    for (int c = 0; c < k; ++c) y += gram[pick[a] * ld + pick[c]] * w[c];
    distance2 += w[a] * y;
  }
  return fmax(distance2, 0.0);
}

}  // namespace everface::hull
