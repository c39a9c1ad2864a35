// The kernels of the instruction set that core/isa.hpp selects.
#include "kernels.hpp"

namespace everface::render {

namespace base {
Kernels<float> float_table();
Kernels<double> double_table();
}  // namespace base
#if defined(EVERFACE_X86_KERNELS)
namespace avx2 {
Kernels<float> float_table();
}
namespace avx512 {
Kernels<float> float_table();
}
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
const Kernels<double>& kernels<double>() {
  static const Kernels<double> table = base::double_table();
  return table;
}

template <>
const char* kernels_isa<float>() {
  return isa_name(kernels<float>().isa);
}
template <>
const char* kernels_isa<double>() {
  return isa_name(kernels<double>().isa);
}

}  // namespace everface::render
