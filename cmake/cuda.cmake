# Decides once whether CUDA kernels are built; sets EVERFACE_HAVE_CUDA.
set(EVERFACE_HAVE_CUDA OFF)
if(NOT EVERFACE_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_ARCHITECTURES ${EVERFACE_CUDA_ARCHITECTURES})
    enable_language(CUDA)
    set(CMAKE_CUDA_STANDARD 17)
    # The runtime is linked in, so the module loads on a machine without a GPU or a CUDA installation.
    set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
    find_package(CUDAToolkit REQUIRED)
    set(EVERFACE_HAVE_CUDA ON)
  elseif(EVERFACE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "EVERFACE_CUDA=ON needs nvcc, and none was found: install the CUDA toolkit, "
                        "set CUDACXX to its nvcc, or build with EVERFACE_CUDA=AUTO")
  endif()
endif()
message(STATUS "everface: CUDA kernels ${EVERFACE_HAVE_CUDA}")
