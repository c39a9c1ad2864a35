// The Python module everface._native: kernels on arrays whose type, shape and place are checked here (array.hpp).
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "everface/core/device.hpp"
#include "everface/core/isa.hpp"

namespace py = pybind11;

void bind_hull(py::module_& module);
void bind_learn(py::module_& module);
void bind_modulated_conv(py::module_& module);
void bind_synthesis(py::module_& module);
void bind_volume(py::module_& module);

PYBIND11_MODULE(_native, module) {
  module.doc() = "everface's C++ and CUDA kernels";
  module.def("cuda_compiled", &everface::cuda_compiled);
  module.def("cuda_status", [] {
    const auto status = everface::cuda_status();
    return py::make_tuple(status.available, status.why);
  });
  module.def("cpu_isa", [] { return std::string(everface::isa_name(everface::selected_isa())); });
  bind_hull(module);
  bind_learn(module);
  bind_modulated_conv(module);
  bind_synthesis(module);
  bind_volume(module);
}
