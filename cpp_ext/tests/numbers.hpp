// Between double and the types that the kernels take.
#pragma once

#include "everface/core/number.hpp"

namespace everface::test {

template <class E>
E from(double value) {
  E number;
  from_real(static_cast<Real<E>>(value), &number);
  return number;
}

template <class E>
double to(E value) {
  return to_real(value);
}

}  // namespace everface::test
