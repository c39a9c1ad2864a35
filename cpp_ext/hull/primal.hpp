// The last resort, for vertices so close to one another or to a face that their Gram matrix cannot tell: Wolfe's method
// on an orthonormal basis of the corral's differences, in the vertices' own space. Slower, and exact to rounding.
#pragma once

#include <cstdlib>

#include "polish.hpp"

namespace everface::hull::EVERFACE_ISA {

class Primal {
 public:
  Primal(const View& v, Polish& p) : view_(v), polish_(p), n_(v.ld_vertices) {
    most_ = least(v.m, v.d + 1);
    const auto doubles = static_cast<std::size_t>((most_ + 1) * n_ + most_ * (most_ + 2) + 2 * padded(v.m));
    memory_ = static_cast<double*>(std::malloc(doubles * sizeof(double)));
    if (!memory_) return;
    basis_ = memory_;
    triangle_ = basis_ + (most_ + 1) * n_;
    order_ = triangle_ + most_ * (most_ + 2);
  }
  ~Primal() { std::free(memory_); }
  Primal(const Primal&) = delete;
  Primal& operator=(const Primal&) = delete;
  bool ready() const { return memory_ != nullptr; }

  // From the corral's heaviest vertex to the optimum; the corral ends as the best one found.
  Certificate run(Corral& c, double tolerance) {
    std::int64_t heavy = 0;
    for (std::int64_t a = 1; a < c.k; ++a) heavy = c.w[a] > c.w[heavy] ? a : heavy;
    const std::int64_t first = c.S[heavy];
    for (std::int64_t a = 0; a < c.k; ++a) c.in[c.S[a]] = 0;
    c.k = 0;
    c.add(first, 1.0);
    rank_ = 0;
    Certificate best;
    std::int64_t idle = 0;
    double nearest = 1e300;
    for (std::int64_t round = 0; round < 10 * view_.m + 100 && idle < 8; ++round) {
      settle(c);
      const Certificate found = polish_.certify(c, tolerance);
      idle = found.distance2 < nearest ? 0 : idle + 1;
      nearest = least(nearest, found.distance2);
      if (found.gap < best.gap) {
        best = found;
        c.save();
      }
      if (best.gap <= 0.25 * tolerance || !enter(c)) break;
    }
    c.restore();
    return best;
  }

 private:
  const double* vertex(std::int64_t i) const { return view_.vertices + i * n_; }

  // basis_[rank_] := v_i - v_first made orthogonal to the basis (twice, which is enough); false where nothing is left.
  bool append(const Corral& c, std::int64_t i) {
    if (rank_ + 1 >= most_) return false;
    double* x = basis_ + rank_ * n_;
    double* column = triangle_ + rank_ * (most_ + 2);
    const double* base = vertex(c.S[0]);
    for (std::int64_t k = 0; k < n_; ++k) x[k] = vertex(i)[k] - base[k];
    const double before = dot(x, x, n_);
    for (std::int64_t b = 0; b < rank_; ++b) column[b] = 0.0;
    for (int pass = 0; pass < 2; ++pass) {
      for (std::int64_t b = 0; b < rank_; ++b) {
        const double part = dot(basis_ + b * n_, x, n_);
        column[b] += part;
        axpy(-part, basis_ + b * n_, x, n_);
      }
    }
    const double left = dot(x, x, n_);
    if (!(left > 1e-28 * before) || !(left > 0.0)) return false;
    column[rank_] = std::sqrt(left);
    const double inverse = 1.0 / column[rank_];
    for (std::int64_t k = 0; k < n_; ++k) x[k] *= inverse;
    ++rank_;
    return true;
  }

  // r := the normal from the corral's affine hull to the query; z := the weights of its foot.
  void minimise(Corral& c) {
    double* r = polish_.r;
    double* foot = order_;
    for (std::int64_t k = 0; k < n_; ++k) r[k] = polish_.q[k] - vertex(c.S[0])[k];
    for (std::int64_t b = 0; b < rank_; ++b) foot[b] = 0.0;
    for (int pass = 0; pass < 2; ++pass) {
      for (std::int64_t b = 0; b < rank_; ++b) {
        const double part = dot(basis_ + b * n_, r, n_);
        foot[b] += part;
        axpy(-part, basis_ + b * n_, r, n_);
      }
    }
    double rest = 1.0;
    for (std::int64_t b = rank_ - 1; b >= 0; --b) {
      double value = foot[b];
      for (std::int64_t j = b + 1; j < rank_; ++j) value -= triangle_[j * (most_ + 2) + b] * c.z[j + 1];
      c.z[b + 1] = value / triangle_[b * (most_ + 2) + b];
      rest -= c.z[b + 1];
    }
    c.z[0] = rest;
  }

  // Moves to the corral's minimum, dropping vertices that stand in the way.
  void settle(Corral& c) {
    for (;;) {
      minimise(c);
      double step = 1.0;
      for (std::int64_t a = 0; a < c.k; ++a) {
        if (c.z[a] <= 0.0) step = least(step, c.w[a] / (c.w[a] - c.z[a] + 1e-300));
      }
      for (std::int64_t a = 0; a < c.k; ++a) c.w[a] += step * (c.z[a] - c.w[a]);
      if (step >= 1.0) return;
      c.drop_unless([&c](std::int64_t a) { return c.z[a] > 0.0 || c.w[a] > 1e-17; });
      Polish::normalise(c);
      rank_ = 0;
      std::int64_t kept = 1;
      for (std::int64_t a = 1; a < c.k; ++a) {
        if (append(c, c.S[a])) {
          c.S[kept] = c.S[a], c.w[kept] = c.w[a];
          ++kept;
        } else {
          c.in[c.S[a]] = 0;
        }
      }
      c.k = kept;
    }
  }

  // Lets the vertex farthest beyond the supporting hyperplane in; false where there is none.
  bool enter(Corral& c) {
    const double here = weighted(c, polish_.g);
    double top = here;
    std::int64_t which = -1;
    for (std::int64_t i = 0; i < view_.m; ++i) {
      if (!c.in[i] && polish_.g[i] > top) top = polish_.g[i], which = i;
    }
    if (which < 0 || !append(c, which)) return false;
    c.add(which, 0.0);
    return true;
  }

  const View& view_;
  Polish& polish_;
  std::int64_t n_, most_ = 0, rank_ = 0;
  double *memory_ = nullptr, *basis_ = nullptr, *triangle_ = nullptr, *order_ = nullptr;
};

}  // namespace everface::hull::EVERFACE_ISA
