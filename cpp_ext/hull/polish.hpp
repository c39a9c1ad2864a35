// Certificates in the space of the vertices themselves, where nothing cancels, and corrections until they hold.
#pragma once

#include "active_set.hpp"
#include "everface/hull/elements.hpp"

namespace everface::hull::EVERFACE_ISA {

struct Certificate {
  double distance2 = 0.0, slack = 0.0, gap = 1e300;
};

constexpr std::int64_t kSettled = 32;  // vertices of a face that is worth settling by itself

struct Polish {
  const View& view;
  double* q;  // [ld_vertices] the centred query
  double* r;  // [ld_vertices] q - V^T w, corrections to w that are too small for its last digits included
  double* g;  // [padded(m)] V r

  static std::size_t doubles(std::int64_t m, std::int64_t d) {
    return static_cast<std::size_t>(2 * (padded(d) + kPad) + padded(m) + kPad);
  }
  Polish(const View& v, double* memory)
      : view(v), q(memory), r(q + v.ld_vertices + kPad), g(r + v.ld_vertices + kPad) {}

  template <class T>
  void centre(const T* query) {
    for (std::int64_t i = 0; i < view.d; ++i) {
      q[i] = (static_cast<double>(query[i]) - view.centre[i]) * view.query_scale;
    }
    for (std::int64_t i = view.d; i < view.ld_vertices; ++i) q[i] = 0.0;
  }

  // g := V r, four vertices at a time.
  void correlate() {
    constexpr std::int64_t lanes = kLanes<double>;
    const std::int64_t n = view.ld_vertices;
    std::int64_t i = 0;
    for (; i + 4 <= view.m; i += 4) {
      const double* v = view.vertices + i * n;
      Vec<double> s0{}, s1{}, s2{}, s3{};
      for (std::int64_t c = 0; c < n; c += lanes) {
        const Vec<double> x = load(r + c);
        s0 += x * load(v + c), s1 += x * load(v + n + c);
        s2 += x * load(v + 2 * n + c), s3 += x * load(v + 3 * n + c);
      }
      g[i] = sum<double>(s0), g[i + 1] = sum<double>(s1), g[i + 2] = sum<double>(s2), g[i + 3] = sum<double>(s3);
    }
    for (; i < view.m; ++i) g[i] = dot(view.vertices + i * n, r, n);
    for (; i < padded(view.m); ++i) g[i] = 0.0;
  }

  // out := V q in float64, [padded(m)].
  void correlate_query(double* out) {
    std::memcpy(r, q, static_cast<std::size_t>(view.ld_vertices) * sizeof(double));
    correlate();
    std::memcpy(out, g, static_cast<std::size_t>(padded(view.m)) * sizeof(double));
  }

  void residual(const Corral& c) {
    std::memcpy(r, q, static_cast<std::size_t>(view.ld_vertices) * sizeof(double));
    for (std::int64_t a = 0; a < c.k; ++a)
      axpy(-c.w[a], view.vertices + c.S[a] * view.ld_vertices, r, view.ld_vertices);
  }

  // The certificate that the normal r gives. Near the hull the residual of the rounded weights is no such normal: its
  // slack is never below epsilon radius^2. So corrections act on r itself, and only then on the weights.
  // A residual that is nothing beside the touching distance needs no normal: its gap is small whatever the slack.
  Certificate certify(const Corral& c, double tolerance) {
    Certificate found;
    found.distance2 = dot(r, r, view.ld_vertices);
    if (found.distance2 <= 0.25 * tolerance * view.touching2) {
      found.slack = found.distance2;
      found.gap = relative_gap(found.distance2, found.slack, view.touching2);
      return found;
    }
    correlate();
    double top = g[0];
    for (std::int64_t i = 1; i < view.m; ++i) top = most(top, g[i]);
    found.slack = most(0.0, top - weighted(c, g));
    found.gap = relative_gap(found.distance2, found.slack, view.touching2);
    return found;
  }

  // Clips weights that rounding left below zero and makes the sum 1 again.
  static void normalise(Corral& c) {
    double total = 0.0;
    for (std::int64_t a = 0; a < c.k; ++a) total += most(c.w[a], 0.0);
    for (std::int64_t a = 0; a < c.k; ++a) c.w[a] = most(c.w[a], 0.0) / total;
  }

  // All vertices in the corral, weights of either sign: moves to the affine hull's nearest point; the least weight.
  double correct_affine(Corral& c) {
    residual(c);
    correlate();
    double low = 1e300;
    for (std::int64_t a = 0; a < c.k; ++a) {
      c.w[a] += dot(view.inverse + c.S[a] * view.ld_gram, g, view.m);
      low = least(low, c.w[a]);
    }
    return low;
  }

  // w += step * z by position, r along with it; weights that rounding leaves below zero are clipped.
  void move(Corral& c, double step) {
    bool clipped = false;
    for (std::int64_t a = 0; a < c.k; ++a) {
      c.w[a] += step * c.z[a];
      clipped = clipped || c.w[a] < 0.0;
      axpy(-step * c.z[a], view.vertices + c.S[a] * view.ld_vertices, r, view.ld_vertices);
    }
    normalise(c);
    if (clipped) residual(c);
  }

  // All vertices in the corral: the correction to the affine hull's nearest point needs no factorisation.
  void correct_all(Corral& c) {
    for (std::int64_t a = 0; a < c.k; ++a) c.z[a] = dot(view.inverse + c.S[a] * view.ld_gram, g, view.m);
    move(c, 1.0);
  }

  // One step of the active set in the vertices' space: lets violators in where the face is settled, then moves to the
  // face's minimum or as far as the weights stay above zero.
  void correct_face(Corral& c, const Certificate& at) {
    const double here = weighted(c, g);
    for (std::int64_t i = 0; i < view.m; ++i) c.y[i] = here - g[i];
    // While the residual still leans along the face, its own minimum comes first: most violators vanish with that.
    double uneven = 0.0;
    for (std::int64_t a = 0; a < c.k; ++a) uneven = most(uneven, std::fabs(c.y[c.S[a]]));
    if (uneven < 0.1 * at.slack) add_violators(c, c.y, -0.1 * at.slack);
    c.minimise(g, 0.0);
    double step = 1.0;
    for (std::int64_t a = 0; a < c.k; ++a) {
      if (c.w[a] + c.z[a] < 0.0) step = least(step, -c.w[a] / c.z[a]);
    }
    move(c, step);
    if (step < 1.0 && c.k > 1) {
      c.drop_unless([&c](std::int64_t a) { return c.w[a] > 1e-17 || c.z[a] > 0.0; });
      residual(c);
    }
  }

  // To the minimum of a small face from its own vertices alone, where that lies inside: cheaper than a look at all.
  void settle(Corral& c) {
    if (c.k > kSettled || c.k == view.m) return;
    for (std::int64_t a = 0; a < c.k; ++a)
      g[c.S[a]] = dot(view.vertices + c.S[a] * view.ld_vertices, r, view.ld_vertices);
    c.minimise(g, 0.0);
    for (std::int64_t a = 0; a < c.k; ++a) {
      if (c.w[a] + c.z[a] < 0.0) return;
    }
    move(c, 1.0);
  }

  // Corrects until the gap is within tolerance, or stops improving; the corral ends as the best one seen.
  Certificate run(Corral& c, double tolerance) {
    Certificate best;
    const std::int64_t limit = 60 + 2 * view.m;
    std::int64_t since = 0;
    residual(c);
    settle(c);
    for (std::int64_t round = 0; round < limit; ++round) {
      const Certificate found = certify(c, tolerance);
      if (found.gap < best.gap) {
        since = found.gap < 0.9 * best.gap ? 0 : since + 1;
        best = found;
        c.save();
      } else {
        ++since;
      }
      const bool all = view.inverse && c.k == view.m;
      if (best.gap <= 0.25 * tolerance || since > (all ? 2 : 12)) break;
      if (all) {
        correct_all(c);
      } else {
        correct_face(c, found);
      }
    }
    c.restore();
    return best;
  }
};

}  // namespace everface::hull::EVERFACE_ISA
