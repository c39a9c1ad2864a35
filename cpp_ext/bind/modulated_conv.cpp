// Modulated convolution for Python: one layer's arrays, and what can be done with them.
#include <pybind11/pybind11.h>

#include "array.hpp"
#include "everface/stylegan.hpp"
#include "everface/stylegan_cuda.hpp"
#include "running.hpp"

namespace py = pybind11;
using namespace everface;
using namespace everface::bind;
using namespace everface::stylegan;

namespace {

// The arrays of one layer and its settings, all of which fit together. Images are [batch, height, width, channels].
struct Layer {
  py::object x, weight, styles, noise, bias;
  bool up = false, demodulate = true;
  double strength = 0, slope = 1, gain = 1, clamp = 3.4e38;

  template <class E>
  ModulatedConv<E> as(const Array& input) const {
    using R = Real<E>;
    const Place place = input.place();
    if (input.rank() != 4) input.refuse("[batch, height, width, channels]");
    ModulatedConv<E> conv;
    conv.batch = input.size(0), conv.height = input.size(1), conv.width = input.size(2), conv.cin = input.size(3);
    conv.x = input.read<E>({conv.batch, conv.height, conv.width, conv.cin}, place);
    const Array kernel("weight", weight);
    if (kernel.rank() != 4 || kernel.size(0) < 1 || conv.cin < 1) kernel.refuse("[cout, cin, taps, taps]");
    conv.cout = kernel.size(0), conv.taps = static_cast<int>(kernel.size(3));
    if (conv.taps != 3 && (conv.taps != 1 || up)) kernel.refuse(up ? "3 x 3 taps" : "1 x 1 or 3 x 3 taps");
    conv.weight = kernel.read<R>({conv.cout, conv.cin, conv.taps, conv.taps}, place);
    conv.styles = Array("styles", styles).read<R>({conv.batch, conv.cin}, place);
    conv.bias = read<R>("bias", bias, {conv.cout}, place);
    conv.up = up, conv.demodulate = demodulate;
    if (!noise.is_none()) {
      const Array images("noise", noise);
      conv.noise = images.read<R>({"1 or batch", conv.out_height(), conv.out_width()}, place);
      if (images.size(0) != 1 && images.size(0) != conv.batch) images.refuse("one image, or one for each sample");
      conv.noise_step = images.size(0) == 1 ? 0 : conv.out_height() * conv.out_width();
    }
    conv.strength = static_cast<R>(strength), conv.slope = static_cast<R>(slope);
    conv.gain = static_cast<R>(gain), conv.clamp = static_cast<R>(clamp);
    return conv;
  }
};

// The handle of the CUDA stream on which work is queued, as PyTorch and the DLPack protocol pass it.
using Stream = std::uintptr_t;
constexpr const char* kNoDevice = "x: expected memory of the CPU, or float32 or bfloat16 and a build with CUDA";

void forward_layer(const Layer& layer, const py::object& y, const py::object& demod, [[maybe_unused]] Stream stream) {
  const Array x("x", layer.x);
  with_type<float, bf16, double>(x, [&](auto element) {
    using E = decltype(element);
    const auto conv = layer.as<E>(x);
    const Place place = x.place();
    E* out = Array("y", y).write<E>({conv.batch, conv.out_height(), conv.out_width(), conv.cout}, place);
    Real<E>* scale = Array("demod", demod).write<Real<E>>({conv.batch, conv.cout}, place);
    if (place.cuda >= 0) {
#ifdef EVERFACE_HAVE_CUDA
      const py::gil_scoped_release release;
      if constexpr (sizeof(E) <= 4) return cuda::forward<E>(conv, out, scale, reinterpret_cast<void*>(stream));
#endif
      throw std::invalid_argument(kNoDevice);
    }
    Running on;
    forward<E>(conv, nullptr, out, scale, on.pool);
  });
}

// Where gradients go; None for those that nobody wants.
struct GradientArrays {
  py::object x, styles, weight, bias, strength;
};

void backward_layer(const Layer& layer, const py::object& y, const py::object& demod, const py::object& dy,
                    const GradientArrays& to, [[maybe_unused]] Stream stream) {
  const Array x("x", layer.x);
  with_type<float, bf16, double>(x, [&](auto element) {
    using E = decltype(element);
    using R = Real<E>;
    const auto conv = layer.as<E>(x);
    const Place place = x.place();
    const Shape image{conv.batch, conv.out_height(), conv.out_width(), conv.cout};
    const E* out = Array("y", y).read<E>(image, place);
    const R* scale = Array("demod", demod).read<R>({conv.batch, conv.cout}, place);
    const E* slope = Array("dy", dy).read<E>(image, place);
    Gradients<E> grads;
    grads.x = write<E>("dx", to.x, {conv.batch, conv.height, conv.width, conv.cin}, place);
    grads.styles = write<R>("dstyles", to.styles, {conv.batch, conv.cin}, place);
    grads.weight = write<R>("dweight", to.weight, {conv.cout, conv.cin, conv.taps, conv.taps}, place);
    grads.bias = write<R>("dbias", to.bias, {conv.cout}, place);
    grads.strength = write<R>("dstrength", to.strength, {1}, place);
    if (place.cuda >= 0) {
#ifdef EVERFACE_HAVE_CUDA
      const py::gil_scoped_release release;
      void* const on_stream = reinterpret_cast<void*>(stream);
      if constexpr (sizeof(E) <= 4) return cuda::backward<E>(conv, out, scale, slope, grads, on_stream);
#endif
      throw std::invalid_argument(kNoDevice);
    }
    Running on;
    backward<E>(conv, out, scale, slope, {}, grads, on.pool);
  });
}

}  // namespace

void bind_modulated_conv(py::module_& module) {
  const auto none = py::none();
  py::class_<Layer>(module, "ModulatedConv")
      .def(py::init<py::object, py::object, py::object, py::object, py::object, bool, bool, double, double, double,
                    double>(),
           py::kw_only(), py::arg("x"), py::arg("weight"), py::arg("styles"), py::arg("noise") = none,
           py::arg("bias") = none, py::arg("up") = false, py::arg("demodulate") = true, py::arg("strength") = 0.0,
           py::arg("slope") = 1.0, py::arg("gain") = 1.0, py::arg("clamp") = 3.4e38)
      .def("forward", &forward_layer, py::kw_only(), py::arg("y"), py::arg("demod"), py::arg("stream") = 0)
      .def(
          "backward",
          [](const Layer& self, const py::object& y, const py::object& demod, const py::object& dy,
             const py::object& dx, const py::object& dstyles, const py::object& dweight, const py::object& dbias,
             const py::object& dstrength,
             Stream stream) { backward_layer(self, y, demod, dy, {dx, dstyles, dweight, dbias, dstrength}, stream); },
          py::kw_only(), py::arg("y"), py::arg("demod"), py::arg("dy"), py::arg("dx") = none, py::arg("dstyles") = none,
          py::arg("dweight") = none, py::arg("dbias") = none, py::arg("dstrength") = none, py::arg("stream") = 0);
  module.def("stylegan_isa", [] { return py::make_tuple(kernels_isa<float>(), kernels_isa<bf16>()); });
  const auto free_gil = py::call_guard<py::gil_scoped_release>();
  module.def("set_threads", &set_threads, py::arg("threads"), free_gil);
  module.def("get_threads", &get_threads, free_gil);
}
