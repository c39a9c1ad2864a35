// Addresses come from Python as numbers.
#pragma once

#include <cstdint>

namespace everface {

template <class T>
T* at(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

}  // namespace everface
