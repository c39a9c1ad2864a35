// The table of kernels that each instruction set provides, and the plain data that they share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "everface/core/isa.hpp"

namespace everface::hull {

// Columns are padded to this many doubles so that kernels may read and write whole vectors.
constexpr std::int64_t kPad = 16;
inline std::int64_t padded(std::int64_t count) { return (count + kPad - 1) / kPad * kPad; }

// Numbers of the summed dimension handled at once: a block of queries and a panel of vertices stay in cache, and
// float32 sums are short before they are added in float64.
constexpr std::int64_t kDepth = 256;

// A prepared hull as the kernels see it. Everything is centred on the vertex mean and scaled to a radius near 1.
struct View {
  std::int64_t m = 0, d = 0;
  std::int64_t ld_vertices = 0;      // row stride of vertices, padded(d)
  std::int64_t ld_gram = 0;          // row stride of gram and inverse, padded(m)
  const double* vertices = nullptr;  // [m, ld_vertices], or null where only the Gram matrix is wanted
  const double* gram = nullptr;      // [m, ld_gram], V V^T + shift
  const double* diagonal = nullptr;  // [padded(m)], |v_i|^2 (1 in the padding)
  const double* inverse = nullptr;   // [m, ld_gram], pseudo-inverse of V V^T, or null where vertices are dependent
  const void* packed = nullptr;      // vertices packed for the query type, or null for few queries
  const double* packed_inverse = nullptr;
  const double* centre = nullptr;  // [d], in the caller's units
  double scale = 1.0;              // caller's units times scale are ours, queries included
  double query_scale = 1.0;        // scale / (1 + m beta)
  double radius2 = 0.0;            // max |v_i|^2
  double touching2 = 0.0;          // see relative_gap
  double weight_noise = 0.0;       // rounding to expect in weights that come from `inverse`
  double shift = 0.0;              // added to every entry of gram, which makes it positive definite
};

// Results of one block of queries, and the memory to find them. All sizes follow from the view and the block.
struct Block {
  std::int64_t count = 0;         // queries in the block
  double* correlation = nullptr;  // [count, padded(m)] v_i . q
  double* affine = nullptr;       // [count, padded(m)]
  double* norm2 = nullptr;        // [count] |q|^2
  double* distance2 = nullptr;    // [count]
  double* gap = nullptr;          // [count]
  std::int32_t* used = nullptr;   // [count] weights that are not zero
  std::int32_t* index = nullptr;  // [count, m]
  double* weight = nullptr;       // [count, m]
  double* scratch = nullptr;      // as many as Kernels::scratch says
  void* queries = nullptr;        // [count, kDepth] of the query type
  bool use_affine = true;         // try the projection to the affine hull first
  std::int64_t affine_hits = 0;   // queries for which it was the answer
};

template <class T>
using ProjectBlock = void (*)(const View& view, const T* queries, std::int64_t ld, double tolerance, Block& block);

// Reading vertices: rows of the caller's type, stride ld.
template <class T>
struct Intake {
  // sum [d] of the rows, added to what is there.
  void (*mean)(const T* rows, std::int64_t m, std::int64_t d, std::int64_t ld, double* sum);
  // The largest |row - centre|, and a number that is 0 where all are finite.
  void (*largest)(const T* rows, std::int64_t m, std::int64_t d, std::int64_t ld, const double* centre, double* largest,
                  double* check);
  // out := (row - centre) scale, zeros in the padding.
  void (*centred)(const T* rows, std::int64_t m, std::int64_t d, std::int64_t ld, const double* centre, double scale,
                  double* out, std::int64_t ld_out);
};

struct Kernels {
  Isa isa;
  Intake<double> intake_f64;
  Intake<float> intake_f32;
  // Vertices [rows, depth] as column panels for the product below.
  std::size_t (*packed_size)(std::int64_t rows, std::int64_t depth, std::size_t item);
  void (*pack_f64)(const double* rows_in, std::int64_t rows, std::int64_t depth, std::int64_t ld, double* out);
  void (*pack_f32)(const double* rows_in, std::int64_t rows, std::int64_t depth, std::int64_t ld, float* out);
  // out[i, j] = a_i . b_j, i < count, j < rows of the packed matrix; out has row stride ld_out >= padded(rows).
  void (*product)(const double* a, std::int64_t lda, std::int64_t count, const double* packed, std::int64_t rows,
                  std::int64_t depth, double* out, std::int64_t ld_out);
  // Rows first..last-1 of A A^T, at least from the diagonal to the right.
  void (*gram_rows)(const double* a, std::int64_t lda, std::int64_t first, std::int64_t last, const double* packed,
                    std::int64_t rows, std::int64_t depth, double* out, std::int64_t ld_out);
  // The same for few rows, padded with zeros, that are not packed; add: to what is there.
  void (*gram_dots)(const double* a, std::int64_t lda, std::int64_t m, std::int64_t depth, double* out,
                    std::int64_t ld_out, bool add);
  // In place: upper factor U of a symmetric positive definite matrix [m, ld]; false where it is (nearly) singular.
  bool (*factor)(double* matrix, std::int64_t m, std::int64_t ld, double least_pivot);
  // inverse [m, ld_out], zero before, becomes U^-1.
  void (*invert_upper)(const double* upper, std::int64_t m, std::int64_t ld, double* inverse, std::int64_t ld_out);
  // Doubles of scratch that a block needs.
  std::size_t (*scratch)(const View& view);
  // Distances from inner products alone: h [count, ld_h], norm2 [count]; weight may be null.
  void (*gram_distances)(const View& view, const double* h, std::int64_t ld_h, const double* norm2, std::int64_t count,
                         double* scratch, double* distance2, double* weight);
  ProjectBlock<double> project_f64;
  ProjectBlock<float> project_f32;
};

// The kernels of an instruction set ("": the selected one, see everface/core/isa.hpp); null where it is not compiled in
// or wider than the selected one.
const Kernels* find_kernels(const char* isa);

}  // namespace everface::hull
