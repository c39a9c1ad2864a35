// Minimal filtering (Winograd 1980; Lavin and Gray 2016, arXiv 1509.09308): a short convolution as
// out = AT [(G w) * (BT in)], applied along both axes. Each algorithm below is its one-dimensional transforms.
//   Point  1 tap (1x1 convolutions)                    1 product  per output
//   F2     3 taps, 2 outputs, points 0 1 -1 inf        2 products per output
//   F4     3 taps, 4 outputs, points 0 +-5/8 +-3/2 inf 1.5; these points halve the rounding error of 0 +-1 +-2
//   Up     transposed convolution of stride 2: of 6 outputs the 3 even ones have 2 taps (4 products) and the 3 odd ones
//          have 1 tap (3 products, which share one weight)
//   Down   the transpose of Up: a stride-2 convolution, for gradients
#pragma once

namespace everface::stylegan {

enum class Algo : int { kPoint = 0, kF2 = 1, kF4 = 2, kUp = 3, kDown = 4 };

// Along one axis: products per tile, distinct weights among them, samples read and written per tile.
struct AlgoShape {
  int products, classes, in, out, in_step, in_offset, taps;
};

constexpr AlgoShape shape_of(Algo algo) {
  switch (algo) {
    case Algo::kPoint:
      return {1, 1, 1, 1, 1, 0, 1};
    case Algo::kF2:
      return {4, 4, 4, 2, 2, -1, 3};
    case Algo::kF4:
      return {6, 6, 6, 4, 4, -1, 3};
    case Algo::kUp:
      return {7, 5, 4, 6, 3, -1, 3};
    default:
      return {7, 5, 7, 3, 6, 0, 3};
  }
}

// The weight used by product p, and how many products share the weight of a class.
constexpr int class_of(Algo algo, int p) { return (algo == Algo::kUp || algo == Algo::kDown) && p > 4 ? 4 : p; }
constexpr int sharers_of(Algo algo, int c) { return (algo == Algo::kUp || algo == Algo::kDown) && c == 4 ? 3 : 1; }

// Products are stored class by class, so that those which share a weight are one matrix product.
constexpr int slot_of(Algo algo, int p, int q) {
  const int classes = shape_of(algo).classes;
  int slot = 0;
  for (int c = 0; c < class_of(algo, p); ++c)
    for (int d = 0; d < classes; ++d) slot += sharers_of(algo, c) * sharers_of(algo, d);
  for (int d = 0; d < class_of(algo, q); ++d) slot += sharers_of(algo, class_of(algo, p)) * sharers_of(algo, d);
  const int row = p - class_of(algo, p), col = q - class_of(algo, q);
  return slot + row * sharers_of(algo, class_of(algo, q)) + col;
}

}  // namespace everface::stylegan
