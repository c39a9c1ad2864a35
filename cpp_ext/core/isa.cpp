#include "everface/core/isa.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace everface {

#if defined(EVERFACE_AMX_KERNELS)
bool amx_ready();
#endif

const char* isa_name(Isa isa) noexcept {
  switch (isa) {
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Bf16:
      return "avx512bf16";
    case Isa::kAmx:
      return "amx";
    case Isa::kBase:
      break;
  }
#if defined(__aarch64__)
  return "neon";
#elif defined(__wasm__)
  return "wasm";
#else
  return "base";
#endif
}

namespace {

std::vector<Isa> find_runnable() {
  std::vector<Isa> isas{Isa::kBase};
#if defined(EVERFACE_X86_KERNELS)
  const auto add = [&](Isa isa, bool offered) {
    if (offered && static_cast<int>(isas.front()) == static_cast<int>(isa) - 1) isas.insert(isas.begin(), isa);
  };
  add(Isa::kAvx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
  add(Isa::kAvx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"));
  add(Isa::kAvx512Bf16, __builtin_cpu_supports("avx512bf16"));
#if defined(EVERFACE_AMX_KERNELS)
  if (isas.front() == Isa::kAvx512Bf16) add(Isa::kAmx, amx_ready());
#endif
#endif
  return isas;
}

Isa select() {
  const char* variable = std::getenv("EVERFACE_ISA");
  const std::string wanted = variable == nullptr ? "" : variable;
  const Isa widest = runnable_isas().front();
  if (wanted.empty()) return widest;
  if (wanted == "base" || wanted == isa_name(Isa::kBase)) return Isa::kBase;
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16, Isa::kAmx})
    if (wanted == isa_name(isa)) return isa < widest ? isa : widest;
  if (wanted == "neon" || wanted == "wasm") return widest;  // another architecture's
  throw std::invalid_argument("EVERFACE_ISA is \"" + wanted +
                              "\", which names no instruction set: unset it, or set it to base, avx2, avx512, "
                              "avx512bf16, amx, neon or wasm");
}

}  // namespace

const std::vector<Isa>& runnable_isas() {
  static const std::vector<Isa> isas = find_runnable();
  return isas;
}

Isa selected_isa() {
  static const Isa isa = select();
  return isa;
}

}  // namespace everface
