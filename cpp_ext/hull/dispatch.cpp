// Which instruction sets are compiled in, and which of them this processor runs.
#include <cstring>
#include <string>
#include <vector>

#include "everface/device.hpp"
#include "everface/hull/project.hpp"
#include "kernels.hpp"

namespace everface::hull {

#if defined(__x86_64__)
namespace avx512 {
extern const Kernels kTable;
}
namespace avx2 {
extern const Kernels kTable;
}
namespace generic {
extern const Kernels kTable;
}
#elif defined(__aarch64__)
namespace neon {
extern const Kernels kTable;
}
#else
namespace generic {
extern const Kernels kTable;
}
#endif

namespace {

std::vector<const Kernels*> runnable() {
  std::vector<const Kernels*> found;
  const std::string best = cpu_isa();
#if defined(__x86_64__)
  if (best == "avx512") found.push_back(&avx512::kTable);
  if (best == "avx512" || best == "avx2") found.push_back(&avx2::kTable);
  found.push_back(&generic::kTable);
#elif defined(__aarch64__)
  found.push_back(&neon::kTable);
#else
  found.push_back(&generic::kTable);
#endif
  return found;
}

}  // namespace

const Kernels* find_kernels(const char* isa) {
  const std::vector<const Kernels*> all = runnable();
  if (!isa || !*isa) return all.front();
  for (const Kernels* one : all) {
    if (std::strcmp(one->name, isa) == 0) return one;
  }
  return nullptr;
}

std::vector<const char*> isas() {
  std::vector<const char*> names;
  for (const Kernels* one : runnable()) names.push_back(one->name);
  return names;
}

}  // namespace everface::hull
