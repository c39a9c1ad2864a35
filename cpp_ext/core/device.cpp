#include "everface/core/device.hpp"

namespace everface {

#ifndef EVERFACE_HAVE_CUDA
bool cuda_compiled() noexcept { return false; }
CudaStatus cuda_status() { return {false, "built without CUDA (no nvcc at build time, or EVERFACE_CUDA=OFF)"}; }
#endif

}  // namespace everface
