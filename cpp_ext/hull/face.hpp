// Points of least distance on a face: Cholesky of the Gram matrix of a few vertices.
#pragma once

#include "kernels.hpp"
#include "vectors.hpp"

namespace everface::hull::EVERFACE_ISA {

// Right-looking Cholesky of the upper triangle of u [k, ld], carried through `width` >= k columns, so that columns
// beyond k end as U^-T times the right-hand sides they held. A row whose pivot is below `least_pivot` depends on the
// rows above: it becomes the unit row, which gives its unknown the value 0. Rows may be written up to one vector beyond
// `width`. Returns the number of dependent rows.
inline std::int64_t factor_upper(double* u, std::int64_t k, std::int64_t width, std::int64_t ld, double least_pivot) {
  constexpr std::int64_t lanes = kLanes<double>;
  std::int64_t dependent = 0;
  for (std::int64_t j0 = 0; j0 < k; j0 += 4) {
    const std::int64_t j1 = least<std::int64_t>(j0 + 4, k);
    for (std::int64_t j = j0; j < j1; ++j) {
      double* row = u + j * ld;
      for (std::int64_t p = j0; p < j; ++p) {
        const double* above = u + p * ld;
        const Vec<double> f = splat(above[j]);
        for (std::int64_t c = j; c < width; c += lanes) store(row + c, load(row + c) - f * load(above + c));
      }
      const double pivot = row[j];
      const bool lost = !(pivot > least_pivot);
      const Vec<double> f = splat(lost ? 0.0 : 1.0 / std::sqrt(pivot));
      dependent += lost;
      for (std::int64_t c = j; c < width; c += lanes) store(row + c, load(row + c) * f);
      if (lost) row[j] = 1.0;
    }
    // Lost rows must not eliminate: their entries are zero but for the unit on the diagonal.
    const double* r0 = u + j0 * ld;
    if (j1 - j0 < 4) break;
    const double *r1 = r0 + ld, *r2 = r1 + ld, *r3 = r2 + ld;
    for (std::int64_t i = j1; i < k; ++i) {
      double* row = u + i * ld;
      const Vec<double> f0 = splat(r0[i]), f1 = splat(r1[i]), f2 = splat(r2[i]), f3 = splat(r3[i]);
      for (std::int64_t c = i; c < width; c += lanes) {
        const Vec<double> left = load(row + c) - f0 * load(r0 + c) - f1 * load(r1 + c);
        store(row + c, left - (f2 * load(r2 + c) + f3 * load(r3 + c)));
      }
    }
  }
  return dependent;
}

// x := U^-1 x, x [k].
inline void back_substitute(const double* u, std::int64_t k, std::int64_t ld, double* x) {
  for (std::int64_t j = k - 1; j >= 0; --j) {
    const double* row = u + j * ld;
    x[j] = (x[j] - dot(row + j + 1, x + j + 1, k - j - 1)) / row[j];
  }
}

inline bool factor(double* matrix, std::int64_t m, std::int64_t ld, double least_pivot) {
  return factor_upper(matrix, m, m, ld, least_pivot) == 0;
}

// inverse [m, ld] := U^-1, an upper triangle; what lies below must be zero.
inline void invert_upper(const double* u, std::int64_t m, std::int64_t ld, double* inverse, std::int64_t ld_out) {
  constexpr std::int64_t lanes = kLanes<double>;
  for (std::int64_t i = m - 1; i >= 0; --i) {
    double* row = inverse + i * ld_out;
    const double* from = u + i * ld;
    std::int64_t j = i + 1;
    for (; j + 4 <= m; j += 4) {
      const double *x0 = inverse + j * ld_out, *x1 = x0 + ld_out, *x2 = x1 + ld_out, *x3 = x2 + ld_out;
      const Vec<double> f0 = splat(from[j]), f1 = splat(from[j + 1]), f2 = splat(from[j + 2]), f3 = splat(from[j + 3]);
      for (std::int64_t c = j / lanes * lanes; c < m; c += lanes) {
        const Vec<double> left = load(row + c) - f0 * load(x0 + c) - f1 * load(x1 + c);
        store(row + c, left - (f2 * load(x2 + c) + f3 * load(x3 + c)));
      }
    }
    for (; j < m; ++j) {
      for (std::int64_t c = j; c < m; ++c) row[c] -= from[j] * inverse[j * ld_out + c];
    }
    const double pivot = 1.0 / from[i];
    for (std::int64_t c = i + 1; c < m; ++c) row[c] *= pivot;
    row[i] = pivot;
  }
}

// One query's corral: vertices S with weights, and the memory to work on them.
struct Corral {
  const View& view;
  double* u;  // [m + kPad, ld]
  std::int64_t ld;
  std::int32_t* S;  // [k]
  double* w;        // [k] by position in S
  double* z;        // [k] the affine minimiser
  double* y;        // [padded(m)] gradient G w - h
  std::int32_t* best_S;
  double* best_w;
  double* order;      // [padded(m)] scratch for selection
  double* exact;      // [padded(m)] h in float64 where it came in float32
  unsigned char* in;  // [m] membership
  std::int64_t k = 0, best_k = 0;
  double nu = 0.0;

  static std::size_t doubles(std::int64_t m) {
    const std::int64_t ld = padded(m + 2) + kPad, p = padded(m + kPad);
    return static_cast<std::size_t>((m + kPad) * ld + 10 * p);
  }

  Corral(const View& v, double* memory) : view(v), ld(padded(v.m + 2) + kPad) {
    const std::int64_t p = padded(v.m + kPad);
    double* at = memory;
    auto take = [&at](std::int64_t count) {
      double* from = at;
      at += count;
      return from;
    };
    u = take((v.m + kPad) * ld);
    w = take(p), z = take(p), y = take(p), best_w = take(p), order = take(p), exact = take(p);
    S = reinterpret_cast<std::int32_t*>(take(p));
    best_S = reinterpret_cast<std::int32_t*>(take(p));
    in = reinterpret_cast<unsigned char*>(take(p));
  }

  void clear() {
    for (std::int64_t i = 0; i < view.m; ++i) in[i] = 0;
    k = best_k = 0;
  }
  void add(std::int64_t i, double weight) {
    in[i] = 1;
    S[k] = static_cast<std::int32_t>(i);
    w[k++] = weight;
  }
  // Drops the positions for which keep is false, with their entries of w and z.
  template <class Keep>
  std::int64_t drop_unless(Keep keep) {
    std::int64_t n = 0;
    for (std::int64_t a = 0; a < k; ++a) {
      if (keep(a)) {
        S[n] = S[a], w[n] = w[a], z[n] = z[a];
        ++n;
      } else {
        in[S[a]] = 0;
      }
    }
    const std::int64_t dropped = k - n;
    k = n;
    return dropped;
  }
  void save() {
    best_k = k;
    std::memcpy(best_S, S, static_cast<std::size_t>(k) * sizeof(std::int32_t));
    std::memcpy(best_w, w, static_cast<std::size_t>(k) * sizeof(double));
  }
  void restore() {
    for (std::int64_t a = 0; a < k; ++a) in[S[a]] = 0;
    k = 0;
    for (std::int64_t a = 0; a < best_k; ++a) add(best_S[a], best_w[a]);
  }

  // z := argmin of z G z / 2 - h z on the affine hull of S with sum z = total; nu is the constraint's multiplier.
  void minimise(const double* h, double total) {
    const std::int64_t width = k + 2;
    for (std::int64_t a = 0; a < k; ++a) {
      const double* row = view.gram + S[a] * view.ld_gram;
      double* to = u + a * ld;
      for (std::int64_t b = a; b < k; ++b) to[b] = row[S[b]];
      to[k] = h[S[a]];
      to[k + 1] = 1.0;
      for (std::int64_t c = width; c < width + kLanes<double>; ++c) to[c] = 0.0;
    }
    factor_upper(u, k, width, ld, 2e-14 * (view.shift + view.radius2));
    double sum_a = 0.0, sum_b = 0.0;
    for (std::int64_t a = 0; a < k; ++a) {
      const double p = u[a * ld + k], q = u[a * ld + k + 1];
      sum_a += p * q;
      sum_b += q * q;
    }
    nu = (total - sum_a) / sum_b;
    for (std::int64_t a = 0; a < k; ++a) z[a] = u[a * ld + k] + nu * u[a * ld + k + 1];
    back_substitute(u, k, ld, z);
  }

  // y := G w - h over all vertices (G with the shift, which adds a constant).
  void gradient(const double* h) {
    const std::int64_t n = view.ld_gram;
    constexpr std::int64_t lanes = kLanes<double>;
    for (std::int64_t c = 0; c < n; c += lanes) store(y + c, Vec<double>{} - load(h + c));
    std::int64_t a = 0;
    for (; a + 4 <= k; a += 4) {
      const double* g0 = view.gram + S[a] * n;
      const double* g1 = view.gram + S[a + 1] * n;
      const double* g2 = view.gram + S[a + 2] * n;
      const double* g3 = view.gram + S[a + 3] * n;
      const Vec<double> w0 = splat(w[a]), w1 = splat(w[a + 1]), w2 = splat(w[a + 2]), w3 = splat(w[a + 3]);
      for (std::int64_t c = 0; c < n; c += lanes) {
        const Vec<double> left = load(y + c) + w0 * load(g0 + c) + w1 * load(g1 + c);
        store(y + c, left + (w2 * load(g2 + c) + w3 * load(g3 + c)));
      }
    }
    for (; a < k; ++a) axpy(w[a], view.gram + S[a] * n, y, n);
  }
};

}  // namespace everface::hull::EVERFACE_ISA
