// The table of one instruction set (see cmake/kernels.cmake). Nothing of the standard library's templates: the linker
// might keep one set's copy for all.
#include "march_back.hpp"
#include "texels.hpp"

namespace everface::render {
namespace EVERFACE_ISA {

template <class R>
Kernels<R> table() {
  return {Isa::EVERFACE_ISA_VALUE, texels<R>, march<R>, march_back<R>, scatter<R>, texels_back<R>};
}

Kernels<float> float_table() { return table<float>(); }
#if EVERFACE_VECTOR_BYTES == 16  // base alone has float64, which tests compare to
Kernels<double> double_table() { return table<double>(); }
#endif

}  // namespace EVERFACE_ISA
}  // namespace everface::render
