#include "everface/device.hpp"

namespace everface {

#ifndef EVERFACE_HAVE_CUDA
bool cuda_compiled() noexcept { return false; }
CudaStatus cuda_status() { return {false, "built without CUDA (no nvcc at build time, or EVERFACE_CUDA=OFF)"}; }
#endif

const char* cpu_isa() noexcept {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    return "avx512";
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return "avx2";
  }
  return "generic";
#elif defined(__aarch64__)
  return "neon";
#else
  return "generic";
#endif
}

}  // namespace everface
