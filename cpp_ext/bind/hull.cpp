// Bindings of the hull geometry: arrays in, arrays out; engine/ops/hull.py validates and names things.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "../hull/pool.hpp"
#include "everface/hull/device.hpp"
#include "everface/hull/project.hpp"
#include "everface/hull/scores.hpp"

namespace py = pybind11;
namespace eh = everface::hull;

namespace {

template <class T>
using Rows = py::array_t<T, py::array::c_style>;

using Hull = std::shared_ptr<const eh::Prepared>;

template <class T>
Hull make_hull(const Rows<T>& vertices, double beta, int threads, bool many, const std::string& isa) {
  if (vertices.ndim() != 2) throw py::value_error("vertices: expected an array [m, d]");
  const T* data = vertices.data();
  const py::ssize_t m = vertices.shape(0), d = vertices.shape(1);
  py::gil_scoped_release release;
  return eh::prepare<T>(data, m, d, d, beta, threads, many ? eh::Purpose::kMany : eh::Purpose::kFew, isa.c_str());
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
    kept =
        py::make_tuple(moved(std::move(sparse.start)), moved(std::move(sparse.index)), moved(std::move(sparse.value)));
  }
  return py::make_tuple(kept, distance, gap, result.first_not_finite);
}

// Both steps in one call: nothing is prepared that pays for many queries only.
template <class T>
py::tuple project_few(const Rows<T>& vertices, double beta, const Rows<T>& queries, const py::object& start,
                      double tolerance, int threads, const std::string& weights) {
  return project<T>(*make_hull<T>(vertices, beta, threads, false, ""), queries, start, tolerance, threads, weights);
}

template <class T>
void bind_type(py::module_& module, py::class_<eh::Prepared, std::shared_ptr<eh::Prepared>>& type) {
  type.def("project", &project<T>, py::arg("queries").noconvert(), py::arg("start"), py::arg("tolerance"),
           py::arg("threads"), py::arg("weights"));
  module.def(
      "hull_prepare",
      [](const Rows<T>& vertices, double beta, int threads, bool many, const std::string& isa) {
        return std::const_pointer_cast<eh::Prepared>(make_hull<T>(vertices, beta, threads, many, isa));
      },
      py::arg("vertices").noconvert(), py::arg("beta"), py::arg("threads"), py::arg("many"), py::arg("isa"));
  module.def("hull_project_few", &project_few<T>, py::arg("vertices").noconvert(), py::arg("beta"),
             py::arg("queries").noconvert(), py::arg("start"), py::arg("tolerance"), py::arg("threads"),
             py::arg("weights"));
}

using Indices = py::array_t<std::int64_t, py::array::c_style>;

// The kernels trust their indices, so they are checked here even though engine/ops has done so.
void check_subsets(const Indices& subsets, std::int64_t n, std::int64_t least) {
  if (subsets.ndim() != 2 || subsets.shape(1) < least) throw py::value_error("subsets: expected an array [c, b]");
  const std::int64_t* at = subsets.data();
  for (py::ssize_t i = 0; i < subsets.size(); ++i) {
    if (at[i] < 0 || at[i] >= n) throw py::value_error("subsets: expected indices into the pool");
  }
}

void check_pool(const Rows<double>& pool, const Rows<std::int32_t>& group, const Rows<double>& spread) {
  if (pool.ndim() != 2 || group.ndim() != 1 || spread.ndim() != 1 || group.shape(0) != pool.shape(0) ||
      spread.shape(0) != pool.shape(0)) {
    throw py::value_error("pool: expected arrays [n, d], [n] and [n]");
  }
}

std::shared_ptr<eh::Pool> make_pool(const Rows<double>& pool, const Rows<std::int32_t>& group, std::int32_t groups,
                                    const Rows<double>& spread, int threads) {
  check_pool(pool, group, spread);
  return std::const_pointer_cast<eh::Pool>(eh::make_pool(pool.data(), pool.shape(0), pool.shape(1), pool.shape(1),
                                                         group.data(), groups, spread.data(), threads));
}

using Scoring = void (*)(const eh::Pool&, const std::int64_t*, std::int64_t, std::int64_t, int, double*);

template <Scoring Score, int Least>
py::array_t<double> score(const eh::Pool& pool, const Indices& subsets, int threads) {
  check_subsets(subsets, eh::pool_size(pool), Least);
  const py::ssize_t c = subsets.shape(0), b = subsets.shape(1);
  py::array_t<double> out(c);
  double* to = out.mutable_data();
  const std::int64_t* from = subsets.data();
  py::gil_scoped_release release;
  Score(pool, from, c, b, threads, to);
  return out;
}

py::tuple distances(const eh::Pool& pool, const Indices& subset, int threads) {
  check_subsets(subset, eh::pool_size(pool), 1);
  if (subset.shape(0) != 1) throw py::value_error("subset: expected an array [1, b]");
  const py::ssize_t n = eh::pool_size(pool), b = subset.shape(1);
  py::array_t<double> distance(n), weight(std::vector<py::ssize_t>{n, b});
  double* to = distance.mutable_data();
  double* weights = weight.mutable_data();
  {
    py::gil_scoped_release release;
    eh::pool_distances(pool, subset.data(), b, threads, to, weights);
  }
  return py::make_tuple(distance, weight);
}

py::tuple best(const eh::Pool& pool, const Indices& subsets, double bound, int threads) {
  check_subsets(subsets, eh::pool_size(pool), 1);
  const std::int64_t* from = subsets.data();
  eh::Best found;
  {
    py::gil_scoped_release release;
    found = eh::best_subset(pool, from, subsets.shape(0), subsets.shape(1), bound, threads);
  }
  return py::make_tuple(found.row, found.score);
}

// queries: the address of n rows of float64 numbers in host or device memory; engine/ops/hull.py vouches for it.
py::tuple project_cuda(const Rows<double>& vertices, double beta, std::uintptr_t queries, std::int64_t n,
                       double tolerance) {
  if (vertices.ndim() != 2 || n < 0) throw py::value_error("vertices: expected an array [m, d]");
  const py::ssize_t m = vertices.shape(0), d = vertices.shape(1);
  py::array_t<double> weights(std::vector<py::ssize_t>{n, m}), distance(n), gap(n);
  double *w = weights.mutable_data(), *to = distance.mutable_data(), *g = gap.mutable_data();
  const double* corners = vertices.data();
  {
    py::gil_scoped_release release;
    const Hull hull = eh::prepare<double>(corners, m, d, d, beta, 1, eh::Purpose::kVertices, "");
    eh::project_on_device(*hull, reinterpret_cast<const double*>(queries), n, tolerance, w, to, g);
  }
  return py::make_tuple(weights, distance, gap);
}

py::array_t<double> scores_cuda(const Rows<double>& pool, const Rows<std::int32_t>& group, std::int32_t groups,
                                const Rows<double>& spread, const Indices& subsets) {
  check_pool(pool, group, spread);
  for (py::ssize_t i = 0; i < group.size(); ++i) {
    if (group.data()[i] < 0 || group.data()[i] >= groups) throw py::value_error("group: expected 0 to groups - 1");
  }
  check_subsets(subsets, pool.shape(0), 1);
  const py::ssize_t n = pool.shape(0), d = pool.shape(1), c = subsets.shape(0), b = subsets.shape(1);
  py::array_t<double> out(c);
  double* to = out.mutable_data();
  const double* rows = pool.data();
  const std::int64_t* from = subsets.data();
  const eh::PoolItems items{group.data(), groups, spread.data()};
  py::gil_scoped_release release;
  const Hull hull = eh::prepare<double>(rows, n, d, d, 0.0, 1, eh::Purpose::kVertices, "");
  eh::scores_on_device(*hull, items, from, c, b, to);
  return out;
}

void bind_pool(py::module_& module) {
  py::class_<eh::Pool, std::shared_ptr<eh::Pool>> type(module, "HullPool");
  type.def(py::init(&make_pool), py::arg("pool").noconvert(), py::arg("group").noconvert(), py::arg("groups"),
           py::arg("spread").noconvert(), py::arg("threads"));
  type.def("scores", &score<eh::hull_scores, 1>, py::arg("subsets").noconvert(), py::arg("threads"));
  type.def("best", &best, py::arg("subsets").noconvert(), py::arg("bound"), py::arg("threads"));
  type.def("log_volumes", &score<eh::simplex_log_volumes, 1>, py::arg("subsets").noconvert(), py::arg("threads"));
  type.def("distances", &distances, py::arg("subset").noconvert(), py::arg("threads"));
}

}  // namespace

void bind_hull(py::module_& module) {
  py::class_<eh::Prepared, std::shared_ptr<eh::Prepared>> type(module, "PreparedHull");
  type.def_property_readonly("vertex_count", &eh::vertex_count);
  type.def_property_readonly("dimension", &eh::dimension);
  bind_type<double>(module, type);
  bind_type<float>(module, type);
  module.def("hull_isas", &eh::isas);
  bind_pool(module);
  module.def("hull_project_cuda", &project_cuda, py::arg("vertices").noconvert(), py::arg("beta"), py::arg("queries"),
             py::arg("n"), py::arg("tolerance"));
  module.def("hull_scores_cuda", &scores_cuda, py::arg("pool").noconvert(), py::arg("group").noconvert(),
             py::arg("groups"), py::arg("spread").noconvert(), py::arg("subsets").noconvert());
}
