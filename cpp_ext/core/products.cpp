#include "everface/core/products.hpp"

#include <algorithm>

#include "everface/core/carver.hpp"

namespace everface {

namespace core {
namespace base {
Products<float> float_products();
Products<bf16> bf16_products();
Products<double> double_products();
}  // namespace base
#if defined(EVERFACE_X86_KERNELS)
namespace avx2 {
Products<float> float_products();
Products<bf16> bf16_products();
}  // namespace avx2
namespace avx512 {
Products<float> float_products();
Products<bf16> bf16_products();
}  // namespace avx512
namespace avx512bf16 {
Products<bf16> bf16_products();
}
#endif
#if defined(EVERFACE_AMX_KERNELS)
namespace amx {
Products<bf16> bf16_products();
}
#endif
}  // namespace core

template <>
const Products<float>& products<float>() {
  static const auto table = choose_kernels<Products<float>>({
      {Isa::kBase, core::base::float_products},
#if defined(EVERFACE_X86_KERNELS)
      {Isa::kAvx2, core::avx2::float_products},
      {Isa::kAvx512, core::avx512::float_products},
#endif
  });
  return table;
}

template <>
const Products<bf16>& products<bf16>() {
  static const auto table = choose_kernels<Products<bf16>>({
      {Isa::kBase, core::base::bf16_products},
#if defined(EVERFACE_X86_KERNELS)
      {Isa::kAvx2, core::avx2::bf16_products},
      {Isa::kAvx512, core::avx512::bf16_products},
      {Isa::kAvx512Bf16, core::avx512bf16::bf16_products},
#endif
#if defined(EVERFACE_AMX_KERNELS)
      {Isa::kAmx, core::amx::bf16_products},
#endif
  });
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
