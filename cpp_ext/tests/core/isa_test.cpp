// The choice of an instruction set; EVERFACE_ISA may name any that the processor runs, or a wider one.
#include "everface/core/isa.hpp"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "check.hpp"

using everface::Isa;

namespace {

int base_table() { return 0; }
int avx2_table() { return 2; }
int avx512_table() { return 5; }

int chosen(Isa selected) {
  return everface::choose_kernels<int>(
      {{Isa::kBase, base_table}, {Isa::kAvx512, avx512_table}, {Isa::kAvx2, avx2_table}}, selected);
}

}  // namespace

int main() {
  CHECK(chosen(Isa::kBase) == 0);
  CHECK(chosen(Isa::kAvx2) == 2);
  CHECK(chosen(Isa::kAvx512) == 5);
  CHECK(chosen(Isa::kAmx) == 5);
  const auto& runnable = everface::runnable_isas();
  CHECK(runnable.back() == Isa::kBase);
  for (std::size_t i = 1; i < runnable.size(); ++i) CHECK(runnable[i] < runnable[i - 1]);

  const char* wanted = std::getenv("EVERFACE_ISA");
  if (wanted == nullptr) {
    CHECK(everface::selected_isa() == runnable.front());
    setenv("EVERFACE_ISA", "avx-2", 1);  // selected once: read no more
    CHECK(everface::selected_isa() == runnable.front());
  } else if (std::string(wanted) == "no such set") {
    try {
      everface::selected_isa();
      CHECK(!"an unknown name was taken");
    } catch (const std::invalid_argument& error) {
      CHECK(std::string(error.what()).find("no such set") != std::string::npos);
    }
    return everface::test::finish();
  } else {
    for (const Isa isa : runnable)
      if (std::string(wanted) == everface::isa_name(isa)) CHECK(everface::selected_isa() == isa);
  }
  std::printf("isa: %s of %s\n", everface::isa_name(everface::selected_isa()), everface::isa_name(runnable.front()));
  return everface::test::finish();
}
