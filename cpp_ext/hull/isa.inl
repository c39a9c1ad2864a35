// Compiled once per instruction set, with that set's flags.
#include "block.hpp"

namespace everface::hull::EVERFACE_ISA {

#define EVERFACE_TEXT2(x) #x
#define EVERFACE_TEXT(x) EVERFACE_TEXT2(x)

extern const Kernels kTable;
const Kernels kTable = {EVERFACE_TEXT(EVERFACE_ISA),
                        packed_size,
                        pack<double>,
                        pack<float>,
                        product,
                        gram_rows,
                        factor,
                        invert_upper,
                        scratch,
                        project_block<double>,
                        project_block<float>};

}  // namespace everface::hull::EVERFACE_ISA
