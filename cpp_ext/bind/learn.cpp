// The learning core for Python, on arrays whose types and shapes are checked here.
#include "everface/learn.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <string>

#include "array.hpp"
#include "everface/encoder.hpp"
#include "pictures.hpp"
#include "running.hpp"

using namespace everface;
using namespace everface::bind;

namespace {

using Floats = py::array_t<float, py::array::c_style>;  // what is given back
using Photo = std::shared_ptr<const perceptual::Target>;
constexpr std::int64_t kLeastSide = 4;

// Prepared photos; joined ones share them.
struct Photos {
  std::int64_t resolution;
  std::vector<Photo> photos;
};

[[noreturn]] void refuse(const std::string& what) { throw py::value_error(what); }

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

Photos prepare(const learn::Loss& loss, const py::object& images) {
  const Pictures all("images", images);
  if (all.colours != 3 || all.side < kLeastSide) refuse("images: expected three colours, and sides of 4 or more");
  Photos photos{all.side, {}};
  Running on;
  for (auto& target : loss.targets(all.planes.data(), all.count, all.side, on.pool))
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

  Chosen(const Photos& all, const py::object& index) {
    auto count = static_cast<std::int64_t>(all.photos.size());
    const std::int64_t* given = bind::read<std::int64_t>("index", index, {"n"});
    if (given) count = Array("index", index).size(0);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t row = given ? given[i] : i;
      if (row < 0 || row >= static_cast<std::int64_t>(all.photos.size())) refuse("index: outside of the targets");
      photos.push_back(all.photos[static_cast<std::size_t>(row)]);
      targets.push_back(photos.back().get()), rows.push_back(row);
    }
  }
  std::int64_t count() const { return static_cast<std::int64_t>(rows.size()); }
};

py::tuple picture_loss(const learn::Loss& loss, const py::object& images, const Photos& targets,
                       const py::object& index, bool gradient) {
  const Pictures pictures("images", images);
  const Chosen chosen(targets, index);
  if (pictures.count != chosen.count() || pictures.colours != 3 || pictures.side != targets.resolution)
    refuse("images: expected one picture of the targets' size for each");
  Floats losses(chosen.count());
  float* to = losses.mutable_data();
  std::vector<float> slope(gradient ? pictures.planes.size() : 0);
  {
    Running on;
    Buffer buffer;
    loss(pictures.planes.data(), chosen.count(), pictures.side, chosen.targets.data(), gradient, to,
         gradient ? slope.data() : nullptr, 1, buffer, on.pool);
  }
  if (!gradient) return py::make_tuple(losses, py::none());
  return py::make_tuple(losses, images_of(slope, pictures.count, pictures.side, 3));
}

// Rows of codes, gathered.
struct Batch {
  std::vector<float> values;
  learn::Codes codes;

  Batch(const learn::Learner& learner, const py::object& object, const std::vector<std::int64_t>* rows) {
    const auto& shape = learner.shape();
    const Array all("codes", object);
    const bool plus = all.rank() == 3;
    const float* from =
        plus ? all.read<float>({"n", shape.num_ws(), shape.w_dim}) : all.read<float>({"n", shape.w_dim});
    const std::int64_t size = learner.code_size(plus);
    const std::int64_t count = rows ? static_cast<std::int64_t>(rows->size()) : all.size(0);
    values.reserve(static_cast<std::size_t>(count * size));
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t row = rows ? (*rows)[static_cast<std::size_t>(i)] : i;
      if (row >= all.size(0)) refuse("codes: expected as many as targets");
      values.insert(values.end(), from + row * size, from + (row + 1) * size);
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

Floats render(learn::Learner& learner, const py::object& codes) {
  const Batch batch(learner, codes, nullptr);
  const auto& shape = learner.shape();
  const std::int64_t count = batch.codes.count;
  std::vector<float> planes(static_cast<std::size_t>(count * shape.colours * shape.resolution * shape.resolution));
  released([&] { learner.render(batch.codes, planes.data(), *shared_pool()); });
  return images_of(planes, count, shape.resolution, shape.colours);
}

Floats losses(learn::Learner& learner, const py::object& codes, const Photos& targets, const py::object& index) {
  check_size(learner, targets);
  const Chosen chosen(targets, index);
  const Batch batch(learner, codes, &chosen.rows);
  Floats result(chosen.count());
  float* to = result.mutable_data();
  const py::gil_scoped_release release;
  learner.losses(batch.codes, chosen.targets.data(), to, *shared_pool());
  return result;
}

py::tuple loss_and_gradient(learn::Learner& learner, const py::object& codes, const Photos& targets,
                            const py::object& index) {
  check_size(learner, targets);
  const Chosen chosen(targets, index);
  const Batch batch(learner, codes, &chosen.rows);
  Floats result(chosen.count()), slope = batch.like(learner);
  float *to = result.mutable_data(), *slopes = slope.mutable_data();
  released([&] { learner.gradient(batch.codes, chosen.targets.data(), to, slopes, *shared_pool()); });
  return py::make_tuple(result, slope);
}

Floats pull_back(learn::Learner& learner, const py::object& codes, const py::object& dimages) {
  const Batch batch(learner, codes, nullptr);
  const auto& shape = learner.shape();
  const Pictures slopes_of("gradient", dimages);
  if (slopes_of.count != batch.codes.count || slopes_of.side != shape.resolution || slopes_of.colours != shape.colours)
    refuse("gradient: expected one picture for each code");
  Floats slope = batch.like(learner);
  float* slopes = slope.mutable_data();
  const py::gil_scoped_release release;
  learner.pull_back(batch.codes, slopes_of.planes.data(), slopes, *shared_pool());
  return slope;
}

float step(learn::Learner& learner, const py::object& codes, const Photos& targets, const py::object& index,
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

void restore(learn::Learner& learner, const py::object& values, const py::object& mean, const py::object& square,
             std::int64_t steps) {
  const std::int64_t size = learner.tuned_size();
  if (steps < 0) refuse("steps: expected 0 or more");
  learner.restore(Array("values", values).read<float>({size}), Array("mean", mean).read<float>({size}),
                  Array("square", square).read<float>({size}), steps);
}

py::dict tuned(const learn::Learner& learner) {
  std::vector<float> values(static_cast<std::size_t>(learner.tuned_size())), rest(values.size()), other(values.size());
  learner.state(values.data(), rest.data(), other.data());
  return by_name(learner.tuned(), values.data());
}

Floats encode(const Encoder& encoder, const py::object& images) {
  const Pictures photos("images", images);
  if (photos.colours != 3 || photos.side < 1) refuse("images: expected three colours, and sides of 1 or more");
  Floats codes({photos.count, encoder.w_dim()});
  float* to = codes.mutable_data();
  Running on;
  encoder(photos.planes.data(), photos.count, photos.side, to, on.pool);
  return codes;
}

}  // namespace

void bind_learn(py::module_& module) {
  module.def("fast_bf16", &learn::fast_bf16);
  py::class_<Encoder>(module, "Encoder")
      .def(py::init([](const py::dict& weights) { return std::make_unique<Encoder>(tensors_of(weights)); }),
           py::arg("weights"))
      .def("__call__", &encode, py::arg("images"));
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
      .def("prepare", &prepare, py::arg("images"))
      .def("__call__", &picture_loss, py::arg("images"), py::arg("targets"), py::arg("index"), py::arg("gradient"))
      .def_property_readonly("fast", &learn::Loss::fast);
  py::class_<learn::Learner>(module, "Learner")
      .def(py::init([](const py::dict& weights, const py::dict& factors, float factor_scale, double clamp,
                       std::shared_ptr<learn::Loss> loss) {
             const Tensors tensors = tensors_of(weights);
             return std::make_unique<learn::Learner>(learn::shape_of(tensors, clamp), tensors, tensors_of(factors),
                                                     factor_scale, std::move(loss));
           }),
           py::arg("weights"), py::arg("factors"), py::arg("factor_scale"), py::arg("clamp"), py::arg("loss"))
      .def("render", &render, py::arg("codes"))
      .def("losses", &losses, py::arg("codes"), py::arg("targets"), py::arg("index"))
      .def("loss_and_gradient", &loss_and_gradient, py::arg("codes"), py::arg("targets"), py::arg("index"))
      .def("pull_back", &pull_back, py::arg("codes"), py::arg("gradient"))
      .def("step", &step, py::arg("codes"), py::arg("targets"), py::arg("index"), py::arg("learning_rate"))
      .def("weights", [](learn::Learner& self) { return by_name(self.places(), self.values(*shared_pool()).data()); })
      .def("tuned", &tuned)
      .def("state", &state)
      .def("restore", &restore, py::arg("values"), py::arg("mean"), py::arg("square"), py::arg("steps"))
      .def_property_readonly("memory_bytes", &learn::Learner::memory_bytes);
}
