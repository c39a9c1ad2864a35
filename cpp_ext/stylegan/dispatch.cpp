// The kernels of the instruction set that core/isa.hpp selects.
#include "layer.hpp"

namespace everface::stylegan {

#define EVERFACE_DECLARE(isa)   \
  namespace isa {               \
  Kernels<float> float_table(); \
  Kernels<bf16> bf16_table();   \
  }
EVERFACE_DECLARE(base)
namespace base {
Kernels<double> double_table();
}
#if defined(EVERFACE_X86_KERNELS)
EVERFACE_DECLARE(avx2)
EVERFACE_DECLARE(avx512)
EVERFACE_DECLARE(avx512bf16)
#endif
namespace {

// With AMX the products alone differ from those of avx512bf16.
template <class E>
Kernels<E> with_products(Kernels<E> table) {
  static_cast<Products<E>&>(table) = products<E>();
  return table;
}

}  // namespace

template <>
const Kernels<float>& kernels<float>() {
  static const auto table = with_products(choose_kernels<Kernels<float>>({
      {Isa::kBase, base::float_table},
#if defined(EVERFACE_X86_KERNELS)
      {Isa::kAvx2, avx2::float_table},
      {Isa::kAvx512, avx512::float_table},
#endif
  }));
  return table;
}

template <>
const Kernels<bf16>& kernels<bf16>() {
  static const auto table = with_products(choose_kernels<Kernels<bf16>>({
      {Isa::kBase, base::bf16_table},
#if defined(EVERFACE_X86_KERNELS)
      {Isa::kAvx2, avx2::bf16_table},
      {Isa::kAvx512, avx512::bf16_table},
      {Isa::kAvx512Bf16, avx512bf16::bf16_table},
#endif
  }));
  return table;
}

template <>
const Kernels<double>& kernels<double>() {
  static const Kernels<double> table = with_products(base::double_table());
  return table;
}

}  // namespace everface::stylegan
