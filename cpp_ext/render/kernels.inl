// Compiled once per instruction set, with that set's flags: EVERFACE_ISA, EVERFACE_ISA_NAME and EVERFACE_VECTOR_BYTES are
// defined. Nothing of the standard library's templates: the linker might keep one set's copy for all.
#include "march_back.hpp"
#include "texels.hpp"

namespace everface::render {
namespace EVERFACE_ISA {

template <class R>
Kernels<R> table() {
  return {EVERFACE_ISA_NAME, texels<R>, march<R>, march_back<R>, scatter<R>, texels_back<R>};
}

Kernels<float> float_table() { return table<float>(); }

}  // namespace EVERFACE_ISA
}  // namespace everface::render
