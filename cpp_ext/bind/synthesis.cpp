// Whole synthesis networks for Python: addresses and sizes in, nothing checked here (engine/ops does that).
#include "everface/synthesis.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <string>

#include "address.hpp"

namespace py = pybind11;
using namespace everface;
using namespace everface::stylegan;

namespace {

using Addresses = std::vector<std::array<std::uintptr_t, 5>>;

template <class R>
SynthesisParameters<R> parameters_of(std::uintptr_t constant, const Addresses& layers,
                                     const std::vector<std::uintptr_t>& noise,
                                     const std::vector<std::int64_t>& noise_steps) {
  SynthesisParameters<R> p;
  p.constant = at<R>(constant), p.noise_steps = noise_steps;
  for (const auto& a : layers) p.layers.push_back({at<R>(a[0]), at<R>(a[1]), at<R>(a[2]), at<R>(a[3]), at<R>(a[4])});
  for (const auto address : noise) p.noise.push_back(at<const R>(address));
  return p;
}

// Parameters by address; kept alive by the caller.
struct Bound {
  SynthesisShape shape;
  std::uintptr_t constant;
  Addresses layers;
  std::vector<std::uintptr_t> noise;
  std::vector<std::int64_t> noise_steps;

  template <class R>
  SynthesisParameters<R> as() const {
    return parameters_of<R>(constant, layers, noise, noise_steps);
  }
};

template <class E>
std::size_t saved(const Bound& bound, std::int64_t batch) {
  return saved_bytes<E>(bound.shape, batch);
}

template <class E>
void run_forward(const Bound& bound, std::int64_t batch, std::uintptr_t ws, std::uintptr_t image,
                 std::uintptr_t block) {
  using R = Real<E>;
  const auto pool = shared_pool();
  const auto owner = pool->lock();
  synthesis_forward<E>(bound.shape, bound.as<R>(), batch, at<const R>(ws), at<R>(image), at<std::byte>(block), *pool);
}

template <class E>
void run_backward(const Bound& bound, std::int64_t batch, std::uintptr_t ws, std::uintptr_t dimage,
                  std::uintptr_t block, std::uintptr_t dconstant, const Addresses& grads, std::uintptr_t dws) {
  using R = Real<E>;
  const auto pool = shared_pool();
  const auto owner = pool->lock();
  synthesis_backward<E>(bound.shape, bound.as<R>(), batch, at<const R>(ws), at<const R>(dimage), at<std::byte>(block),
                        parameters_of<R>(dconstant, grads, {}, {}), at<R>(dws), *pool);
}

template <class E>
void bind_type(py::module_& module, const std::string& suffix) {
  const auto free_gil = py::call_guard<py::gil_scoped_release>();
  module.def(("synthesis_saved_bytes_" + suffix).c_str(), &saved<E>);
  module.def(("synthesis_forward_" + suffix).c_str(), &run_forward<E>, free_gil);
  module.def(("synthesis_backward_" + suffix).c_str(), &run_backward<E>, free_gil);
}

template <class E>
void bind_executor(py::module_& module, const char* name) {
  py::class_<Executor<E>>(module, name)
      .def(py::init([](const Bound& bound) {
             const py::gil_scoped_release release;
             const auto pool = shared_pool();
             const auto owner = pool->lock();
             return std::make_unique<Executor<E>>(bound.shape, bound.as<Real<E>>(), *pool);
           }),
           py::arg("bound"))
      .def(
          "run",
          [](Executor<E>& self, std::int64_t batch, std::uintptr_t ws, std::uintptr_t image) {
            const auto pool = shared_pool();
            const auto owner = pool->lock();
            self.run(batch, at<const Real<E>>(ws), at<Real<E>>(image), *pool);
          },
          py::arg("batch"), py::arg("ws"), py::arg("image"), py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("weight_bytes", &Executor<E>::weight_bytes)
      .def_property_readonly("arena_bytes", &Executor<E>::arena_bytes);
}

}  // namespace

void bind_synthesis(py::module_& module) {
  py::class_<Bound>(module, "BoundSynthesis")
      .def(py::init([](std::int64_t resolution, std::int64_t w_dim, int colours, std::vector<std::int64_t> channels,
                       double clamp, std::uintptr_t constant, Addresses layers, std::vector<std::uintptr_t> noise,
                       std::vector<std::int64_t> noise_steps) {
             return Bound{{resolution, w_dim, colours, std::move(channels), clamp},
                          constant,
                          std::move(layers),
                          std::move(noise),
                          std::move(noise_steps)};
           }),
           py::arg("resolution"), py::arg("w_dim"), py::arg("colours"), py::arg("channels"), py::arg("clamp"),
           py::arg("constant"), py::arg("layers"), py::arg("noise"), py::arg("noise_steps"));
  bind_type<float>(module, "f32");
  bind_type<bf16>(module, "bf16");
  bind_type<double>(module, "f64");
  bind_executor<float>(module, "ExecutorF32");
  bind_executor<bf16>(module, "ExecutorBF16");
  module.def("scratch_bytes", [] { return shared_pool()->scratch_bytes(); });
}
