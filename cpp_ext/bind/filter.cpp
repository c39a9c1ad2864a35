// Resampling, bias and activation for Python: addresses and sizes in, nothing checked here (engine/ops does that).
#include "everface/filter.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>

#include "address.hpp"
#include "everface/stylegan_cuda.hpp"

namespace py = pybind11;
using namespace everface;
using namespace everface::stylegan;

namespace {

// sizes: batch, channels, height, width, out height, out width; geometry: up, down, left, top, taps.
Resampling resampling(const std::array<std::int64_t, 6>& sizes, const std::array<std::int64_t, 5>& geometry,
                      bool channels_last) {
  const auto [n, c, h, w, oh, ow] = sizes;
  const auto [up, down, left, top, taps] = geometry;
  return {n, c, {h, oh, top}, {w, ow, left}, up, down, taps, channels_last};
}

template <class E>
void run_upfirdn(const std::array<std::int64_t, 6>& sizes, const std::array<std::int64_t, 5>& geometry,
                 bool channels_last, const std::array<std::uintptr_t, 3>& x_taps_y) {
  const Resampling job = resampling(sizes, geometry, channels_last);
  const auto pool = shared_pool();
  const auto owner = pool->lock();
  upfirdn<E>(job, at<const E>(x_taps_y[0]), at<const Real<E>>(x_taps_y[1]), at<E>(x_taps_y[2]), *pool);
}

template <class E>
BiasAct<E> job_of(const std::array<std::int64_t, 3>& sizes, const std::array<double, 3>& scalars) {
  using R = Real<E>;
  return {
      sizes[0], sizes[1], sizes[2], static_cast<R>(scalars[0]), static_cast<R>(scalars[1]), static_cast<R>(scalars[2])};
}

// sizes: outer, channels, inner; scalars: slope, gain, clamp.
template <class E>
void run_bias_act(const std::array<std::int64_t, 3>& sizes, const std::array<double, 3>& scalars,
                  const std::array<std::uintptr_t, 3>& x_bias_y) {
  const auto pool = shared_pool();
  const auto owner = pool->lock();
  bias_act<E>(job_of<E>(sizes, scalars), at<const E>(x_bias_y[0]), at<const Real<E>>(x_bias_y[1]), at<E>(x_bias_y[2]),
              *pool);
}

template <class E>
void run_bias_act_grad(const std::array<std::int64_t, 3>& sizes, const std::array<double, 3>& scalars,
                       const std::array<std::uintptr_t, 3>& dy_y_dx) {
  const auto pool = shared_pool();
  const auto owner = pool->lock();
  bias_act_grad<E>(job_of<E>(sizes, scalars), at<const E>(dy_y_dx[0]), at<const E>(dy_y_dx[1]), at<E>(dy_y_dx[2]),
                   *pool);
}

// The same with addresses on the device, queued on a stream.
template <class E>
void queue_upfirdn(const std::array<std::int64_t, 6>& sizes, const std::array<std::int64_t, 5>& geometry,
                   bool channels_last, const std::array<std::uintptr_t, 3>& x_taps_y, std::uintptr_t stream) {
  const Resampling job = resampling(sizes, geometry, channels_last);
  cuda::upfirdn<E>(job, at<const E>(x_taps_y[0]), at<const float>(x_taps_y[1]), at<E>(x_taps_y[2]), at<void>(stream));
}

template <class E>
void queue_bias_act(const std::array<std::int64_t, 3>& sizes, const std::array<double, 3>& scalars,
                    const std::array<std::uintptr_t, 3>& x_bias_y, std::uintptr_t stream) {
  cuda::bias_act<E>(job_of<E>(sizes, scalars), at<const E>(x_bias_y[0]), at<const float>(x_bias_y[1]),
                    at<E>(x_bias_y[2]), at<void>(stream));
}

template <class E>
void queue_bias_act_grad(const std::array<std::int64_t, 3>& sizes, const std::array<double, 3>& scalars,
                         const std::array<std::uintptr_t, 3>& dy_y_dx, std::uintptr_t stream) {
  cuda::bias_act_grad<E>(job_of<E>(sizes, scalars), at<const E>(dy_y_dx[0]), at<const E>(dy_y_dx[1]), at<E>(dy_y_dx[2]),
                         at<void>(stream));
}

}  // namespace

void bind_filter(py::module_& module) {
  const auto free_gil = py::call_guard<py::gil_scoped_release>();
  module.def("upfirdn2d_f32", &run_upfirdn<float>, free_gil);
  module.def("upfirdn2d_bf16", &run_upfirdn<bf16>, free_gil);
  module.def("upfirdn2d_f64", &run_upfirdn<double>, free_gil);
  module.def("bias_act_f32", &run_bias_act<float>, free_gil);
  module.def("bias_act_bf16", &run_bias_act<bf16>, free_gil);
  module.def("bias_act_f64", &run_bias_act<double>, free_gil);
  module.def("bias_act_grad_f32", &run_bias_act_grad<float>, free_gil);
  module.def("bias_act_grad_bf16", &run_bias_act_grad<bf16>, free_gil);
  module.def("bias_act_grad_f64", &run_bias_act_grad<double>, free_gil);
  module.def("upfirdn2d_cuda_f32", &queue_upfirdn<float>, free_gil);
  module.def("upfirdn2d_cuda_bf16", &queue_upfirdn<bf16>, free_gil);
  module.def("bias_act_cuda_f32", &queue_bias_act<float>, free_gil);
  module.def("bias_act_cuda_bf16", &queue_bias_act<bf16>, free_gil);
  module.def("bias_act_grad_cuda_f32", &queue_bias_act_grad<float>, free_gil);
  module.def("bias_act_grad_cuda_bf16", &queue_bias_act_grad<bf16>, free_gil);
}
