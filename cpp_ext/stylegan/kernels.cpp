// The table of one instruction set (see cmake/kernels.cmake).
#include "layer.hpp"
#include "pointwise.hpp"
#include "tiles.hpp"
#include "weights.hpp"

namespace everface::stylegan {
namespace EVERFACE_ISA {

// An algorithm as a type: what knows it when it is run calls what knows it when it is compiled.
template <Algo A>
struct As {
  static constexpr Algo algo = A;
};

// Calls body with the algorithm's type. None is trained through kDown, which is for gradients alone.
template <class Body>
EVERFACE_INLINE void with_forward(Algo algo, const Body& body) {
  if (algo == Algo::kPoint) return body(As<Algo::kPoint>());
  if (algo == Algo::kF2) return body(As<Algo::kF2>());
  if (algo == Algo::kF4) return body(As<Algo::kF4>());
  if (algo == Algo::kUp) body(As<Algo::kUp>());
}

template <class Body>
EVERFACE_INLINE void with_algo(Algo algo, const Body& body) {
  if (algo == Algo::kDown) return body(As<Algo::kDown>());
  with_forward(algo, body);
}

template <class E>
void input(const Layer<E>& l, std::int64_t begin, std::int64_t end) {
  with_algo(l.algo, [&](auto as) { input_tiles<as.algo>(l, begin, end); });
}

template <class E>
void weight_input(const Layer<E>& l, std::int64_t begin, std::int64_t end) {
  with_forward(l.algo, [&](auto as) { input_for_weights<as.algo>(l, begin, end); });
}

template <class E>
void adjoint(const Layer<E>& l, const E* dz, std::int64_t begin, std::int64_t end) {
  with_forward(l.algo, [&](auto as) { adjoint_tiles<as.algo>(l, dz, begin, end); });
}

template <class E>
void output(const Layer<E>& l, Output kind, std::int64_t begin, std::int64_t end) {
  if (l.algo == Algo::kUp) return output_tiles<Algo::kUp, Output::kRaw>(l, begin, end);
  if (l.algo == Algo::kDown) return output_tiles<Algo::kDown, Output::kGrad>(l, begin, end);
  with_forward(l.algo, [&](auto as) {
    if (kind == Output::kActivate) return output_tiles<as.algo, Output::kActivate>(l, begin, end);
    output_tiles<as.algo, Output::kGrad>(l, begin, end);
  });
}

template <class E>
void pack(Algo algo, bool transposed, const Real<E>* w, std::int64_t out, std::int64_t in, E* u, std::int64_t begin,
          std::int64_t end) {
  with_algo(algo, [&](auto as) { pack_weights<as.algo>(transposed, w, out, in, u, begin, end); });
}

template <class R>
void unpack(Algo algo, const R* du, std::int64_t ld, const R* w, const R* square_grad, std::int64_t out,
            std::int64_t in, R* dw, std::int64_t begin, std::int64_t end) {
  with_forward(algo, [&](auto as) { unpack_weights<as.algo>(du, ld, w, square_grad, out, in, dw, begin, end); });
}

template <class E>
void expand(Algo algo, const Real<E>* taps, std::int64_t inner, std::int64_t first, int width, std::int64_t begin,
            std::int64_t end, E* u) {
  with_forward(algo, [&](auto as) { expand_weights<as.algo>(taps, inner, first, width, begin, end, u); });
}

template <class E>
Kernels<E> table() {
  using R = Real<E>;
  Kernels<E> k{};
  k.input = input<E>;
  k.input_for_weights = weight_input<E>;
  k.adjoint = adjoint<E>;
  k.output = output<E>;
  k.pack = pack<E>;
  if constexpr (sizeof(E) != 2) k.expand = expand<E>;  // bfloat16 packs pairs, and is small enough
  k.unpack = unpack<R>;
  k.fir = fir<E>;
  k.fir_adjoint = fir_adjoint<E>;
  k.activation_grad = activation_grad<E>;
  k.colours = colours<E>;
  k.dot = dot<E>;
  return k;
}

Kernels<float> float_table() { return table<float>(); }
Kernels<bf16> bf16_table() { return table<bf16>(); }
#if EVERFACE_VECTOR_BYTES == 16  // base alone has float64, which tests compare to
Kernels<double> double_table() { return table<double>(); }
#endif

}  // namespace EVERFACE_ISA
}  // namespace everface::stylegan
