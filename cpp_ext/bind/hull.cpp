// Bindings of the hull geometry: arrays in, arrays out; engine/ops/hull.py validates and names things.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "../hull/prepared.hpp"
#include "everface/hull/project.hpp"

namespace py = pybind11;
namespace eh = everface::hull;

namespace {

template <class T>
using Rows = py::array_t<T, py::array::c_style>;

using Hull = std::shared_ptr<const eh::Prepared>;

template <class T>
Hull make_hull(const Rows<T>& vertices, double beta, int threads, bool affine, const std::string& isa) {
  if (vertices.ndim() != 2) throw py::value_error("vertices: expected an array [m, d]");
  const T* data = vertices.data();
  const py::ssize_t m = vertices.shape(0), d = vertices.shape(1);
  py::gil_scoped_release release;
  return eh::prepare<T>(data, m, d, d, beta, threads, affine, isa.c_str());
}

template <class T>
py::array_t<T> moved(std::vector<T>&& values) {
  auto* kept = new std::vector<T>(std::move(values));
  py::capsule owner(kept, [](void* at) { delete static_cast<std::vector<T>*>(at); });
  return py::array_t<T>(static_cast<py::ssize_t>(kept->size()), kept->data(), owner);
}

// Returns (weights, distance, gap, first query that is not finite or -1); weights are an array [n, m], a triple
// (start, index, value) or None.
template <class T>
py::tuple project(const eh::Prepared& hull, const Rows<T>& queries, const py::object& start, double tolerance,
                  int threads, const std::string& weights) {
  const std::int64_t m = eh::vertex_count(hull), d = eh::dimension(hull);
  if (queries.ndim() != 2 || queries.shape(1) != d) throw py::value_error("queries: expected an array [n, d]");
  const py::ssize_t n = queries.shape(0);
  Rows<T> from;
  if (!start.is_none()) {
    if (!py::isinstance<Rows<T>>(start)) throw py::value_error("start: expected the queries' type");
    from = py::reinterpret_borrow<Rows<T>>(start);
    if (from.ndim() != 2 || from.shape(0) != n || from.shape(1) != m) {
      throw py::value_error("start: expected an array [n, m]");
    }
  }
  py::array_t<T> distance(n), dense(std::vector<py::ssize_t>{weights == "dense" ? n : 0, m});
  py::array_t<double> gap(n);
  eh::SparseWeights<T> sparse;
  eh::Result<T> result;
  result.distance = distance.mutable_data();
  result.gap = gap.mutable_data();
  if (weights == "dense") result.weights = dense.mutable_data();
  if (weights == "sparse") result.sparse = &sparse;
  eh::Options options;
  options.tolerance = tolerance;
  options.threads = threads;
  const T* rows = queries.data();
  const T* first = start.is_none() ? nullptr : from.data();
  {
    py::gil_scoped_release release;
    eh::project<T>(hull, rows, n, d, first, options, result);
  }
  py::object kept = py::none();
  if (weights == "dense") kept = dense;
  if (weights == "sparse") {
    kept = py::make_tuple(moved(std::move(sparse.start)), moved(std::move(sparse.index)), moved(std::move(sparse.value)));
  }
  return py::make_tuple(kept, distance, gap, result.first_not_finite);
}

template <class T>
void bind_type(py::module_& module, py::class_<eh::Prepared, std::shared_ptr<eh::Prepared>>& type) {
  type.def("project", &project<T>, py::arg("queries").noconvert(), py::arg("start"), py::arg("tolerance"),
           py::arg("threads"), py::arg("weights"));
  module.def(
      "hull_prepare",
      [](const Rows<T>& vertices, double beta, int threads, bool affine, const std::string& isa) {
        return std::const_pointer_cast<eh::Prepared>(make_hull<T>(vertices, beta, threads, affine, isa));
      },
      py::arg("vertices").noconvert(), py::arg("beta"), py::arg("threads"), py::arg("affine"), py::arg("isa"));
}

}  // namespace

void bind_hull(py::module_& module) {
  py::class_<eh::Prepared, std::shared_ptr<eh::Prepared>> type(module, "PreparedHull");
  type.def_property_readonly("vertex_count", &eh::vertex_count);
  type.def_property_readonly("dimension", &eh::dimension);
  bind_type<double>(module, type);
  bind_type<float>(module, type);
  module.def("hull_isas", &eh::isas);
}
