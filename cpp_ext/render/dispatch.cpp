// The kernels of the instruction set that core/isa.hpp selects.
#include "everface/core/tables.hpp"
#include "kernels.hpp"

namespace everface::render {

EVERFACE_KERNELS(EVERFACE_FLOAT_SETS, float, float_table)
namespace base {
Kernels<double> double_table();
}

template <>
const Kernels<double>& kernels<double>() {
  static const auto table = base::double_table();
  return table;
}

}  // namespace everface::render
