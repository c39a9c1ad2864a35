// One-dimensional transforms of the algorithms in algo_shape.hpp.
#pragma once

#include <type_traits>

#include "algo_shape.hpp"
#include "everface/core/simd.hpp"

namespace everface::stylegan {
namespace EVERFACE_ISA {

using namespace core::EVERFACE_ISA;  // NOLINT: the vectors of this instruction set

template <Algo A>
struct Transform;

// BT: input samples to products; AT: products to output samples; A: its transpose; G: taps to weights; GT: transpose.
// Strides let the same code run along rows and columns.
template <>
struct Transform<Algo::kPoint> {
  template <class V>
  static EVERFACE_INLINE void bt(const V* d, int, V* v, int) {
    v[0] = d[0];
  }
  template <class V>
  static EVERFACE_INLINE void at(const V* m, int, V* y, int) {
    y[0] = m[0];
  }
  template <class V>
  static EVERFACE_INLINE void a(const V* y, int, V* m, int) {
    m[0] = y[0];
  }
  template <class V>
  static EVERFACE_INLINE void g(const V* w, int, V* u, int) {
    u[0] = w[0];
  }
  template <class V>
  static EVERFACE_INLINE void gt(const V* u, int, V* w, int) {
    w[0] = u[0];
  }
};

template <>
struct Transform<Algo::kF2> {
  template <class V>
  static EVERFACE_INLINE void bt(const V* d, int s, V* v, int t) {
    v[0] = d[0] - d[2 * s];
    v[t] = d[s] + d[2 * s];
    v[2 * t] = d[2 * s] - d[s];
    v[3 * t] = d[s] - d[3 * s];
  }
  template <class V>
  static EVERFACE_INLINE void at(const V* m, int s, V* y, int t) {
    y[0] = m[0] + m[s] + m[2 * s];
    y[t] = m[s] - m[2 * s] - m[3 * s];
  }
  template <class V>
  static EVERFACE_INLINE void a(const V* y, int s, V* m, int t) {
    m[0] = y[0];
    m[t] = y[0] + y[s];
    m[2 * t] = y[0] - y[s];
    m[3 * t] = -y[s];
  }
  template <class V>
  static EVERFACE_INLINE void g(const V* w, int s, V* u, int t) {
    const V ends = w[0] + w[2 * s];
    u[0] = w[0];
    u[t] = (ends + w[s]) * 0.5f;
    u[2 * t] = (ends - w[s]) * 0.5f;
    u[3 * t] = w[2 * s];
  }
  template <class V>
  static EVERFACE_INLINE void gt(const V* u, int s, V* w, int t) {
    const V sum = (u[s] + u[2 * s]) * 0.5f;
    w[0] = u[0] + sum;
    w[t] = (u[s] - u[2 * s]) * 0.5f;
    w[2 * t] = u[3 * s] + sum;
  }
};

template <>
struct Transform<Algo::kF4> {
  // a and b are the points, A and B their squares: all exact in float32.
  static constexpr float a1 = 0.625f, b1 = 1.5f, A = a1 * a1, B = b1 * b1, a3 = a1 * A, b3 = b1 * B;
  static constexpr double n0 = 1.0 / (A * B), na = 1.0 / (2.0 * A * (A - B)), nb = 1.0 / (2.0 * B * (B - A));

  template <class V>
  static EVERFACE_INLINE void bt(const V* d, int s, V* v, int t) {
    const V even_a = d[4 * s] - d[2 * s] * B, odd_a = (d[3 * s] - d[s] * B) * a1;
    const V even_b = d[4 * s] - d[2 * s] * A, odd_b = (d[3 * s] - d[s] * A) * b1;
    v[0] = d[0] * (A * B) + d[4 * s] - d[2 * s] * (A + B);
    v[t] = even_a + odd_a;
    v[2 * t] = even_a - odd_a;
    v[3 * t] = even_b + odd_b;
    v[4 * t] = even_b - odd_b;
    v[5 * t] = d[s] * (A * B) + d[5 * s] - d[3 * s] * (A + B);
  }
  template <class V>
  static EVERFACE_INLINE void at(const V* m, int s, V* y, int t) {
    const V sum_a = m[s] + m[2 * s], dif_a = m[s] - m[2 * s];
    const V sum_b = m[3 * s] + m[4 * s], dif_b = m[3 * s] - m[4 * s];
    y[0] = m[0] + sum_a + sum_b;
    y[t] = dif_a * a1 + dif_b * b1;
    y[2 * t] = sum_a * A + sum_b * B;
    y[3 * t] = dif_a * a3 + dif_b * b3 + m[5 * s];
  }
  template <class V>
  static EVERFACE_INLINE void a(const V* y, int s, V* m, int t) {
    const V even_a = y[0] + y[2 * s] * A, odd_a = y[s] * a1 + y[3 * s] * a3;
    const V even_b = y[0] + y[2 * s] * B, odd_b = y[s] * b1 + y[3 * s] * b3;
    m[0] = y[0];
    m[t] = even_a + odd_a;
    m[2 * t] = even_a - odd_a;
    m[3 * t] = even_b + odd_b;
    m[4 * t] = even_b - odd_b;
    m[5 * t] = y[3 * s];
  }
  template <class V>
  static EVERFACE_INLINE void g(const V* w, int s, V* u, int t) {
    using R = decltype(scalar_of(w[0]));
    const V even_a = (w[0] + w[2 * s] * R(A)) * R(na), odd_a = w[s] * R(a1 * na);
    const V even_b = (w[0] + w[2 * s] * R(B)) * R(nb), odd_b = w[s] * R(b1 * nb);
    u[0] = w[0] * R(n0);
    u[t] = even_a + odd_a;
    u[2 * t] = even_a - odd_a;
    u[3 * t] = even_b + odd_b;
    u[4 * t] = even_b - odd_b;
    u[5 * t] = w[2 * s];
  }
  template <class V>
  static EVERFACE_INLINE void gt(const V* u, int s, V* w, int t) {
    using R = decltype(scalar_of(u[0]));
    const V sum_a = (u[s] + u[2 * s]) * R(na), dif_a = (u[s] - u[2 * s]) * R(na);
    const V sum_b = (u[3 * s] + u[4 * s]) * R(nb), dif_b = (u[3 * s] - u[4 * s]) * R(nb);
    w[0] = u[0] * R(n0) + sum_a + sum_b;
    w[t] = dif_a * R(a1) + dif_b * R(b1);
    w[2 * t] = sum_a * R(A) + sum_b * R(B) + u[5 * s];
  }

 private:
  template <class V>
  static auto scalar_of(V v) -> typename std::remove_cv<typename std::remove_reference<decltype(v[0])>::type>::type;
};

// Even outputs e_i = w2 x_{i-1} + w0 x_i by F(3,2); odd outputs o_i = w1 x_i.
template <>
struct Transform<Algo::kUp> {
  template <class V>
  static EVERFACE_INLINE void bt(const V* d, int s, V* v, int t) {
    v[0] = d[0] - d[2 * s];
    v[t] = d[s] + d[2 * s];
    v[2 * t] = d[2 * s] - d[s];
    v[3 * t] = d[s] - d[3 * s];
    v[4 * t] = d[s];
    v[5 * t] = d[2 * s];
    v[6 * t] = d[3 * s];
  }
  template <class V>
  static EVERFACE_INLINE void at(const V* m, int s, V* y, int t) {
    y[0] = m[0] + m[s] + m[2 * s];
    y[t] = m[4 * s];
    y[2 * t] = m[s] - m[2 * s];
    y[3 * t] = m[5 * s];
    y[4 * t] = m[s] + m[2 * s] - m[3 * s];
    y[5 * t] = m[6 * s];
  }
  template <class V>
  static EVERFACE_INLINE void a(const V* y, int s, V* m, int t) {
    const V ends = y[0] + y[4 * s];
    m[0] = y[0];
    m[t] = ends + y[2 * s];
    m[2 * t] = ends - y[2 * s];
    m[3 * t] = -y[4 * s];
    m[4 * t] = y[s];
    m[5 * t] = y[3 * s];
    m[6 * t] = y[5 * s];
  }
  template <class V>
  static EVERFACE_INLINE void g(const V* w, int s, V* u, int t) {
    u[0] = w[2 * s];
    u[t] = (w[2 * s] + w[0]) * 0.5f;
    u[2 * t] = (w[2 * s] - w[0]) * 0.5f;
    u[3 * t] = w[0];
    u[4 * t] = w[s];
  }
  template <class V>
  static EVERFACE_INLINE void gt(const V* u, int s, V* w, int t) {
    w[0] = (u[s] - u[2 * s]) * 0.5f + u[3 * s];
    w[t] = u[4 * s];
    w[2 * t] = (u[s] + u[2 * s]) * 0.5f + u[0];
  }
};

// dx_i = w0 e_i + w2 e_{i+1} + w1 o_i from the samples e0 o0 e1 o1 e2 o2 e3.
template <>
struct Transform<Algo::kDown> {
  template <class V>
  static EVERFACE_INLINE void bt(const V* d, int s, V* v, int t) {
    v[0] = d[0] - d[4 * s];
    v[t] = d[2 * s] + d[4 * s];
    v[2 * t] = d[4 * s] - d[2 * s];
    v[3 * t] = d[2 * s] - d[6 * s];
    v[4 * t] = d[s];
    v[5 * t] = d[3 * s];
    v[6 * t] = d[5 * s];
  }
  template <class V>
  static EVERFACE_INLINE void at(const V* m, int s, V* y, int t) {
    y[0] = m[0] + m[s] + m[2 * s] + m[4 * s];
    y[t] = m[s] - m[2 * s] + m[5 * s];
    y[2 * t] = m[s] + m[2 * s] - m[3 * s] + m[6 * s];
  }
  template <class V>
  static EVERFACE_INLINE void g(const V* w, int s, V* u, int t) {
    u[0] = w[0];
    u[t] = (w[0] + w[2 * s]) * 0.5f;
    u[2 * t] = (w[0] - w[2 * s]) * 0.5f;
    u[3 * t] = w[2 * s];
    u[4 * t] = w[s];
  }
};

}  // namespace EVERFACE_ISA
}  // namespace everface::stylegan
