// Matrix products of the selected instruction set (everface/core/isa.hpp), for code that is not compiled once per set.
// Kernels that are have the templates of everface/core/gemm.hpp.
#pragma once

#include <cstdint>

#include "everface/core/isa.hpp"
#include "everface/core/number.hpp"

namespace everface {

// E is float, bf16, or double, which has only the least common set: tests compare to it. All functions run on the
// calling thread; callers share rows or blocks of columns among the tasks of a pool.
template <class E>
struct Products {
  using R = Real<E>;
  Isa isa;
  int lanes;  // sums in a vector
  int block;  // columns of a packed block: two vectors
  // The inner dimension of a packed operand is padded to a multiple of this: that of an AMX tile.
  static constexpr int depth = sizeof(E) == 2 ? 32 : 1;

  // c[rows, cols] (+)= a[rows, depth] u, u one packed block of cols <= block columns, a multiple of lanes. Strides are
  // in numbers.
  void (*gemm)(const E* a, std::int64_t lda, std::int64_t rows, const E* u, std::int64_t depth, int cols, R* c,
               std::int64_t ldc, bool add);
  // c[cin, cols] (+)= v[rows, cin]^T m[rows, cols]; for bfloat16 a row of v and m holds pairs of numbers, two rows of
  // the matrices side by side. cols is a multiple of lanes, and panel is scratch for rows (cin + block) items of type
  // R, cin rounded up to lanes.
  void (*gemm_weight)(const void* v, std::int64_t ldv, const void* m, std::int64_t ldm, std::int64_t rows,
                      std::int64_t cin, std::int64_t cols, R* c, std::int64_t ldc, bool add, R* panel);
  // c[rows, cols] = start + a b for operands as they lie: a(i, k) = a[i * row + k * step], b(k, j) = b[k * ldb + j],
  // start(i, j) = start[i * start_row + j], or zero if start is null; start may be c.
  void (*multiply)(const R* a, std::int64_t row, std::int64_t step, std::int64_t rows, const R* b, std::int64_t ldb,
                   std::int64_t depth, std::int64_t cols, const R* start, std::int64_t start_row, R* c,
                   std::int64_t ldc);
};

template <class E>
const Products<E>& products();

// Numbers in the packed form of B[depth, cols]: blocks of `block` columns, each [depth][columns of the block], in
// bfloat16 with pairs of rows side by side. Both dimensions are padded with zeros, to multiples of depth and lanes.
template <class E>
std::int64_t packed_elements(std::int64_t depth, std::int64_t cols);

// B(k, j) = b[k * row + j * column] to its packed form.
template <class E>
void pack_matrix(const Real<E>* b, std::int64_t row, std::int64_t column, std::int64_t depth, std::int64_t cols, E* to);

// c[rows, cols] (+)= a[rows, depth] B. The columns of a behind depth, up to its multiple, have to be numbers (they are
// multiplied by zero); c is written up to a multiple of lanes.
template <class E>
void multiply_packed(const E* a, std::int64_t lda, std::int64_t rows, const E* packed, std::int64_t depth,
                     std::int64_t cols, Real<E>* c, std::int64_t ldc, bool add);

}  // namespace everface
