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

template <class R>
const char* kernels_isa() {
  return isa_name(kernels<R>().isa);
}
template const char* kernels_isa<float>();
template const char* kernels_isa<double>();

}  // namespace everface::render
