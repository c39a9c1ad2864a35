// The processor's least common set, and the only one with float64, which tests compare to.
#define EVERFACE_ISA base
#define EVERFACE_VECTOR_BYTES 16
#include "filter.inl"

namespace everface::stylegan {
namespace base {
FilterKernels<double> double_filters() { return filter_table<double>(); }
}  // namespace base
}  // namespace everface::stylegan
