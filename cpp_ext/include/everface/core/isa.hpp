// The instruction sets that kernels are compiled for, and the one choice among them that all rooms follow.
#pragma once

#include <initializer_list>
#include <utility>
#include <vector>

namespace everface {

// From narrow to wide: a processor that runs one runs all before it. kBase is the least common set of an architecture:
// SSE2 on x86-64, NEON on 64-bit Arm, SIMD128 on WebAssembly.
enum class Isa : int { kBase, kAvx2, kAvx512, kAvx512Bf16, kAmx };

// "avx2", "avx512", "avx512bf16", "amx"; kBase is "neon" on Arm, "wasm" on WebAssembly, and otherwise "base".
const char* isa_name(Isa isa) noexcept;

// The sets that are compiled in and that this processor and its operating system offer, the widest first.
const std::vector<Isa>& runnable_isas();

// The widest that runs, or the narrower one that the environment variable EVERFACE_ISA names when this is first called
// ("base" means kBase everywhere; a set that does not run here is not taken). Throws std::invalid_argument where the
// variable holds no set's name.
Isa selected_isa();

// A room's kernels: of the compiled sets, the widest that is no wider than the selected one. A room need not have all,
// but has to have kBase.
template <class Table>
Table choose_kernels(std::initializer_list<std::pair<Isa, Table (*)()>> compiled, Isa selected = selected_isa()) {
  const std::pair<Isa, Table (*)()>* best = compiled.begin();
  for (const auto& candidate : compiled)
    if (candidate.first <= selected && (candidate.first > best->first || best->first > selected)) best = &candidate;
  return best->second();
}

}  // namespace everface
