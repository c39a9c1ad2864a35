// Compiled for avx2 alone (see CMakeLists.txt); run only where dispatch.cpp found it.
#define EVERFACE_ISA avx2
#define EVERFACE_VECTOR_BYTES 32
#include "filter.inl"
