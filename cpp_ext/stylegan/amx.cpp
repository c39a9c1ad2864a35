// AMX beside avx512bf16: the products alone differ.
#include "everface/core/gemm_amx.hpp"
#include "layer.hpp"

namespace everface::stylegan {
namespace avx512bf16 {
Kernels<bf16> bf16_table();
}
namespace amx {

Kernels<bf16> bf16_table() {
  using Products = core::amx::AmxProducts<core::AmxTiles>;
  Kernels<bf16> k = avx512bf16::bf16_table();
  k.isa = Isa::kAmx;
  k.gemm = Products::gemm;
  k.gemm_weight = Products::gemm_weight;
  return k;
}

}  // namespace amx
}  // namespace everface::stylegan
