// The table of one instruction set (see cmake/kernels.cmake).
#include "block.hpp"
#include "dots.hpp"
#include "faces.hpp"
#include "intake.hpp"

namespace everface::hull::EVERFACE_ISA {

extern const Kernels kTable;
const Kernels kTable = {Isa::EVERFACE_ISA_VALUE,
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
