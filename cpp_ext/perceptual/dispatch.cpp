// The kernels of the instruction set that core/isa.hpp selects. With AMX the products alone differ.
#include "everface/core/tables.hpp"
#include "jobs.hpp"

namespace everface::perceptual {

EVERFACE_KERNELS(EVERFACE_FLOAT_SETS, float, float_table)
EVERFACE_KERNELS(EVERFACE_BF16_SETS, bf16, bf16_table)

}  // namespace everface::perceptual
