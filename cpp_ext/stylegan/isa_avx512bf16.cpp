// Compiled for avx512bf16 alone (see CMakeLists.txt); run only where dispatch.cpp found it.
#define EVERFACE_ISA avx512bf16
#define EVERFACE_ISA_NAME "avx512bf16"
#define EVERFACE_VECTOR_BYTES 64
#include "kernels.inl"
