// What this build and this machine can run.
#pragma once

#include <string>

namespace everface {

struct CudaStatus {
  bool available = false;
  std::string why;  // why not, or the device's name
};

// True when the CUDA kernels were compiled in.
bool cuda_compiled() noexcept;

// Asks the driver; never throws, and never needs a driver to be installed.
CudaStatus cuda_status();

}  // namespace everface
