// Volume rendering of tri-planes for Python: the arrays of one rendering, and what can be done with them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <string>

#include "array.hpp"
#include "everface/render.hpp"
#include "running.hpp"
#ifdef EVERFACE_HAVE_CUDA
#include "everface/render/cuda.hpp"
#endif

namespace py = pybind11;
using namespace everface;
using namespace everface::bind;
using namespace everface::render;

namespace {

constexpr const char* kNoDevice = "planes: expected memory of the CPU, or float32 and a build with CUDA";
using Axes = std::array<std::array<int, 2>, 3>;

// What all rays go through and the rays, all of which fit together.
struct Rendering {
  py::object planes, hidden_weight, hidden_bias, out_weight, out_bias, origins, directions, depths, quantiles;
  Axes axes;
  double box_warp;
  bool white_back;
  double stop, skip;

  Options options() const { return {white_back, stop, skip}; }

  template <class R>
  Volume<R> volume(const Array& input) const {
    if (input.rank() != 5) input.refuse("[batch, 3, features, height, width]");
    Volume<R> v;
    v.batch = input.size(0), v.features = input.size(2), v.height = input.size(3), v.width = input.size(4);
    const Place place = input.place();
    v.planes = input.read<R>({v.batch, 3, v.features, v.height, v.width}, place);
    if (v.features < 1 || v.height < 1 || v.width < 1) input.refuse("at least one feature and texel");
    const Array bias("hidden_bias", hidden_bias);
    if (bias.rank() != 1 || bias.size(0) < 1) bias.refuse("[hidden]");
    v.hidden = bias.size(0);
    v.hidden_bias = bias.read<R>({v.hidden}, place);
    v.hidden_weight = Array("hidden_weight", hidden_weight).read<R>({v.hidden, v.features}, place);
    v.out_weight = Array("out_weight", out_weight).read<R>({1 + v.features, v.hidden}, place);
    v.out_bias = Array("out_bias", out_bias).read<R>({1 + v.features}, place);
    for (std::size_t plane = 0; plane < 3; ++plane) {
      for (std::size_t i = 0; i < 2; ++i) {
        if (axes[plane][i] < 0 || axes[plane][i] > 2) throw py::value_error("axes: expected three pairs of 0, 1 and 2");
        v.axes[plane][i] = axes[plane][i];
      }
    }
    v.box_warp = box_warp;
    return v;
  }

  template <class R>
  RayBundle<R> rays(const Volume<R>& v, Place place) const {
    RayBundle<R> r;
    const Array to("directions", directions);
    if (to.rank() != 3) to.refuse("[batch, rays, 3]");
    r.rays = to.size(1);
    r.directions = to.read<R>({v.batch, r.rays, 3}, place);
    r.origins = Array("origins", origins).read<R>({v.batch, r.rays, 3}, place);
    const bool twice = !quantiles.is_none();
    r.depths =
        along<R>("depths", depths, v.batch, r.rays, twice ? 4 : 2, place, &r.samples, &r.depth_image, &r.depth_ray);
    if (twice) {
      r.quantiles = along<R>("quantiles", quantiles, v.batch, r.rays, 1, place, &r.importance, &r.quantile_image,
                             &r.quantile_ray);
    }
    return r;
  }

  // Numbers along rays: [batch or 1, rays or 1, count], and the steps from one image and from one ray to the next.
  template <class R>
  static const R* along(const char* name, const py::object& object, std::int64_t batch, std::int64_t rays,
                        std::int64_t least, Place place, std::int64_t* count, std::int64_t* image, std::int64_t* ray) {
    const Array array(name, object);
    const bool fits = array.rank() == 3 && (array.size(0) == 1 || array.size(0) == batch) &&
                      (array.size(1) == 1 || array.size(1) == rays) && array.size(2) >= least;
    if (!fits) array.refuse("[batch or 1, rays or 1, " + std::to_string(least) + " or more]");
    *count = array.size(2);
    *image = array.size(0) > 1 ? array.size(1) * array.size(2) : 0;
    *ray = array.size(1) > 1 ? array.size(2) : 0;
    return array.read<R>({"batch or 1", "rays or 1", "count"}, place);
  }
};

// Features, depth and opacity of each ray, or their gradients.
struct Results {
  py::object features, depth, opacity;
};

void forward_rays(const Rendering& self, const Results& to) {
  const Array planes("planes", self.planes);
  const Place place = planes.place();
  with_type<float, double>(planes, [&](auto real) {
    using R = decltype(real);
    const auto volume = self.volume<R>(planes);
    const auto rays = self.rays<R>(volume, place);
    const March<R> out{Array("features", to.features).write<R>({volume.batch, rays.rays, volume.features}, place),
                       Array("depth", to.depth).write<R>({volume.batch, rays.rays, 1}, place),
                       Array("opacity", to.opacity).write<R>({volume.batch, rays.rays, 1}, place)};
    if (place.cuda >= 0) {
#ifdef EVERFACE_HAVE_CUDA
      const py::gil_scoped_release release;
      if constexpr (std::is_same_v<R, float>) return cuda::forward(volume, rays, self.options(), out);
#endif
      throw std::invalid_argument(kNoDevice);
    }
    Running on;
    forward<R>(volume, rays, self.options(), out, on.pool);
  });
}

// Gradients of the planes and of the decoder; None for those that nobody wants.
struct GradientArrays {
  py::object planes, hidden_weight, hidden_bias, out_weight, out_bias;
};

void backward_rays(const Rendering& self, const Results& from, const GradientArrays& to) {
  const Array planes("planes", self.planes);
  const Place place = planes.place();
  with_type<float, double>(planes, [&](auto real) {
    using R = decltype(real);
    const auto v = self.volume<R>(planes);
    const auto rays = self.rays<R>(v, place);
    const March<const R> slopes{Array("dfeatures", from.features).read<R>({v.batch, rays.rays, v.features}, place),
                                Array("ddepth", from.depth).read<R>({v.batch, rays.rays, 1}, place),
                                Array("dopacity", from.opacity).read<R>({v.batch, rays.rays, 1}, place)};
    const Gradients<R> grads{
        write<R>("dplanes", to.planes, {v.batch, 3, v.features, v.height, v.width}, place),
        write<R>("dhidden_weight", to.hidden_weight, {v.hidden, v.features}, place),
        write<R>("dhidden_bias", to.hidden_bias, {v.hidden}, place),
        write<R>("dout_weight", to.out_weight, {1 + v.features, v.hidden}, place),
        write<R>("dout_bias", to.out_bias, {1 + v.features}, place),
    };
    if (place.cuda >= 0) {
#ifdef EVERFACE_HAVE_CUDA
      const py::gil_scoped_release release;
      if constexpr (std::is_same_v<R, float>) return cuda::backward(v, rays, self.options(), slopes, grads);
#endif
      throw std::invalid_argument(kNoDevice);
    }
    Running on;
    backward<R>(v, rays, self.options(), slopes, grads, on.pool);
  });
}

}  // namespace

void bind_volume(py::module_& module) {
  const auto none = py::none();
  py::class_<Rendering>(module, "VolumeRendering")
      .def(py::init<py::object, py::object, py::object, py::object, py::object, py::object, py::object, py::object,
                    py::object, const Axes&, double, bool, double, double>(),
           py::kw_only(), py::arg("planes"), py::arg("hidden_weight"), py::arg("hidden_bias"), py::arg("out_weight"),
           py::arg("out_bias"), py::arg("origins"), py::arg("directions"), py::arg("depths"),
           py::arg("quantiles") = none, py::arg("axes"), py::arg("box_warp"), py::arg("white_back") = false,
           py::arg("stop") = 0.0, py::arg("skip") = 0.0)
      .def(
          "forward",
          [](const Rendering& self, const py::object& features, const py::object& depth, const py::object& opacity) {
            forward_rays(self, {features, depth, opacity});
          },
          py::kw_only(), py::arg("features"), py::arg("depth"), py::arg("opacity"))
      .def(
          "backward",
          [](const Rendering& self, const py::object& dfeatures, const py::object& ddepth, const py::object& dopacity,
             const py::object& dplanes, const py::object& dhidden_weight, const py::object& dhidden_bias,
             const py::object& dout_weight, const py::object& dout_bias) {
            backward_rays(self, {dfeatures, ddepth, dopacity},
                          {dplanes, dhidden_weight, dhidden_bias, dout_weight, dout_bias});
          },
          py::kw_only(), py::arg("dfeatures"), py::arg("ddepth"), py::arg("dopacity"), py::arg("dplanes") = none,
          py::arg("dhidden_weight") = none, py::arg("dhidden_bias") = none, py::arg("dout_weight") = none,
          py::arg("dout_bias") = none);
}
