// The table of one instruction set (see cmake/kernels.cmake).
#include "layer.hpp"
#include "pointwise.hpp"
#include "tiles.hpp"
#include "weights.hpp"

namespace everface::stylegan {
namespace EVERFACE_ISA {

template <class E>
void input(const Layer<E>& l, std::int64_t begin, std::int64_t end) {
  switch (l.algo) {
    case Algo::kPoint:
      return input_tiles<Algo::kPoint>(l, begin, end);
    case Algo::kF2:
      return input_tiles<Algo::kF2>(l, begin, end);
    case Algo::kF4:
      return input_tiles<Algo::kF4>(l, begin, end);
    case Algo::kUp:
      return input_tiles<Algo::kUp>(l, begin, end);
    case Algo::kDown:
      return input_tiles<Algo::kDown>(l, begin, end);
  }
}

template <class E>
void weight_input(const Layer<E>& l, std::int64_t begin, std::int64_t end) {
  switch (l.algo) {
    case Algo::kPoint:
      return input_for_weights<Algo::kPoint>(l, begin, end);
    case Algo::kF2:
      return input_for_weights<Algo::kF2>(l, begin, end);
    case Algo::kF4:
      return input_for_weights<Algo::kF4>(l, begin, end);
    case Algo::kUp:
      return input_for_weights<Algo::kUp>(l, begin, end);
    case Algo::kDown:
      return;  // gradients only: never trained through
  }
}

template <class E>
void adjoint(const Layer<E>& l, const E* dz, std::int64_t begin, std::int64_t end) {
  switch (l.algo) {
    case Algo::kPoint:
      return adjoint_tiles<Algo::kPoint>(l, dz, begin, end);
    case Algo::kF2:
      return adjoint_tiles<Algo::kF2>(l, dz, begin, end);
    case Algo::kF4:
      return adjoint_tiles<Algo::kF4>(l, dz, begin, end);
    case Algo::kUp:
      return adjoint_tiles<Algo::kUp>(l, dz, begin, end);
    case Algo::kDown:
      return;  // gradients only: never trained through
  }
}

template <Algo A, class E>
void output_as(const Layer<E>& l, Output kind, std::int64_t begin, std::int64_t end) {
  if (kind == Output::kActivate) return output_tiles<A, Output::kActivate>(l, begin, end);
  return output_tiles<A, Output::kGrad>(l, begin, end);
}

template <class E>
void output(const Layer<E>& l, Output kind, std::int64_t begin, std::int64_t end) {
  switch (l.algo) {
    case Algo::kPoint:
      return output_as<Algo::kPoint>(l, kind, begin, end);
    case Algo::kF2:
      return output_as<Algo::kF2>(l, kind, begin, end);
    case Algo::kF4:
      return output_as<Algo::kF4>(l, kind, begin, end);
    case Algo::kUp:
      return output_tiles<Algo::kUp, Output::kRaw>(l, begin, end);
    case Algo::kDown:
      return output_tiles<Algo::kDown, Output::kGrad>(l, begin, end);
  }
}

template <class E>
void pack(Algo algo, bool transposed, const Real<E>* w, std::int64_t out, std::int64_t in, E* u, std::int64_t begin,
          std::int64_t end) {
  switch (algo) {
    case Algo::kPoint:
      return pack_weights<Algo::kPoint>(transposed, w, out, in, u, begin, end);
    case Algo::kF2:
      return pack_weights<Algo::kF2>(transposed, w, out, in, u, begin, end);
    case Algo::kF4:
      return pack_weights<Algo::kF4>(transposed, w, out, in, u, begin, end);
    case Algo::kUp:
      return pack_weights<Algo::kUp>(transposed, w, out, in, u, begin, end);
    case Algo::kDown:
      return pack_weights<Algo::kDown>(transposed, w, out, in, u, begin, end);
  }
}

template <class R>
void unpack(Algo algo, const R* du, std::int64_t ld, const R* w, const R* square_grad, std::int64_t out,
            std::int64_t in, R* dw, std::int64_t begin, std::int64_t end) {
  switch (algo) {
    case Algo::kPoint:
      return unpack_weights<Algo::kPoint>(du, ld, w, square_grad, out, in, dw, begin, end);
    case Algo::kF2:
      return unpack_weights<Algo::kF2>(du, ld, w, square_grad, out, in, dw, begin, end);
    case Algo::kF4:
      return unpack_weights<Algo::kF4>(du, ld, w, square_grad, out, in, dw, begin, end);
    case Algo::kUp:
      return unpack_weights<Algo::kUp>(du, ld, w, square_grad, out, in, dw, begin, end);
    case Algo::kDown:
      return;
  }
}

template <class E>
void expand(Algo algo, const Real<E>* taps, std::int64_t inner, std::int64_t first, int width, std::int64_t begin,
            std::int64_t end, E* u) {
  if (algo == Algo::kF2) return expand_weights<Algo::kF2>(taps, inner, first, width, begin, end, u);
  if (algo == Algo::kF4) return expand_weights<Algo::kF4>(taps, inner, first, width, begin, end, u);
  expand_weights<Algo::kUp>(taps, inner, first, width, begin, end, u);
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
