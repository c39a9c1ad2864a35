// Compiled once per instruction set, with that set's flags.
#include "block.hpp"
#include "dots.hpp"
#include "faces.hpp"
#include "intake.hpp"

namespace everface::hull::EVERFACE_ISA {

#define EVERFACE_TEXT2(x) #x
#define EVERFACE_TEXT(x) EVERFACE_TEXT2(x)

extern const Kernels kTable;
const Kernels kTable = {EVERFACE_TEXT(EVERFACE_ISA),
                        {add_rows<double>, largest_entry<double>, centre_rows<double>},
                        {add_rows<float>, largest_entry<float>, centre_rows<float>},
                        packed_size,
                        pack<double>,
                        pack<float>,
                        product,
                        gram_rows,
                        gram_dots,
                        factor,
                        invert_upper,
                        scratch,
                        gram_distances,
                        project_block<double>,
                        project_block<float>};

}  // namespace everface::hull::EVERFACE_ISA
