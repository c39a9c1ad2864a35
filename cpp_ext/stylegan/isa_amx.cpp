// AMX beside avx512bf16: the products alone differ (see CMakeLists.txt and dispatch.cpp).
#define EVERFACE_ISA amx
#define EVERFACE_VECTOR_BYTES 64
#include "amx_gemm.hpp"
#include "layer.hpp"

namespace everface::stylegan {
namespace avx512bf16 {
Kernels<bf16> bf16_table();
}
namespace amx {

Kernels<bf16> bf16_table() {
  Kernels<bf16> k = avx512bf16::bf16_table();
  k.isa = "amx";
  k.gemm = AmxProducts<AmxTiles>::gemm;
  k.gemm_weight = AmxProducts<AmxTiles>::gemm_weight;
  return k;
}

}  // namespace amx
}  // namespace everface::stylegan
