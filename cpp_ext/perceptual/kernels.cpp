// The table of one instruction set (see cmake/kernels.cmake).
#include "block.hpp"
#include "stem.hpp"

namespace everface::perceptual {
namespace EVERFACE_ISA {

template <class E>
Kernels<E> table() {
  return {scratch_bytes<E>, forward<E>,       backward<E>, stem_scratch_bytes<E>,
          stem_forward<E>,  stem_backward<E>, tap<float>,  tap<bf16>};
}

Kernels<float> float_table() { return table<float>(); }
Kernels<bf16> bf16_table() { return table<bf16>(); }

}  // namespace EVERFACE_ISA
}  // namespace everface::perceptual
