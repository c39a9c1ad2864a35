#include <cuda_runtime.h>

#include "everface/core/device.hpp"

namespace everface {

bool cuda_compiled() noexcept { return true; }

CudaStatus cuda_status() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    return {false, cudaGetErrorString(error)};
  }
  if (count == 0) {
    return {false, "no NVIDIA GPU found"};
  }
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) {
    return {false, "the GPU does not answer"};
  }
  return {true, properties.name};
}

}  // namespace everface
