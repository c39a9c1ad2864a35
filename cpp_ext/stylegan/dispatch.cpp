// The kernels of the instruction set that core/isa.hpp selects.
#include "everface/core/tables.hpp"
#include "layer.hpp"

namespace everface::stylegan {

EVERFACE_TABLES(EVERFACE_FLOAT_SETS, Kernels<float>, float_table)
EVERFACE_TABLES(EVERFACE_BF16_SETS, Kernels<bf16>, bf16_table)
namespace base {
Kernels<double> double_table();
}

// With AMX the products alone differ from those of avx512bf16.
template <class E>
static Kernels<E> with_products(Kernels<E> table) {
  static_cast<Products<E>&>(table) = products<E>();
  return table;
}

template <>
const Kernels<float>& kernels<float>() {
  static const auto table = with_products(choose_float_table());
  return table;
}

template <>
const Kernels<bf16>& kernels<bf16>() {
  static const auto table = with_products(choose_bf16_table());
  return table;
}

template <>
const Kernels<double>& kernels<double>() {
  static const auto table = with_products(base::double_table());
  return table;
}

}  // namespace everface::stylegan
