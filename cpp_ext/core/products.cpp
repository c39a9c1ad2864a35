#include "everface/core/products.hpp"

#include <algorithm>

#include "everface/core/carver.hpp"
#include "everface/core/tables.hpp"

namespace everface {

// AMX has products of its own, and nothing else.
#if defined(EVERFACE_AMX_KERNELS)
#define EVERFACE_PRODUCT_SETS(USE, ...) EVERFACE_BF16_SETS(USE, __VA_ARGS__) USE(amx, kAmx, __VA_ARGS__)
#else
#define EVERFACE_PRODUCT_SETS EVERFACE_BF16_SETS
#endif

namespace core {
EVERFACE_TABLES(EVERFACE_FLOAT_SETS, Products<float>, float_products)
EVERFACE_TABLES(EVERFACE_PRODUCT_SETS, Products<bf16>, bf16_products)
namespace base {
Products<double> double_products();
}
}  // namespace core

template <>
const Products<float>& products<float>() {
  static const auto table = core::choose_float_products();
  return table;
}

template <>
const Products<bf16>& products<bf16>() {
  static const auto table = core::choose_bf16_products();
  return table;
}

template <>
const Products<double>& products<double>() {
  static const Products<double> table = core::base::double_products();
  return table;
}

template <class E>
std::int64_t packed_elements(std::int64_t depth, std::int64_t cols) {
  return round_up(depth, products<E>().depth) * round_up(cols, products<E>().lanes);
}

template <class E>
void pack_matrix(const Real<E>* b, std::int64_t row, std::int64_t column, std::int64_t depth, std::int64_t cols,
                 E* to) {
  constexpr std::int64_t together = sizeof(E) == 2 ? 2 : 1;
  const auto& p = products<E>();
  const std::int64_t padded = round_up(cols, p.lanes), deep = round_up(depth, p.depth);
  for (std::int64_t first = 0; first < padded; first += p.block)
    for (std::int64_t k = 0; k < deep; k += together)
      for (std::int64_t j = first; j < std::min(first + p.block, padded); ++j)
        for (std::int64_t i = k; i < k + together; ++i)
          from_real(i < depth && j < cols ? b[i * row + j * column] : Real<E>(0), to++);
}

template <class E>
void multiply_packed(const E* a, std::int64_t lda, std::int64_t rows, const E* packed, std::int64_t depth,
                     std::int64_t cols, Real<E>* c, std::int64_t ldc, bool add) {
  const auto& p = products<E>();
  const std::int64_t padded = round_up(cols, p.lanes), deep = round_up(depth, p.depth);
  for (std::int64_t j = 0; j < padded; j += p.block)
    p.gemm(a, lda, rows, packed + j * deep, deep, static_cast<int>(std::min<std::int64_t>(p.block, padded - j)), c + j,
           ldc, add);
}

#define EVERFACE_INSTANTIATE(E)                                                                                       \
  template std::int64_t packed_elements<E>(std::int64_t, std::int64_t);                                               \
  template void pack_matrix(const Real<E>*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, E*);              \
  template void multiply_packed(const E*, std::int64_t, std::int64_t, const E*, std::int64_t, std::int64_t, Real<E>*, \
                                std::int64_t, bool);
EVERFACE_INSTANTIATE(float)
EVERFACE_INSTANTIATE(bf16)
EVERFACE_INSTANTIATE(double)

}  // namespace everface
