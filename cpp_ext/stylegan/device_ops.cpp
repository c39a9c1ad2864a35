// Where nvcc was not found.
#ifndef EVERFACE_HAVE_CUDA
#include <stdexcept>

#include "everface/stylegan_cuda.hpp"

namespace everface::stylegan::cuda {
namespace {
[[noreturn]] void absent() { throw std::runtime_error("built without CUDA"); }
}  // namespace

template <class E>
void forward(const ModulatedConv<E>&, E*, float*, void*) {
  absent();
}
template <class E>
void backward(const ModulatedConv<E>&, const E*, const float*, const E*, const Gradients<E>&, void*) {
  absent();
}
#define EVERFACE_INSTANTIATE(E)                                      \
  template void forward(const ModulatedConv<E>&, E*, float*, void*); \
  template void backward(const ModulatedConv<E>&, const E*, const float*, const E*, const Gradients<E>&, void*);
EVERFACE_INSTANTIATE(float)
EVERFACE_INSTANTIATE(bf16)

}  // namespace everface::stylegan::cuda
#endif
