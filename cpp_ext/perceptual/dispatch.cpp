// The kernels of the instruction set that core/isa.hpp selects. With AMX the products alone differ.
#include "everface/core/tables.hpp"
#include "jobs.hpp"

namespace everface::perceptual {

EVERFACE_TABLES(EVERFACE_FLOAT_SETS, Kernels<float>, float_table)
EVERFACE_TABLES(EVERFACE_BF16_SETS, Kernels<bf16>, bf16_table)

template <>
const Kernels<float>& kernels<float>() {
  static const auto table = choose_float_table();
  return table;
}

template <>
const Kernels<bf16>& kernels<bf16>() {
  static const auto table = choose_bf16_table();
  return table;
}

}  // namespace everface::perceptual
