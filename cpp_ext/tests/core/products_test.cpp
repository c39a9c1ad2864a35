// Matrix products against sums in double: every number of rows of a block, one and two vectors of columns, odd depths,
// added to and not, all types. EVERFACE_ISA chooses a narrower instruction set.
#include "everface/core/products.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "check.hpp"
#include "numbers.hpp"

using namespace everface;

namespace {

template <class E>
std::vector<E> random_numbers(std::int64_t count, unsigned seed) {
  std::vector<E> out;
  for (const double value : test::gaussian(static_cast<std::size_t>(count), seed)) out.push_back(test::from<E>(value));
  return out;
}

// Rounding of `terms` sums, each of numbers near 1, four standard deviations out.
template <class R>
double tolerance(std::int64_t terms) {
  const double unit = sizeof(R) == 8 ? 0x1p-53 : 0x1p-24;
  return 16 * unit * static_cast<double>(terms + 8);
}

template <class E>
void packed(std::int64_t rows, std::int64_t depth, std::int64_t cols, bool add) {
  using R = Real<E>;
  const std::int64_t lda = (depth + 31) / 32 * 32 + 32, ldc = (cols + 31) / 32 * 32 + 5;
  std::vector<E> a = random_numbers<E>(rows * lda, 1);
  std::vector<R> b;
  for (const E value : random_numbers<E>(depth * cols, 2)) b.push_back(static_cast<R>(test::to(value)));
  std::vector<E> operand(static_cast<std::size_t>(packed_elements<E>(depth, cols)));
  pack_matrix<E>(b.data(), 1, depth, depth, cols, operand.data());  // b lies transposed
  std::vector<R> c(static_cast<std::size_t>(rows * ldc), R(0.5));
  multiply_packed<E>(a.data(), lda, rows, operand.data(), depth, cols, c.data(), ldc, add);
  double worst = 0;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < cols; ++j) {
      double sum = add ? 0.5 : 0;
      for (std::int64_t k = 0; k < depth; ++k)
        sum += test::to(a[static_cast<std::size_t>(i * lda + k)]) *
               static_cast<double>(b[static_cast<std::size_t>(j * depth + k)]);
      worst = std::max(worst, std::abs(static_cast<double>(c[static_cast<std::size_t>(i * ldc + j)]) - sum));
    }
  CHECK(worst <= tolerance<R>(depth));
}

// c = start + a b with a read along either axis, and one start for all rows.
template <class R>
void as_they_lie(std::int64_t rows, std::int64_t depth, std::int64_t cols, bool turned, bool started) {
  const std::vector<R> a = random_numbers<R>(rows * depth, 3), b = random_numbers<R>(depth * cols, 4);
  const std::vector<R> start = random_numbers<R>(cols, 5);
  const std::int64_t row = turned ? 1 : depth, step = turned ? rows : 1;
  std::vector<R> c(static_cast<std::size_t>(rows * cols + 1), R(7));
  products<R>().multiply(a.data(), row, step, rows, b.data(), cols, depth, cols, started ? start.data() : nullptr, 0,
                         c.data(), cols);
  double worst = 0;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < cols; ++j) {
      double sum = started ? static_cast<double>(start[static_cast<std::size_t>(j)]) : 0;
      for (std::int64_t k = 0; k < depth; ++k)
        sum += static_cast<double>(a[static_cast<std::size_t>(i * row + k * step)]) *
               static_cast<double>(b[static_cast<std::size_t>(k * cols + j)]);
      worst = std::max(worst, std::abs(static_cast<double>(c[static_cast<std::size_t>(i * cols + j)]) - sum));
    }
  CHECK(worst <= tolerance<R>(depth));
  CHECK(c.back() == R(7));
}

// c[cin, cols] (+)= v^T m; of bfloat16 two rows lie side by side.
template <class E>
void weight(std::int64_t rows, std::int64_t cin, std::int64_t cols, bool add) {
  using R = Real<E>;
  constexpr std::int64_t together = sizeof(E) == 2 ? 2 : 1;
  const auto& p = products<E>();
  cols = (cols + p.lanes - 1) / p.lanes * p.lanes;
  const std::vector<E> v = random_numbers<E>(together * rows * cin, 6),
                       m = random_numbers<E>(together * rows * cols, 7);
  std::vector<R> c(static_cast<std::size_t>(cin * cols), R(0.5));
  std::vector<R> panel(static_cast<std::size_t>(rows * (cin + p.lanes + p.block)));
  p.gemm_weight(v.data(), cin, m.data(), cols, rows, cin, cols, c.data(), cols, add, panel.data());
  double worst = 0;
  for (std::int64_t i = 0; i < cin; ++i)
    for (std::int64_t j = 0; j < cols; ++j) {
      double sum = add ? 0.5 : 0;
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t half = 0; half < together; ++half)
          sum += test::to(v[static_cast<std::size_t>((r * cin + i) * together + half)]) *
                 test::to(m[static_cast<std::size_t>((r * cols + j) * together + half)]);
      worst = std::max(worst, std::abs(static_cast<double>(c[static_cast<std::size_t>(i * cols + j)]) - sum));
    }
  CHECK(worst <= tolerance<R>(together * rows));
}

template <class E>
void all() {
  for (std::int64_t rows = 1; rows <= 30; ++rows) packed<E>(rows, 7, 40, rows % 2 == 0);
  for (const std::int64_t depth : {1, 2, 31, 33, 300})
    for (const std::int64_t cols : {1, 4, 16, 17, 33, 70})
      for (const bool add : {false, true}) packed<E>(15, depth, cols, add), weight<E>(depth, 21, cols, add);
  weight<E>(9, 30, 600, true);  // wide enough to copy panels
}

}  // namespace

int main() {
  all<float>(), all<bf16>(), all<double>();
  for (const std::int64_t cols : {1, 16, 21, 64})
    for (const bool turned : {false, true})
      for (const bool started : {false, true}) {
        as_they_lie<float>(19, 23, cols, turned, started);
        as_they_lie<double>(5, 3, cols, turned, started);
      }
  std::printf("products: %s and %s\n", isa_name(products<float>().isa), isa_name(products<bf16>().isa));
  return test::finish();
}
