// Chooses the kernels once, by what the processor and its operating system offer.
#include <cstdlib>
#include <string>

#include "everface/device.hpp"
#include "kernels.hpp"

namespace everface::render {

namespace base {
Kernels<float> float_table();
Kernels<double> double_table();
}  // namespace base
#if defined(EVERFACE_X86_KERNELS)
namespace avx2 {
Kernels<float> float_table();
}
namespace avx512 {
Kernels<float> float_table();
}
#endif

namespace {

// EVERFACE_ISA forces a narrower set, for tests and comparisons; one that this processor lacks is not taken.
Kernels<float> choose() {
#if defined(EVERFACE_X86_KERNELS)
  const std::string best = cpu_isa();
  const char* asked = std::getenv("EVERFACE_ISA");
  std::string wanted = asked == nullptr ? best : asked;
  const bool wide = best == "avx512", medium = wide || best == "avx2";
  if (wide && wanted != "avx2" && wanted != "base") return avx512::float_table();
  if (medium && wanted != "base") return avx2::float_table();
#endif
  return base::float_table();
}

}  // namespace

template <>
const Kernels<float>& kernels<float>() {
  static const Kernels<float> table = choose();
  return table;
}
template <>
const Kernels<double>& kernels<double>() {
  static const Kernels<double> table = base::double_table();
  return table;
}

template <>
const char* kernels_isa<float>() {
  return kernels<float>().name;
}
template <>
const char* kernels_isa<double>() {
  return kernels<double>().name;
}

}  // namespace everface::render
