// What a team of threads shares while it solves one query: a CUDA block, or the single thread of a CPU test. A Team
// offers each(n, f): f(i) for i in 0..n-1, then a barrier; sum(n, f) and least(n, f): reductions that all members get;
// lead(f): one member runs f, then a barrier.
#pragma once

#include <cmath>

#include "everface/core/number.hpp"

namespace everface::hull {

// The hull, as View in kernels.hpp has it.
struct TeamHull {
  int m = 0, d = 0;
  const double* vertices = nullptr;  // [m, d]
  const double* gram = nullptr;      // [m, m] with the shift
  double shift = 0.0, radius2 = 0.0, touching2 = 0.0;
};

// Memory that the team shares; state[0] is k, the number of vertices in the corral.
struct TeamMemory {
  double *u, *w, *z, *a, *b, *y, *h, *best_w, *q, *r;
  int *S, *best_S, *in, *state;
  EVERFACE_HD static long doubles(int m, int d) { return static_cast<long>(m) * m + 7L * m + 2L * d; }
  EVERFACE_HD static long ints(int m) { return 3L * m + 4; }
  EVERFACE_HD TeamMemory(double* x, int* i, int m, int d)
      : u(x),
        w(u + static_cast<long>(m) * m),
        z(w + m),
        a(z + m),
        b(a + m),
        y(b + m),
        h(y + m),
        best_w(h + m),
        q(best_w + m),
        r(q + d),
        S(i),
        best_S(S + m),
        in(best_S + m),
        state(in + m) {}
};

// A team of one.
struct SerialTeam {
  template <class F>
  EVERFACE_HD void each(int n, F f) {
    for (int i = 0; i < n; ++i) f(i);
  }
  template <class F>
  EVERFACE_HD double sum(int n, F f) {
    double total = 0.0;
    for (int i = 0; i < n; ++i) total += f(i);
    return total;
  }
  template <class F>
  EVERFACE_HD double least(int n, F f) {
    double low = 1e300;
    for (int i = 0; i < n; ++i) low = fmin(low, f(i));
    return low;
  }
  template <class F>
  EVERFACE_HD void lead(F f) {
    f();
  }
  EVERFACE_HD void barrier() {}
};

}  // namespace everface::hull
