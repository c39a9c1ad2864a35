// Which of the compiled instruction sets this processor runs, and which is asked for.
#include <cstring>
#include <vector>

#include "everface/hull/project.hpp"
#include "kernels.hpp"

namespace everface::hull {

namespace base {
extern const Kernels kTable;
}
#if defined(EVERFACE_X86_KERNELS)
namespace avx2 {
extern const Kernels kTable;
}
namespace avx512 {
extern const Kernels kTable;
}
#endif

namespace {

// The widest first, and none wider than EVERFACE_ISA allows.
std::vector<const Kernels*> allowed() {
  std::vector<const Kernels*> tables;
#if defined(EVERFACE_X86_KERNELS)
  if (selected_isa() >= Isa::kAvx512) tables.push_back(&avx512::kTable);
  if (selected_isa() >= Isa::kAvx2) tables.push_back(&avx2::kTable);
#endif
  tables.push_back(&base::kTable);
  return tables;
}

}  // namespace

const Kernels* find_kernels(const char* isa) {
  const std::vector<const Kernels*> tables = allowed();
  if (!isa || !*isa) return tables.front();
  for (const Kernels* table : tables)
    if (std::strcmp(isa_name(table->isa), isa) == 0) return table;
  return nullptr;
}

std::vector<const char*> isas() {
  std::vector<const char*> names;
  for (const Kernels* table : allowed()) names.push_back(isa_name(table->isa));
  return names;
}

}  // namespace everface::hull
