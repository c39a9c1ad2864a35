// The kernels of the instruction set that core/isa.hpp selects. With AMX the products alone differ.
#include "everface/core/isa.hpp"
#include "jobs.hpp"

namespace everface::perceptual {

#define EVERFACE_DECLARE(isa)   \
  namespace isa {               \
  Kernels<float> float_table(); \
  Kernels<bf16> bf16_table();   \
  }
EVERFACE_DECLARE(base)
#if defined(EVERFACE_X86_KERNELS)
EVERFACE_DECLARE(avx2)
EVERFACE_DECLARE(avx512)
EVERFACE_DECLARE(avx512bf16)
#endif

template <>
const Kernels<float>& kernels<float>() {
  static const auto table = choose_kernels<Kernels<float>>({
      {Isa::kBase, base::float_table},
#if defined(EVERFACE_X86_KERNELS)
      {Isa::kAvx2, avx2::float_table},
      {Isa::kAvx512, avx512::float_table},
#endif
  });
  return table;
}

template <>
const Kernels<bf16>& kernels<bf16>() {
  static const auto table = choose_kernels<Kernels<bf16>>({
      {Isa::kBase, base::bf16_table},
#if defined(EVERFACE_X86_KERNELS)
      {Isa::kAvx2, avx2::bf16_table},
      {Isa::kAvx512, avx512::bf16_table},
      {Isa::kAvx512Bf16, avx512bf16::bf16_table},
#endif
  });
  return table;
}

}  // namespace everface::perceptual
