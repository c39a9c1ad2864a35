// Compiled for avx512 alone (see CMakeLists.txt); run only where dispatch.cpp found it.
#define EVERFACE_ISA avx512
#define EVERFACE_VECTOR_BYTES 64
#include "filter.inl"
