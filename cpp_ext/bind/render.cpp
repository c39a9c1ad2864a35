// Volume rendering for Python: addresses and sizes in, nothing checked here (engine/ops does that).
#include "everface/render.hpp"
#ifdef EVERFACE_HAVE_CUDA
#include "everface/render/cuda.hpp"
#endif

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <string>

#include "address.hpp"

namespace py = pybind11;
using namespace everface;
using namespace everface::render;

namespace {

// What forward and backward share.
struct RenderCall {
  std::array<std::int64_t, 5> volume;    // batch, features, hidden, height, width
  std::array<int, 6> axes;               // column and row of each plane
  std::array<std::uintptr_t, 9> inputs;  // planes, 4 of the decoder, origins, directions, depths, quantiles
  std::array<std::int64_t, 7> rays;      // rays, samples, importance; steps of depths and of quantiles by image, ray
  std::array<double, 3> scalars;         // box_warp, stop, skip
  bool white_back;

  template <class R>
  Volume<R> as_volume() const {
    Volume<R> v;
    v.batch = volume[0], v.features = volume[1], v.hidden = volume[2], v.height = volume[3], v.width = volume[4];
    v.planes = at<const R>(inputs[0]);
    v.hidden_weight = at<const R>(inputs[1]), v.hidden_bias = at<const R>(inputs[2]);
    v.out_weight = at<const R>(inputs[3]), v.out_bias = at<const R>(inputs[4]);
    for (std::size_t i = 0; i < 6; ++i) v.axes[i / 2][i % 2] = axes[i];
    v.box_warp = scalars[0];
    return v;
  }
  template <class R>
  RayBundle<R> as_rays() const {
    RayBundle<R> r;
    r.rays = rays[0], r.samples = rays[1], r.importance = rays[2];
    r.depth_image = rays[3], r.depth_ray = rays[4], r.quantile_image = rays[5], r.quantile_ray = rays[6];
    r.origins = at<const R>(inputs[5]), r.directions = at<const R>(inputs[6]);
    r.depths = at<const R>(inputs[7]), r.quantiles = at<const R>(inputs[8]);
    return r;
  }
  Options options() const { return {white_back, scalars[1], scalars[2]}; }
};

// out: features, depth, opacity.
template <class R>
void run_forward(const RenderCall& call, const std::array<std::uintptr_t, 3>& out) {
  const auto pool = shared_pool();
  const auto owner = pool->lock();
  forward<R>(call.as_volume<R>(), call.as_rays<R>(), call.options(), {at<R>(out[0]), at<R>(out[1]), at<R>(out[2])},
             *pool);
}

// dout: as out; grads: planes and the decoder's four, 0 for those that nobody wants.
template <class R>
void run_backward(const RenderCall& call, const std::array<std::uintptr_t, 3>& dout,
                  const std::array<std::uintptr_t, 5>& grads) {
  const auto pool = shared_pool();
  const auto owner = pool->lock();
  backward<R>(call.as_volume<R>(), call.as_rays<R>(), call.options(),
              {at<const R>(dout[0]), at<const R>(dout[1]), at<const R>(dout[2])},
              {at<R>(grads[0]), at<R>(grads[1]), at<R>(grads[2]), at<R>(grads[3]), at<R>(grads[4])}, *pool);
}

#ifdef EVERFACE_HAVE_CUDA
// The same with addresses on the current CUDA device.
void run_forward_cuda(const RenderCall& call, const std::array<std::uintptr_t, 3>& out) {
  cuda::forward(call.as_volume<float>(), call.as_rays<float>(), call.options(),
                {at<float>(out[0]), at<float>(out[1]), at<float>(out[2])});
}

void run_backward_cuda(const RenderCall& call, const std::array<std::uintptr_t, 3>& dout,
                       const std::array<std::uintptr_t, 5>& grads) {
  cuda::backward(
      call.as_volume<float>(), call.as_rays<float>(), call.options(),
      {at<const float>(dout[0]), at<const float>(dout[1]), at<const float>(dout[2])},
      {at<float>(grads[0]), at<float>(grads[1]), at<float>(grads[2]), at<float>(grads[3]), at<float>(grads[4])});
}
#endif

}  // namespace

void bind_render(py::module_& module) {
  py::class_<RenderCall>(module, "RenderCall")
      .def(
          py::init([](std::array<std::int64_t, 5> volume, std::array<int, 6> axes, std::array<std::uintptr_t, 9> inputs,
                      std::array<std::int64_t, 7> rays, std::array<double, 3> scalars,
                      bool white_back) { return RenderCall{volume, axes, inputs, rays, scalars, white_back}; }),
          py::arg("volume"), py::arg("axes"), py::arg("inputs"), py::arg("rays"), py::arg("scalars"),
          py::arg("white_back"));
  const auto free_gil = py::call_guard<py::gil_scoped_release>();
  module.def("render_volume_f32", &run_forward<float>, py::arg("call"), py::arg("out"), free_gil);
  module.def("render_volume_f64", &run_forward<double>, py::arg("call"), py::arg("out"), free_gil);
  module.def("render_volume_backward_f32", &run_backward<float>, py::arg("call"), py::arg("dout"), py::arg("grads"),
             free_gil);
  module.def("render_volume_backward_f64", &run_backward<double>, py::arg("call"), py::arg("dout"), py::arg("grads"),
             free_gil);
#ifdef EVERFACE_HAVE_CUDA
  module.def("render_volume_cuda", &run_forward_cuda, py::arg("call"), py::arg("out"), free_gil);
  module.def("render_volume_backward_cuda", &run_backward_cuda, py::arg("call"), py::arg("dout"), py::arg("grads"),
             free_gil);
#endif
  module.def("render_isa", [] { return std::string(kernels_isa<float>()); });
}
