// One query solved by a team of threads that share memory (team.hpp), by the method of active_set.hpp.
#pragma once

#include <cmath>

#include "everface/hull/elements.hpp"
#include "everface/hull/team.hpp"

namespace everface::hull {

template <class Team>
class TeamSolver {
 public:
  EVERFACE_HD TeamSolver(Team& team, const TeamHull& hull, const TeamMemory& memory)
      : team_(team), hull_(hull), at_(memory) {}

  // memory.q [d] holds the centred query; returns the certificate, the corral holds the weights.
  EVERFACE_HD void project(double tolerance, double& distance2, double& gap) {
    correlate(at_.q, at_.h);
    const double norm2 = team_.sum(hull_.d, [&](int i) { return at_.q[i] * at_.q[i]; });
    entering_ = 4e-15 * (hull_.radius2 + hull_.shift + std::sqrt(norm2 * hull_.radius2));
    start();
    solve();
    gap = 1e300;
    double slack = 0.0;
    for (int round = 0; round < 12; ++round) {
      const double nearest = certify(slack);
      const double found = relative_gap(nearest, slack, hull_.touching2);
      if (!(found < gap)) {
        restore();
        return;
      }
      gap = found, distance2 = nearest;
      save();
      if (gap <= 0.25 * tolerance) return;
      correct(slack);
    }
    restore();
  }

  EVERFACE_HD int count() const { return at_.state[0]; }

 private:
  // out := V x
  EVERFACE_HD void correlate(const double* x, double* out) {
    team_.each(hull_.m, [&](int i) {
      const double* v = hull_.vertices + static_cast<long>(i) * hull_.d;
      double total = 0.0;
      for (int c = 0; c < hull_.d; ++c) total += v[c] * x[c];
      out[i] = total;
    });
  }

  EVERFACE_HD void add(int i, double weight) {
    int& k = at_.state[0];
    at_.S[k] = i, at_.w[k] = weight, at_.in[i] = 1;
    ++k;
  }

  // As orthogonal_start in active_set.hpp.
  EVERFACE_HD void start() {
    const double floor = 0.01 * hull_.radius2;
    double below = -1e300;
    for (int round = 0; round < 50; ++round) {
      auto inverse = [&](int i) {
        const double own = hull_.gram[static_cast<long>(i) * hull_.m + i] - hull_.shift;
        return at_.h[i] > below ? 1.0 / (own > floor ? own : floor) : 0.0;
      };
      const double weighted = team_.sum(hull_.m, [&](int i) { return inverse(i) * at_.h[i]; });
      const double level = (weighted - 1.0) / team_.sum(hull_.m, inverse);
      if (!(level > below)) break;
      below = level;
    }
    team_.lead([&] {
      at_.state[0] = 0;
      int top = 0;
      for (int i = 0; i < hull_.m; ++i) {
        at_.in[i] = 0;
        if (at_.h[i] > below) add(i, 0.0);
        if (at_.h[i] > at_.h[top]) top = i;
      }
      if (at_.state[0] == 0) add(top, 0.0);
    });
  }

  // z := argmin on the corral's affine hull with sum z = total and linear term `linear`; nu_ is the multiplier.
  EVERFACE_HD void minimise(const double* linear, double total) {
    const int k = count(), m = hull_.m;
    team_.each(k * k, [&](int at) {
      at_.u[static_cast<long>(at / k) * m + at % k] = hull_.gram[static_cast<long>(at_.S[at / k]) * m + at_.S[at % k]];
    });
    team_.each(k, [&](int i) { at_.a[i] = linear[at_.S[i]], at_.b[i] = 1.0; });
    const double least_pivot = 2e-14 * (hull_.shift + hull_.radius2);
    for (int j = 0; j < k; ++j) {
      double* row = at_.u + static_cast<long>(j) * m;
      const double pivot = row[j];
      const bool lost = !(pivot > least_pivot);
      const double scale = lost ? 0.0 : 1.0 / std::sqrt(pivot);
      team_.barrier();  // everyone has read the pivot
      team_.each(k - j, [&](int i) { row[j + i] *= scale; });
      team_.lead([&] {
        at_.a[j] *= scale, at_.b[j] *= scale;
        if (lost) row[j] = 1.0;
      });
      team_.each(k - j - 1, [&](int i) {
        const double f = row[j + 1 + i];
        double* to = at_.u + static_cast<long>(j + 1 + i) * m;
        for (int c = j + 1 + i; c < k; ++c) to[c] -= f * row[c];
        at_.a[j + 1 + i] -= f * at_.a[j];
        at_.b[j + 1 + i] -= f * at_.b[j];
      });
    }
    const double ab = team_.sum(k, [&](int i) { return at_.a[i] * at_.b[i]; });
    const double bb = team_.sum(k, [&](int i) { return at_.b[i] * at_.b[i]; });
    nu_ = (total - ab) / bb;
    team_.each(k, [&](int i) { at_.z[i] = at_.a[i] + nu_ * at_.b[i]; });
    for (int j = k - 1; j >= 0; --j) {
      team_.lead([&] { at_.z[j] /= at_.u[static_cast<long>(j) * m + j]; });
      team_.each(j, [&](int i) { at_.z[i] -= at_.u[static_cast<long>(i) * m + j] * at_.z[j]; });
    }
  }

  // y := G w - h
  EVERFACE_HD void gradient() {
    team_.each(hull_.m, [&](int i) {
      double total = -at_.h[i];
      for (int a = 0; a < count(); ++a) total += at_.w[a] * hull_.gram[static_cast<long>(at_.S[a]) * hull_.m + i];
      at_.y[i] = total;
    });
  }

  // Drops what `keep` refuses; returns how many went.
  template <class Keep>
  EVERFACE_HD int drop_unless(Keep keep) {
    const int before = count();
    team_.barrier();
    team_.lead([&] {
      int n = 0;
      for (int a = 0; a < before; ++a) {
        if (keep(a)) {
          at_.S[n] = at_.S[a], at_.w[n] = at_.w[a], at_.z[n] = at_.z[a];
          ++n;
        } else {
          at_.in[at_.S[a]] = 0;
        }
      }
      at_.state[0] = n;
    });
    return before - count();
  }

  EVERFACE_HD double least_outside() {
    return team_.least(hull_.m, [&](int i) { return at_.in[i] ? 1e300 : at_.y[i]; });
  }

  // Lets in the vertices beyond `bound` by at least half as much as the worst one; returns how many.
  EVERFACE_HD int add_violators(double bound) {
    const double worst = least_outside();
    const int before = count();
    team_.barrier();
    if (!(worst < bound)) return 0;
    const double limit = bound + 0.5 * (worst - bound);
    team_.lead([&] {
      for (int i = 0; i < hull_.m; ++i) {
        if (!at_.in[i] && at_.y[i] <= limit) add(i, 0.0);
      }
    });
    return count() - before;
  }

  EVERFACE_HD void save() {
    team_.each(count(), [&](int a) { at_.best_S[a] = at_.S[a], at_.best_w[a] = at_.w[a]; });
    team_.lead([&] { at_.state[1] = at_.state[0]; });
  }
  EVERFACE_HD void restore() {
    team_.lead([&] {
      for (int a = 0; a < at_.state[0]; ++a) at_.in[at_.S[a]] = 0;
      at_.state[0] = 0;
      for (int a = 0; a < at_.state[1]; ++a) add(at_.best_S[a], at_.best_w[a]);
    });
  }

  EVERFACE_HD void solve() {
    double best = 1e300;
    for (;;) {
      minimise(at_.h, 1.0);
      if (drop_unless([&](int a) { return at_.z[a] > 0.0; }) > 0) continue;
      team_.each(count(), [&](int a) { at_.w[a] = at_.z[a]; });
      const double value = nu_ - team_.sum(count(), [&](int a) { return at_.w[a] * at_.h[at_.S[a]]; });
      if (!(value < best)) {
        restore();
        wolfe();
        return;
      }
      best = value;
      save();
      gradient();
      if (add_violators(nu_ - entering_) == 0) return;
    }
  }

  // How far the weights can go towards z before one of them is negative.
  EVERFACE_HD double free_step() {
    const double step =
        team_.least(count(), [&](int a) { return at_.z[a] > 0.0 ? 1.0 : at_.w[a] / (at_.w[a] - at_.z[a] + 1e-300); });
    return step < 1.0 ? step : 1.0;
  }

  EVERFACE_HD void wolfe() {
    for (int round = 0; round < 20 * hull_.m + 100; ++round) {
      gradient();
      const double here = team_.sum(count(), [&](int a) { return at_.w[a] * at_.y[at_.S[a]]; });
      const double worst = least_outside();
      if (!(worst < here - entering_) && round > 0) return;
      const int before = count();
      team_.barrier();
      if (worst < here - entering_) {
        team_.lead([&] {
          int i = 0;
          while (at_.in[i] || at_.y[i] > worst) ++i;
          add(i, 0.0);
        });
      }
      bool stuck = false;
      for (;;) {
        minimise(at_.h, 1.0);
        const double step = free_step();
        team_.each(count(), [&](int a) { at_.w[a] += step * (at_.z[a] - at_.w[a]); });
        if (step >= 1.0) break;
        drop_unless([&](int a) { return at_.z[a] > 0.0 || at_.w[a] > 1e-16; });
        stuck = step <= 0.0 && count() <= before;
        if (stuck) break;
      }
      if (stuck) return;
    }
  }

  // The certificate in the vertices' own space; y := V r.
  EVERFACE_HD double certify(double& slack) {
    const int k = count();
    team_.each(hull_.d, [&](int c) {
      double total = at_.q[c];
      for (int a = 0; a < k; ++a) total -= at_.w[a] * hull_.vertices[static_cast<long>(at_.S[a]) * hull_.d + c];
      at_.r[c] = total;
    });
    correlate(at_.r, at_.y);
    const double here = team_.sum(k, [&](int a) { return at_.w[a] * at_.y[at_.S[a]]; });
    const double top = -team_.least(hull_.m, [&](int i) { return -at_.y[i]; });
    slack = top > here ? top - here : 0.0;
    return team_.sum(hull_.d, [&](int c) { return at_.r[c] * at_.r[c]; });
  }

  // As Polish::correct_face: violators enter, then a step to the face's minimum.
  EVERFACE_HD void correct(double slack) {
    const double here = team_.sum(count(), [&](int a) { return at_.w[a] * at_.y[at_.S[a]]; });
    team_.each(hull_.m, [&](int i) { at_.h[i] = at_.y[i], at_.y[i] = here - at_.y[i]; });
    add_violators(-0.1 * slack);
    minimise(at_.h, 0.0);
    const double step =
        team_.least(count(), [&](int a) { return at_.w[a] + at_.z[a] < 0.0 ? -at_.w[a] / at_.z[a] : 1.0; });
    team_.each(count(), [&](int a) { at_.w[a] += step * at_.z[a]; });
    if (step < 1.0) drop_unless([&](int a) { return at_.w[a] > 1e-17 || at_.z[a] > 0.0; });
    const double total = team_.sum(count(), [&](int a) { return at_.w[a] > 0.0 ? at_.w[a] : 0.0; });
    team_.each(count(), [&](int a) { at_.w[a] = at_.w[a] > 0.0 ? at_.w[a] / total : 0.0; });
  }

  Team& team_;
  const TeamHull& hull_;
  TeamMemory at_;
  double nu_ = 0.0, entering_ = 0.0;
};

}  // namespace everface::hull
