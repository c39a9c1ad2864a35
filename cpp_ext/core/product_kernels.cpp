// The products of one instruction set (see cmake/kernels.cmake).
#include "everface/core/gemm.hpp"
#include "everface/core/products.hpp"
#if defined(__AMX_BF16__)
#include "everface/core/gemm_amx.hpp"
#endif

namespace everface::core {
namespace EVERFACE_ISA {

template <class E>
Products<E> product_table() {
  return {Isa::EVERFACE_ISA_VALUE, kLanes<E>, kGemmVectors * kLanes<E>, gemm<E>, gemm_weight<E>, multiply<Real<E>>};
}

#if defined(__AMX_BF16__)
Products<bf16> bf16_products() {
  Products<bf16> table = product_table<bf16>();
  table.gemm = AmxProducts<AmxTiles>::gemm;
  table.gemm_weight = AmxProducts<AmxTiles>::gemm_weight;
  return table;
}
#else
Products<bf16> bf16_products() { return product_table<bf16>(); }
Products<float> float_products() { return product_table<float>(); }
#if EVERFACE_VECTOR_BYTES == 16
Products<double> double_products() { return product_table<double>(); }
#endif
#endif

}  // namespace EVERFACE_ISA
}  // namespace everface::core
