// Reading the caller's vertices: mean, magnitude, centring.
#pragma once

#include "kernels.hpp"
#include "vectors.hpp"

namespace everface::hull::EVERFACE_ISA {

template <class T>
void add_rows(const T* rows, std::int64_t m, std::int64_t d, std::int64_t ld, double* sum) {
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t k = 0; k < d; ++k) sum[k] += static_cast<double>(rows[i * ld + k]);
  }
}

template <class T>
void largest_entry(const T* rows, std::int64_t m, std::int64_t d, std::int64_t ld, const double* centre,
                   double* largest, double* check) {
  constexpr std::int64_t lanes = kLanes<double>;
  // The second sum is NaN for what is not finite, where a maximum may forget it.
  Vec<double> top{}, wrong{};
  for (std::int64_t i = 0; i < m; ++i) {
    const T* row = rows + i * ld;
    std::int64_t k = 0;
    for (; k + lanes <= d; k += lanes) {
      const Vec<double> x = load_wide(row + k) - load(centre + k);
      top = x > top ? x : top;
      top = -x > top ? -x : top;
      wrong += x - x;
    }
    for (; k < d; ++k) {
      const double x = static_cast<double>(row[k]) - centre[k];
      *largest = most(*largest, x < 0.0 ? -x : x);
      *check += x - x;
    }
  }
  for (int p = 0; p < static_cast<int>(lanes); ++p) *largest = most(*largest, top[p]), *check += wrong[p];
}

template <class T>
void centre_rows(const T* rows, std::int64_t m, std::int64_t d, std::int64_t ld, const double* centre, double scale,
                 double* out, std::int64_t ld_out) {
  for (std::int64_t i = 0; i < m; ++i) {
    double* to = out + i * ld_out;
    for (std::int64_t k = 0; k < d; ++k) to[k] = (static_cast<double>(rows[i * ld + k]) - centre[k]) * scale;
    for (std::int64_t k = d; k < ld_out; ++k) to[k] = 0.0;
  }
}

}  // namespace everface::hull::EVERFACE_ISA
