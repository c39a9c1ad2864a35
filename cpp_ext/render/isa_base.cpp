// The processor's least common set: SSE2 on x86-64, NEON on aarch64. The only one with float64, which tests compare to.
#define EVERFACE_ISA base
#if defined(__aarch64__)
#define EVERFACE_ISA_NAME "neon"
#else
#define EVERFACE_ISA_NAME "base"
#endif
#define EVERFACE_VECTOR_BYTES 16
#include "kernels.inl"

namespace everface::render {
namespace base {
Kernels<double> double_table() { return table<double>(); }
}  // namespace base
}  // namespace everface::render
