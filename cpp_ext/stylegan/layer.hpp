// What the drivers (ISA-independent) and the kernels (one set per ISA) share.
#pragma once

#include <cstdint>

#include "algo_shape.hpp"
#include "everface/core/products.hpp"

namespace everface::stylegan {

// One tiled convolution, and the chunk of its tiles that is in the buffers. Images are [batch, height, width,
// channels]. Tiles are numbered image by image, row by row.
template <class E>
struct Layer {
  using R = Real<E>;
  Algo algo;
  std::int64_t batch, ih, iw, cin, oh, ow, cout;  // oh = 2 ih + 1 for kUp, before the FIR
  std::int64_t th, tw;                            // tiles per image

  // Buffers of a chunk: [slot][tile][channel], where a slot is one of products^2.
  std::int64_t first, count;
  std::int64_t v_ld, v_step, m_ld, m_step;
  void* v;  // transformed input
  R* m;     // products, or the transformed output gradient; for weight gradients in bfloat16 both hold pairs of tiles
  std::int64_t cols_begin, cols_end;  // the output channels that are in m

  const E* x;
  const R* scale;  // [batch, cin] or null: the styles

  // Activate: y = clamp(lrelu(z demod + noise strength + bias) gain).
  const R* demod;  // [batch, cout] or null
  const R* noise;  // [batch or 1, oh, ow] or null
  std::int64_t noise_step;
  R strength;
  const R* bias;  // [cout] or null
  R slope, gain, clamp;
  E* y;

  R* raw;                 // Raw: the products' sum itself, [batch, oh, ow, cout]
  std::int64_t raw_rows;  // if not 0, raw holds that many rows, and row y lies at y modulo raw_rows

  // Grad: y = z scale_out, and scale_grad[batch, cout] += sum over pixels of z x_saved.
  const E* x_saved;
  const R* scale_out;
  R* scale_grad;
};

// Elements from class to class of a packed operand, or of a weight gradient in the transformed domain. All classes are
// written and read side by side: multiples of 4 KiB would put them into the same cache sets.
template <class E>
constexpr std::int64_t class_step(std::int64_t rows, std::int64_t cols) {
  constexpr std::int64_t line = 64 / sizeof(E);
  return (rows * cols + line - 1) / line * line + line;
}

enum class Output : int { kActivate, kRaw, kGrad };

// The [1,3,3,1] filter after a transposed convolution, with the activation; and its transpose.
template <class E>
struct Fir {
  using R = Real<E>;
  std::int64_t batch, oh, ow, cout;  // of the result, twice the input's
  const R* t;                        // [batch, oh + 1, ow + 1, cout], or the last rows of one image
  std::int64_t t_rows;               // if not 0, t holds that many rows, and row y lies at y modulo t_rows
  E* dt;                             // its gradient
  const E* dz;                       // gradient of the result before the activation
};

// Backward of the activation: dz = dy gain lrelu'(.) demod, with the sums that the other gradients need.
template <class E>
struct ActivationGrad {
  using R = Real<E>;
  std::int64_t batch, pixels, cout;
  const E* dy;  // or null, for zero
  const E* y;
  const R* demod;
  const R* noise;
  std::int64_t noise_step;
  R strength;
  const R* bias;
  R slope, gain, clamp;
  E* dz;
  // A 1x1 convolution to a few colours that also reads y: dy += sum_o dcolours[n, o, pixel] weights[n, o, channel].
  int colours;
  const R* dcolours;
  const R* colour_weights;
  R* dcolour_weights;  // [batch, colours, cout] +=
  R* dbias;            // [cout] +=
  R* ddemod;           // [batch, cout] += sum of du z, or null
  R* dstrength;        // [1] +=, or null
};

// torgb: out[n, o, pixel] = clamp(sum_c x[n, pixel, c] weights[n, o, c] + bias[o]).
template <class E>
struct Colours {
  using R = Real<E>;
  std::int64_t batch, pixels, cin;
  int colours;
  const E* x;
  const R* weights;
  const R* bias;
  R clamp;
  R* out;
};

constexpr int kMaxColours = 4;

template <class E>
struct Kernels : Products<E> {
  using R = Real<E>;

  // All take a range of the chunk's tiles.
  void (*input)(const Layer<E>&, std::int64_t begin, std::int64_t end);
  void (*input_for_weights)(const Layer<E>&, std::int64_t begin, std::int64_t end);
  void (*adjoint)(const Layer<E>&, const E* dz, std::int64_t begin, std::int64_t end);
  void (*output)(const Layer<E>&, Output kind, std::int64_t begin, std::int64_t end);

  // w[out, in, taps, taps] to packed blocks begin <= b < end; transposed: the convolution that the gradient of the
  // input is.
  void (*pack)(Algo algo, bool transposed, const R* w, std::int64_t out, std::int64_t in, E* u, std::int64_t begin,
               std::int64_t end);
  // u[class][begin <= inner < end][width] of the vectors of output channels first <= b < first + width / lanes, from
  // taps[vector][inner][tap][lane].
  void (*expand)(Algo algo, const R* taps, std::int64_t inner, std::int64_t first, int width, std::int64_t begin,
                 std::int64_t end, E* u);
  // dw[out, in, taps, taps] from du[class][in][ld]; square_grad[out, in] times 2 w is added.
  void (*unpack)(Algo algo, const R* du, std::int64_t ld, const R* w, const R* square_grad, std::int64_t out,
                 std::int64_t in, R* dw, std::int64_t begin, std::int64_t end);

  void (*fir)(const Layer<E>& activation, const Fir<E>& fir, std::int64_t row_begin, std::int64_t row_end);
  void (*fir_adjoint)(const Fir<E>& fir, std::int64_t row_begin, std::int64_t row_end);
  void (*activation_grad)(const ActivationGrad<E>&, std::int64_t begin, std::int64_t end);
  void (*colours)(const Colours<E>&, std::int64_t begin, std::int64_t end);

  // out[i, j] = scale sum_k a[i, k] b[j, k] + bias[j].
  void (*dot)(const R* a, std::int64_t lda, std::int64_t rows, const E* b, std::int64_t columns, std::int64_t depth,
              R scale, const R* bias, R* out);
};

// Those of the selected instruction set (everface/core/isa.hpp).
template <class E>
const Kernels<E>& kernels();

}  // namespace everface::stylegan
