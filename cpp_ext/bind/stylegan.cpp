// Modulated convolution for Python: addresses and sizes in, nothing checked here (engine/ops does that).
#include "everface/stylegan.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <string>

#include "address.hpp"
#include "everface/stylegan_cuda.hpp"

namespace py = pybind11;
using namespace everface;
using namespace everface::stylegan;

namespace {

// What forward, backward and pack share. Addresses are 0 where there is nothing.
struct ConvCall {
  std::array<std::int64_t, 6> sizes;  // batch, height, width, cin, cout, taps
  bool up, demodulate;
  std::array<std::uintptr_t, 5> inputs;  // x, weight, styles, noise, bias
  std::int64_t noise_step;
  std::array<double, 4> scalars;  // strength, slope, gain, clamp

  template <class E>
  ModulatedConv<E> as() const {
    using R = Real<E>;
    ModulatedConv<E> conv;
    conv.batch = sizes[0], conv.height = sizes[1], conv.width = sizes[2], conv.cin = sizes[3], conv.cout = sizes[4];
    conv.taps = static_cast<int>(sizes[5]);
    conv.up = up, conv.demodulate = demodulate;
    conv.x = at<const E>(inputs[0]), conv.weight = at<const R>(inputs[1]), conv.styles = at<const R>(inputs[2]);
    conv.noise = at<const R>(inputs[3]), conv.bias = at<const R>(inputs[4]), conv.noise_step = noise_step;
    conv.strength = static_cast<R>(scalars[0]), conv.slope = static_cast<R>(scalars[1]);
    conv.gain = static_cast<R>(scalars[2]), conv.clamp = static_cast<R>(scalars[3]);
    return conv;
  }
};

template <class E>
void run_forward(const ConvCall& call, std::uintptr_t y, std::uintptr_t demod) {
  const auto pool = shared_pool();
  const auto owner = pool->lock();
  forward<E>(call.as<E>(), nullptr, at<E>(y), at<Real<E>>(demod), *pool);
}

template <class E>
void run_backward(const ConvCall& call, std::uintptr_t y, std::uintptr_t demod, std::uintptr_t dy,
                  const std::array<std::uintptr_t, 5>& out) {
  using R = Real<E>;
  const auto pool = shared_pool();
  const auto owner = pool->lock();
  Gradients<E> grads;
  grads.x = at<E>(out[0]), grads.styles = at<R>(out[1]), grads.weight = at<R>(out[2]), grads.bias = at<R>(out[3]);
  grads.strength = at<R>(out[4]);
  backward<E>(call.as<E>(), at<const E>(y), at<const R>(demod), at<const E>(dy), {}, grads, *pool);
}

// One layer as inference runs it: weights packed once. The executor is many of these; benchmarks time them alone.
template <class E>
class PackedConv {
 public:
  PackedConv(const ConvCall& call, bool large_tiles) : large_tiles_(large_tiles) {
    const auto pool = shared_pool();
    const auto owner = pool->lock();
    packed_ = pack<E>(conv(call), *pool);
  }

  // call: the sizes it was packed with; its weight is not read.
  void run(const ConvCall& call, std::uintptr_t y, std::uintptr_t demod) const {
    const auto pool = shared_pool();
    const auto owner = pool->lock();
    forward<E>(conv(call), &packed_, at<E>(y), at<Real<E>>(demod), *pool);
  }

  const char* algo() const {
    constexpr const char* names[] = {"point", "f2", "f4", "up"};  // enum Algo; pack() chooses no other
    return names[packed_.algo];
  }

 private:
  ModulatedConv<E> conv(const ConvCall& call) const {
    auto conv = call.as<E>();
    conv.large_tiles = large_tiles_;
    return conv;
  }

  bool large_tiles_;
  PackedWeights<E> packed_;
};

template <class E>
void bind_packed(py::module_& module, const char* name) {
  py::class_<PackedConv<E>>(module, name)
      .def(py::init<const ConvCall&, bool>(), py::arg("call"), py::arg("large_tiles"),
           py::call_guard<py::gil_scoped_release>())
      .def("run", &PackedConv<E>::run, py::arg("call"), py::arg("y"), py::arg("demod"),
           py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("algo", &PackedConv<E>::algo);
}

// Forward and backward with addresses on the device, queued on a stream.
template <class E>
void queue_forward(const ConvCall& call, std::uintptr_t y, std::uintptr_t demod, std::uintptr_t stream) {
  cuda::forward<E>(call.as<E>(), at<E>(y), at<float>(demod), at<void>(stream));
}

template <class E>
void queue_backward(const ConvCall& call, std::uintptr_t y, std::uintptr_t demod, std::uintptr_t dy,
                    const std::array<std::uintptr_t, 5>& out, std::uintptr_t stream) {
  const Gradients<E> grads{at<E>(out[0]), at<float>(out[1]), at<float>(out[2]), at<float>(out[3]), at<float>(out[4])};
  cuda::backward<E>(call.as<E>(), at<const E>(y), at<const float>(demod), at<const E>(dy), grads, at<void>(stream));
}

}  // namespace

void bind_synthesis(py::module_& module);

void bind_stylegan(py::module_& module) {
  bind_synthesis(module);
  py::class_<ConvCall>(module, "ConvCall")
      .def(py::init([](std::array<std::int64_t, 6> sizes, bool up, bool demodulate,
                       std::array<std::uintptr_t, 5> inputs, std::int64_t noise_step, std::array<double, 4> scalars) {
             return ConvCall{sizes, up, demodulate, inputs, noise_step, scalars};
           }),
           py::arg("sizes"), py::arg("up"), py::arg("demodulate"), py::arg("inputs"), py::arg("noise_step"),
           py::arg("scalars"));
  bind_packed<float>(module, "PackedConvF32");
  bind_packed<bf16>(module, "PackedConvBF16");
  const auto free_gil = py::call_guard<py::gil_scoped_release>();
  module.def("modulated_conv_f32", &run_forward<float>, free_gil);
  module.def("modulated_conv_bf16", &run_forward<bf16>, free_gil);
  module.def("modulated_conv_f64", &run_forward<double>, free_gil);
  module.def("modulated_conv_backward_f32", &run_backward<float>, free_gil);
  module.def("modulated_conv_backward_bf16", &run_backward<bf16>, free_gil);
  module.def("modulated_conv_backward_f64", &run_backward<double>, free_gil);
  module.def("modulated_conv_cuda_f32", &queue_forward<float>, free_gil);
  module.def("modulated_conv_cuda_bf16", &queue_forward<bf16>, free_gil);
  module.def("modulated_conv_backward_cuda_f32", &queue_backward<float>, free_gil);
  module.def("modulated_conv_backward_cuda_bf16", &queue_backward<bf16>, free_gil);
  module.def("stylegan_isa", [] { return py::make_tuple(kernels_isa<float>(), kernels_isa<bf16>()); });
  module.def("set_threads", &set_threads, py::arg("threads"), free_gil);
  module.def("get_threads", &get_threads, free_gil);
}
