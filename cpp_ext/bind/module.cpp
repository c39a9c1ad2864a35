// The Python module everface._native: raw kernels, no validation beyond memory safety (engine/ops does the rest).
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "everface/core/device.hpp"
#include "everface/core/isa.hpp"

namespace py = pybind11;

#ifdef EVERFACE_BIND_hull
void bind_hull(py::module_& module);
#endif
#ifdef EVERFACE_BIND_stylegan
void bind_stylegan(py::module_& module);
#endif
#ifdef EVERFACE_BIND_render
void bind_render(py::module_& module);
#endif

PYBIND11_MODULE(_native, module) {
  module.doc() = "everface's C++ and CUDA kernels";
  module.def("cuda_compiled", &everface::cuda_compiled);
  module.def("cuda_status", [] {
    const auto status = everface::cuda_status();
    return py::make_tuple(status.available, status.why);
  });
  module.def("cpu_isa", [] { return std::string(everface::isa_name(everface::selected_isa())); });
#ifdef EVERFACE_BIND_hull
  bind_hull(module);
#endif
#ifdef EVERFACE_BIND_stylegan
  bind_stylegan(module);
#endif
#ifdef EVERFACE_BIND_render
  bind_render(module);
#endif
}
