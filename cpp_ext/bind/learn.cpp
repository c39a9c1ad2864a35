// The learning core for Python: NumPy arrays whose types and shapes are checked here.
#include "everface/learn.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string>

namespace py = pybind11;
using namespace everface;

namespace {

using Floats = py::array_t<float, py::array::c_style>;
using Indices = py::array_t<std::int64_t, py::array::c_style>;
using Photo = std::shared_ptr<const perceptual::Target>;

// Prepared photos; joined ones share them.
struct Photos {
  std::int64_t resolution;
  std::vector<Photo> photos;
};

[[noreturn]] void refuse(const std::string& what) { throw py::value_error(what); }

Tensors tensors_of(const py::dict& arrays) {
  Tensors tensors;
  for (const auto& item : arrays) {
    const auto array = Floats::ensure(item.second);
    if (!array) refuse("weights: expected float32 arrays");
    const py::buffer_info info = array.request();
    Tensor tensor{{info.shape.begin(), info.shape.end()}, {}};
    tensor.values.assign(array.data(), array.data() + array.size());
    tensors.emplace(py::cast<std::string>(item.first), std::move(tensor));
  }
  return tensors;
}

// [n, side, side, colours] to [n, colours, side, side], or back.
std::vector<float> planes_of(const Floats& images) {
  if (images.ndim() != 4 || images.shape(1) != images.shape(2)) refuse("images: expected [n, side, side, colours]");
  const std::int64_t n = images.shape(0), pixels = images.shape(1) * images.shape(2), colours = images.shape(3);
  std::vector<float> planes(static_cast<std::size_t>(images.size()));
  const float* from = images.data();
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t p = 0; p < pixels; ++p)
      for (std::int64_t c = 0; c < colours; ++c)
        planes[static_cast<std::size_t>((i * colours + c) * pixels + p)] = *from++;
  return planes;
}

Floats images_of(const std::vector<float>& planes, std::int64_t n, std::int64_t side, std::int64_t colours) {
  Floats images({n, side, side, colours});
  float* to = images.mutable_data();
  const std::int64_t pixels = side * side;
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t p = 0; p < pixels; ++p)
      for (std::int64_t c = 0; c < colours; ++c)
        *to++ = planes[static_cast<std::size_t>((i * colours + c) * pixels + p)];
  return images;
}

Photos prepare(const learn::Loss& loss, const Floats& images) {
  const std::vector<float> planes = planes_of(images);
  if (images.shape(3) != 3) refuse("images: expected three colours");
  const std::int64_t n = images.shape(0), side = images.shape(1);
  Photos photos{side, {}};
  const py::gil_scoped_release release;
  const auto pool = shared_pool();
  const auto owner = pool->lock();
  for (auto& target : loss.targets(planes.data(), n, side, *pool))
    photos.photos.push_back(std::make_shared<const perceptual::Target>(std::move(target)));
  return photos;
}

Photos join(const std::vector<const Photos*>& parts) {
  if (parts.empty()) refuse("targets: expected at least one part");
  Photos all{parts[0]->resolution, {}};
  for (const Photos* part : parts) {
    if (part->resolution != all.resolution) refuse("targets: expected photos of one size");
    all.photos.insert(all.photos.end(), part->photos.begin(), part->photos.end());
  }
  return all;
}

// The photos at index, all of them where there is none; and, in the same order, rows of an array of as many.
struct Chosen {
  std::vector<Photo> photos;  // kept alive while they are read
  std::vector<const perceptual::Target*> targets;
  std::vector<std::int64_t> rows;

  Chosen(const Photos& all, const std::optional<Indices>& index) {
    const auto count = static_cast<std::int64_t>(index ? index->size() : all.photos.size());
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t row = index ? index->data()[i] : i;
      if (row < 0 || row >= static_cast<std::int64_t>(all.photos.size())) refuse("index: outside of the targets");
      photos.push_back(all.photos[static_cast<std::size_t>(row)]);
      targets.push_back(photos.back().get()), rows.push_back(row);
    }
  }
  std::int64_t count() const { return static_cast<std::int64_t>(rows.size()); }
};

py::tuple picture_loss(const learn::Loss& loss, const Floats& images, const Photos& targets,
                       const std::optional<Indices>& index, bool gradient) {
  const std::vector<float> planes = planes_of(images);
  const Chosen chosen(targets, index);
  const std::int64_t side = images.shape(1);
  if (images.shape(0) != chosen.count() || images.shape(3) != 3 || side != targets.resolution)
    refuse("images: expected one picture of the targets' size for each");
  Floats losses(chosen.count());
  float* to = losses.mutable_data();
  std::vector<float> slope(gradient ? planes.size() : 0);
  {
    const py::gil_scoped_release release;
    const auto pool = shared_pool();
    const auto owner = pool->lock();
    Buffer buffer;
    loss(planes.data(), chosen.count(), side, chosen.targets.data(), gradient, to, gradient ? slope.data() : nullptr, 1,
         buffer, *pool);
  }
  if (!gradient) return py::make_tuple(losses, py::none());
  return py::make_tuple(losses, images_of(slope, images.shape(0), side, 3));
}

// Rows of codes, gathered.
struct Batch {
  std::vector<float> values;
  learn::Codes codes;

  Batch(const learn::Learner& learner, const Floats& all, const std::vector<std::int64_t>* rows) {
    const auto& shape = learner.shape();
    const bool plus = all.ndim() == 3;
    const bool fits = plus ? all.shape(1) == shape.num_ws() && all.shape(2) == shape.w_dim
                           : all.ndim() == 2 && all.shape(1) == shape.w_dim;
    if (!fits) refuse("codes: expected [n, w_dim] or [n, num_ws, w_dim] of this generator");
    const std::int64_t size = learner.code_size(plus);
    const std::int64_t count = rows ? static_cast<std::int64_t>(rows->size()) : all.shape(0);
    values.reserve(static_cast<std::size_t>(count * size));
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t row = rows ? (*rows)[static_cast<std::size_t>(i)] : i;
      if (row >= all.shape(0)) refuse("codes: expected as many as targets");
      values.insert(values.end(), all.data() + row * size, all.data() + (row + 1) * size);
    }
    codes = {values.data(), count, plus};
  }

  // An array like the gathered codes.
  Floats like(const learn::Learner& learner) const {
    const auto& shape = learner.shape();
    return codes.plus ? Floats({codes.count, shape.num_ws(), shape.w_dim}) : Floats({codes.count, shape.w_dim});
  }
};

void check_size(const learn::Learner& learner, const Photos& targets) {
  if (targets.resolution != learner.shape().resolution || learner.shape().colours != 3)
    refuse("targets: expected photos of the generator's size");
}

Floats render(learn::Learner& learner, const Floats& codes) {
  const Batch batch(learner, codes, nullptr);
  const auto& shape = learner.shape();
  const std::int64_t count = batch.codes.count;
  std::vector<float> planes(static_cast<std::size_t>(count * shape.colours * shape.resolution * shape.resolution));
  {
    const py::gil_scoped_release release;
    learner.render(batch.codes, planes.data(), *shared_pool());
  }
  return images_of(planes, count, shape.resolution, shape.colours);
}

Floats losses(learn::Learner& learner, const Floats& codes, const Photos& targets,
              const std::optional<Indices>& index) {
  check_size(learner, targets);
  const Chosen chosen(targets, index);
  const Batch batch(learner, codes, &chosen.rows);
  Floats result(chosen.count());
  float* to = result.mutable_data();
  const py::gil_scoped_release release;
  learner.losses(batch.codes, chosen.targets.data(), to, *shared_pool());
  return result;
}

py::tuple loss_and_gradient(learn::Learner& learner, const Floats& codes, const Photos& targets,
                            const std::optional<Indices>& index) {
  check_size(learner, targets);
  const Chosen chosen(targets, index);
  const Batch batch(learner, codes, &chosen.rows);
  Floats result(chosen.count()), slope = batch.like(learner);
  float *to = result.mutable_data(), *slopes = slope.mutable_data();
  {
    const py::gil_scoped_release release;
    learner.gradient(batch.codes, chosen.targets.data(), to, slopes, *shared_pool());
  }
  return py::make_tuple(result, slope);
}

Floats pull_back(learn::Learner& learner, const Floats& codes, const Floats& dimages) {
  const Batch batch(learner, codes, nullptr);
  const auto& shape = learner.shape();
  const std::vector<float> planes = planes_of(dimages);
  if (dimages.shape(0) != batch.codes.count || dimages.shape(1) != shape.resolution ||
      dimages.shape(3) != shape.colours)
    refuse("gradient: expected one picture for each code");
  Floats slope = batch.like(learner);
  float* slopes = slope.mutable_data();
  const py::gil_scoped_release release;
  learner.pull_back(batch.codes, planes.data(), slopes, *shared_pool());
  return slope;
}

float step(learn::Learner& learner, const Floats& codes, const Photos& targets, const Indices& index,
           float learning_rate) {
  check_size(learner, targets);
  const Chosen chosen(targets, index);
  if (chosen.count() == 0) refuse("index: expected at least one picture");
  const Batch batch(learner, codes, &chosen.rows);
  const py::gil_scoped_release release;
  return learner.step(batch.codes, chosen.targets.data(), learning_rate, *shared_pool());
}

py::dict by_name(const std::vector<learn::Place>& places, const float* values) {
  py::dict arrays;
  for (const auto& place : places) {
    Floats array(std::vector<py::ssize_t>(place.shape.begin(), place.shape.end()));
    std::copy_n(values + place.at, place.size, array.mutable_data());
    arrays[py::str(place.name)] = array;
  }
  return arrays;
}

py::dict state(const learn::Learner& learner) {
  const std::int64_t size = learner.tuned_size();
  Floats values(size), mean(size), square(size);
  const std::int64_t steps = learner.state(values.mutable_data(), mean.mutable_data(), square.mutable_data());
  py::dict result;
  result["values"] = values, result["mean"] = mean, result["square"] = square;
  result["steps"] = steps;
  return result;
}

void restore(learn::Learner& learner, const Floats& values, const Floats& mean, const Floats& square,
             std::int64_t steps) {
  for (const Floats* array : {&values, &mean, &square})
    if (array->size() != learner.tuned_size()) refuse("state: of another model");
  if (steps < 0) refuse("state: a negative number of steps");
  learner.restore(values.data(), mean.data(), square.data(), steps);
}

py::dict tuned(const learn::Learner& learner) {
  std::vector<float> values(static_cast<std::size_t>(learner.tuned_size())), rest(values.size()), other(values.size());
  learner.state(values.data(), rest.data(), other.data());
  return by_name(learner.tuned(), values.data());
}

}  // namespace

void bind_learn(py::module_& module) {
  module.def("fast_bf16", &learn::fast_bf16);
  // Prepared photos.
  py::class_<Photos>(module, "Targets")
      .def("__len__", [](const Photos& self) { return self.photos.size(); })
      .def_readonly("resolution", &Photos::resolution);
  module.def("join_targets", &join, py::arg("parts"));
  py::class_<learn::Loss, std::shared_ptr<learn::Loss>>(module, "ReconstructionLoss")
      .def(py::init([](const py::dict& weights, int side, float mse_weight, bool fast) {
             return std::make_shared<learn::Loss>(tensors_of(weights), side, mse_weight, fast);
           }),
           py::arg("weights"), py::arg("side"), py::arg("mse_weight"), py::arg("fast"))
      .def("prepare", &prepare, py::arg("images").noconvert())
      .def("__call__", &picture_loss, py::arg("images").noconvert(), py::arg("targets"), py::arg("index").noconvert(),
           py::arg("gradient"))
      .def_property_readonly("fast", &learn::Loss::fast);
  py::class_<learn::Learner>(module, "Learner")
      .def(py::init([](const py::dict& weights, const py::dict& factors, float factor_scale, double clamp,
                       std::shared_ptr<learn::Loss> loss) {
             const Tensors tensors = tensors_of(weights);
             return std::make_unique<learn::Learner>(learn::shape_of(tensors, clamp), tensors, tensors_of(factors),
                                                     factor_scale, std::move(loss));
           }),
           py::arg("weights"), py::arg("factors"), py::arg("factor_scale"), py::arg("clamp"), py::arg("loss"))
      .def("render", &render, py::arg("codes").noconvert())
      .def("losses", &losses, py::arg("codes").noconvert(), py::arg("targets"), py::arg("index").noconvert())
      .def("loss_and_gradient", &loss_and_gradient, py::arg("codes").noconvert(), py::arg("targets"),
           py::arg("index").noconvert())
      .def("pull_back", &pull_back, py::arg("codes").noconvert(), py::arg("gradient").noconvert())
      .def("step", &step, py::arg("codes").noconvert(), py::arg("targets"), py::arg("index").noconvert(),
           py::arg("learning_rate"))
      .def("weights", [](learn::Learner& self) { return by_name(self.places(), self.values(*shared_pool()).data()); })
      .def("tuned", &tuned)
      .def("state", &state)
      .def("restore", &restore, py::arg("values").noconvert(), py::arg("mean").noconvert(),
           py::arg("square").noconvert(), py::arg("steps"))
      .def_property_readonly("memory_bytes", &learn::Learner::memory_bytes);
}
