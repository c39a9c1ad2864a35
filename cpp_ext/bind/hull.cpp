// Hull geometry for Python.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../hull/pool.hpp"
#include "array.hpp"
#include "everface/hull/device.hpp"
#include "everface/hull/project.hpp"
#include "everface/hull/scores.hpp"
#include "running.hpp"

namespace py = pybind11;
namespace eh = everface::hull;
using namespace everface::bind;

namespace {

using Hull = std::shared_ptr<const eh::Prepared>;

// How to project, and which weights to return.
struct Request {
  double tolerance;
  int threads;
  std::string weights;
};

template <class T>
Hull make_hull(const Array& vertices, double beta, int threads, eh::Purpose purpose, const std::string& isa) {
  const T* data = vertices.read<T>({"m", "d"});
  const std::int64_t m = vertices.size(0), d = vertices.size(1);
  const py::gil_scoped_release release;
  return eh::prepare<T>(data, m, d, d, beta, threads, purpose, isa.c_str());
}

template <class T>
py::array_t<T> moved(std::vector<T>&& values) {
  auto kept = std::make_unique<std::vector<T>>(std::move(values));
  const auto size = static_cast<py::ssize_t>(kept->size());
  const T* data = kept->data();
  py::capsule owner(kept.release(), [](void* at) { delete static_cast<std::vector<T>*>(at); });
  return py::array_t<T>(size, data, owner);
}

// Returns (weights, distance, gap, first query that is not finite or -1); weights are an array [n, m], a triple
// (start, index, value) or None.
template <class T>
py::tuple project(const eh::Prepared& hull, const Array& queries, const Request& request) {
  const std::int64_t m = eh::vertex_count(hull), d = eh::dimension(hull);
  const T* rows = queries.read<T>({"n", d});
  const std::int64_t n = queries.size(0);
  const bool dense = request.weights == "dense", sparse = request.weights == "sparse";
  if (!dense && !sparse && request.weights != "none") throw py::value_error("weights: expected dense, sparse or none");
  py::array_t<T> distance(n), all(std::vector<py::ssize_t>{dense ? n : 0, m});
  py::array_t<double> gap(n);
  eh::SparseWeights<T> some;
  eh::Result<T> result;
  result.distance = distance.mutable_data();
  result.gap = gap.mutable_data();
  if (dense) result.weights = all.mutable_data();
  if (sparse) result.sparse = &some;
  eh::Options options;
  options.tolerance = request.tolerance;
  options.threads = request.threads;
  released([&] { eh::project<T>(hull, rows, n, d, options, result); });
  py::object kept = py::none();
  if (dense) kept = all;
  if (sparse) {
    kept = py::make_tuple(moved(std::move(some.start)), moved(std::move(some.index)), moved(std::move(some.value)));
  }
  return py::make_tuple(kept, distance, gap, result.first_not_finite);
}

// A hull prepared for many queries of its vertices' type.
class ManyQueries {
 public:
  ManyQueries(const py::object& vertices, double beta, int threads, const std::string& isa) {
    const Array array("vertices", vertices);
    type_ = array.type();
    with_type<float, double>(
        array, [&](auto real) { hull_ = make_hull<decltype(real)>(array, beta, threads, eh::Purpose::kMany, isa); });
  }

  py::tuple project(const py::object& queries, double tolerance, int threads, const std::string& weights) const {
    const Array array("queries", queries);
    const Request request{tolerance, threads, weights};
    if (type_ == Type::kFloat32) return ::project<float>(*hull_, array, request);
    return ::project<double>(*hull_, array, request);
  }

  std::int64_t vertex_count() const { return eh::vertex_count(*hull_); }
  std::int64_t dimension() const { return eh::dimension(*hull_); }

 private:
  Type type_;
  Hull hull_;
};

// Both steps in one call: nothing is prepared that pays for many queries only.
py::tuple project_few(const py::object& vertices, double beta, const py::object& queries, double tolerance, int threads,
                      const std::string& weights) {
  const Array corners("vertices", vertices), rows("queries", queries);
  py::tuple result;
  with_type<float, double>(corners, [&](auto real) {
    using T = decltype(real);
    const Hull hull = make_hull<T>(corners, beta, threads, eh::Purpose::kFew, "");
    result = project<T>(*hull, rows, {tolerance, threads, weights});
  });
  return result;
}

// Rows of indices into a pool. The kernels trust them.
struct Subsets {
  const std::int64_t* data;
  std::int64_t count, size;

  Subsets(const py::object& object, std::int64_t pool) {
    const Array array("subsets", object);
    data = array.read<std::int64_t>({"c", "b"});
    count = array.size(0), size = array.size(1);
    if (size < 1) array.refuse("at least one index a row");
    for (std::int64_t i = 0; i < count * size; ++i) {
      if (data[i] < 0 || data[i] >= pool) {
        throw py::value_error("subsets: expected indices 0 to " + std::to_string(pool - 1) + ", found " +
                              std::to_string(data[i]));
      }
    }
  }
};

// A pool's latents, the timestamp of each, and its spread.
struct Items {
  const double* latents;
  std::int64_t n, d;
  eh::PoolItems rest;

  Items(const py::object& pool, const py::object& group, std::int32_t groups, const py::object& spread) {
    const Array array("pool", pool);
    latents = array.read<double>({"n", "d"});
    n = array.size(0), d = array.size(1);
    rest.group = Array("group", group).read<std::int32_t>({n});
    rest.groups = groups;
    rest.spread = Array("spread", spread).read<double>({n});
    for (std::int64_t i = 0; i < n; ++i) {
      if (rest.group[i] < 0 || rest.group[i] >= groups) throw py::value_error("group: expected 0 to groups - 1");
    }
  }
};

std::shared_ptr<eh::Pool> make_pool(const py::object& pool, const py::object& group, std::int32_t groups,
                                    const py::object& spread, int threads) {
  const Items items(pool, group, groups, spread);
  const py::gil_scoped_release release;
  return std::const_pointer_cast<eh::Pool>(
      eh::make_pool(items.latents, items.n, items.d, items.d, items.rest.group, groups, items.rest.spread, threads));
}

using Scoring = void (*)(const eh::Pool&, const std::int64_t*, std::int64_t, std::int64_t, int, double*);

template <Scoring Score>
py::array_t<double> score(const eh::Pool& pool, const py::object& subsets, int threads) {
  const Subsets rows(subsets, eh::pool_size(pool));
  py::array_t<double> out(rows.count);
  double* to = out.mutable_data();
  const py::gil_scoped_release release;
  Score(pool, rows.data, rows.count, rows.size, threads, to);
  return out;
}

py::tuple distances(const eh::Pool& pool, const py::object& subset, int threads) {
  const Subsets row(subset, eh::pool_size(pool));
  if (row.count != 1) throw py::value_error("subset: expected one row");
  const py::ssize_t n = eh::pool_size(pool);
  py::array_t<double> distance(n), weight(std::vector<py::ssize_t>{n, row.size});
  double *to = distance.mutable_data(), *weights = weight.mutable_data();
  released([&] { eh::pool_distances(pool, row.data, row.size, threads, to, weights); });
  return py::make_tuple(distance, weight);
}

py::tuple best(const eh::Pool& pool, const py::object& subsets, double bound, int threads) {
  const Subsets rows(subsets, eh::pool_size(pool));
  const eh::Best found =
      released([&] { return eh::best_subset(pool, rows.data, rows.count, rows.size, bound, threads); });
  return py::make_tuple(found.row, found.score);
}

// queries: on the host or on the current CUDA device, where they are read.
py::tuple project_cuda(const py::object& vertices, double beta, const py::object& queries, double tolerance) {
  const Array corners("vertices", vertices), rows("queries", queries);
  const double* from = corners.read<double>({"m", "d"});
  const std::int64_t m = corners.size(0), d = corners.size(1);
  const double* at = rows.read<double>({"n", d}, rows.place());
  const std::int64_t n = rows.size(0);
  py::array_t<double> weights(std::vector<py::ssize_t>{n, m}), distance(n), gap(n);
  double *w = weights.mutable_data(), *to = distance.mutable_data(), *g = gap.mutable_data();
  released([&] {
    const Hull hull = eh::prepare<double>(from, m, d, d, beta, 1, eh::Purpose::kVertices, "");
    eh::project_on_device(*hull, at, n, tolerance, w, to, g);
  });
  return py::make_tuple(weights, distance, gap);
}

py::array_t<double> scores_cuda(const py::object& pool, const py::object& group, std::int32_t groups,
                                const py::object& spread, const py::object& subsets) {
  const Items items(pool, group, groups, spread);
  const Subsets rows(subsets, items.n);
  py::array_t<double> out(rows.count);
  double* to = out.mutable_data();
  const py::gil_scoped_release release;
  const Hull hull = eh::prepare<double>(items.latents, items.n, items.d, items.d, 0.0, 1, eh::Purpose::kVertices, "");
  eh::scores_on_device(*hull, items.rest, rows.data, rows.count, rows.size, to);
  return out;
}

void bind_pool(py::module_& module) {
  py::class_<eh::Pool, std::shared_ptr<eh::Pool>>(module, "HullPool")
      .def(py::init(&make_pool), py::arg("pool"), py::arg("group"), py::arg("groups"), py::arg("spread"),
           py::arg("threads"))
      .def("scores", &score<eh::hull_scores>, py::arg("subsets"), py::arg("threads"))
      .def("best", &best, py::arg("subsets"), py::arg("bound"), py::arg("threads"))
      .def("log_volumes", &score<eh::simplex_log_volumes>, py::arg("subsets"), py::arg("threads"))
      .def("distances", &distances, py::arg("subset"), py::arg("threads"));
}

}  // namespace

void bind_hull(py::module_& module) {
  py::class_<ManyQueries>(module, "PreparedHull")
      .def(py::init<const py::object&, double, int, const std::string&>(), py::arg("vertices"), py::arg("beta"),
           py::arg("threads"), py::arg("isa") = "")
      .def("project", &ManyQueries::project, py::arg("queries"), py::arg("tolerance"), py::arg("threads"),
           py::arg("weights"))
      .def_property_readonly("vertex_count", &ManyQueries::vertex_count)
      .def_property_readonly("dimension", &ManyQueries::dimension);
  module.def("hull_project_few", &project_few, py::arg("vertices"), py::arg("beta"), py::arg("queries"),
             py::arg("tolerance"), py::arg("threads"), py::arg("weights"));
  module.def("hull_isas", &eh::isas);
  bind_pool(module);
  module.def("hull_project_cuda", &project_cuda, py::arg("vertices"), py::arg("beta"), py::arg("queries"),
             py::arg("tolerance"));
  module.def("hull_scores_cuda", &scores_cuda, py::arg("pool"), py::arg("group"), py::arg("groups"), py::arg("spread"),
             py::arg("subsets"));
}
