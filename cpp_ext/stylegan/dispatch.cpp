// Chooses the kernels once, by what the processor and its operating system offer.
#include <cstdlib>
#include <cstring>

#include "layer.hpp"

namespace everface::stylegan {

#define EVERFACE_DECLARE(isa)   \
  namespace isa {               \
  Kernels<float> float_table(); \
  Kernels<bf16> bf16_table();   \
  }
EVERFACE_DECLARE(base)
namespace base {
Kernels<double> double_table();
}
#if defined(EVERFACE_X86_KERNELS)
EVERFACE_DECLARE(avx2)
EVERFACE_DECLARE(avx512)
EVERFACE_DECLARE(avx512bf16)
#endif
#if defined(EVERFACE_AMX_KERNELS)
bool amx_ready();
namespace amx {
Kernels<bf16> bf16_table();
}
#endif

namespace {

bool runs(const char* isa) {
#if defined(EVERFACE_X86_KERNELS)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  const bool avx512bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
#if defined(EVERFACE_AMX_KERNELS)
  if (std::strcmp(isa, "amx") == 0) return avx512bf16 && amx_ready();
#endif
  if (std::strcmp(isa, "avx512bf16") == 0) return avx512bf16;
  if (std::strcmp(isa, "avx512") == 0) return avx512;
  if (std::strcmp(isa, "avx2") == 0) return avx2;
#endif
  return std::strcmp(isa, "base") == 0;
}

// EVERFACE_ISA forces a narrower set, for tests and comparisons; one that this processor lacks is not taken.
[[maybe_unused]] bool takes(const char* isa) {
  const char* wanted = std::getenv("EVERFACE_ISA");
  return runs(isa) && (wanted == nullptr || !runs(wanted) || std::strcmp(isa, wanted) == 0);
}

Kernels<float> choose_float() {
#if defined(EVERFACE_X86_KERNELS)
  if (takes("amx") || takes("avx512bf16") || takes("avx512")) return avx512::float_table();
  if (takes("avx2")) return avx2::float_table();
#endif
  return base::float_table();
}

Kernels<bf16> choose_bf16() {
#if defined(EVERFACE_X86_KERNELS)
#if defined(EVERFACE_AMX_KERNELS)
  if (takes("amx")) return amx::bf16_table();
#endif
  if (takes("avx512bf16")) return avx512bf16::bf16_table();
  if (takes("avx512")) return avx512::bf16_table();
  if (takes("avx2")) return avx2::bf16_table();
#endif
  return base::bf16_table();
}

}  // namespace

template <>
const Kernels<float>& kernels<float>() {
  static const Kernels<float> table = choose_float();
  return table;
}
template <>
const Kernels<bf16>& kernels<bf16>() {
  static const Kernels<bf16> table = choose_bf16();
  return table;
}
template <>
const Kernels<double>& kernels<double>() {
  static const Kernels<double> table = base::double_table();
  return table;
}

}  // namespace everface::stylegan
