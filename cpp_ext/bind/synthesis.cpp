// Whole synthesis networks for Python: weights as arrays, one door for inference and one for learning.
#include "everface/synthesis.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "array.hpp"
#include "running.hpp"

namespace py = pybind11;
using namespace everface;
using namespace everface::bind;
using namespace everface::stylegan;

namespace {

// The arrays of one layer, not looked at yet; None where it has none.
struct Layer {
  py::object affine_weight, affine_bias, weight, bias, noise_strength, noise;
};

// A network's arrays, all of which fit together. It keeps them, and reads them anew at each use.
class Weights {
 public:
  Weights(const py::object& constant, const std::vector<Layer>& layers, std::optional<double> clamp) {
    if (layers.size() < 2 || layers.size() % 3 != 2) {
      throw py::value_error("layers: expected conv1 and torgb, then conv0, conv1 and torgb for each further block");
    }
    const Array first("constant", constant);
    if (first.rank() != 3) first.refuse("[channels, 4, 4]");
    type_ = first.type();
    if (type_ != Type::kFloat32 && type_ != Type::kFloat64) first.refuse("float32 or float64");
    measure(layers);
    shape_.clamp = clamp.value_or(std::numeric_limits<double>::infinity());
    if (!(shape_.clamp > 0)) throw py::value_error("clamp: expected a number above 0, or None");
    constant_ = keep(first, {shape_.channels[0], 4, 4});
    for (std::size_t i = 0; i < layers.size(); ++i) add(i, layers[i]);
  }

  const SynthesisShape& shape() const { return shape_; }
  Type type() const { return type_; }
  bool writable() const { return writable_; }

  template <class R>
  SynthesisParameters<R> as() const {
    SynthesisParameters<R> p;
    p.constant = static_cast<R*>(constant_);
    for (const Pointers& at : layers_) {
      p.layers.push_back({static_cast<R*>(at.affine_weight), static_cast<R*>(at.affine_bias),
                          static_cast<R*>(at.weight), static_cast<R*>(at.bias), static_cast<R*>(at.noise_strength)});
      p.noise.push_back(static_cast<const R*>(at.noise));
    }
    return p;
  }

 private:
  struct Pointers {
    void *affine_weight, *affine_bias, *weight, *bias, *noise_strength, *noise;
  };

  static bool is_colour(std::size_t layer) { return layer % 3 == 1; }
  static std::string label(std::size_t layer, const char* part) {
    return "layers[" + std::to_string(layer) + "]." + part;
  }

  // Sizes of the network, from those of each block's conv1 and torgb.
  void measure(const std::vector<Layer>& layers) {
    for (std::size_t i = 0; i < layers.size(); i += 3) {
      const Array weight(label(i, "weight"), layers[i].weight);
      if (weight.rank() != 4 || weight.size(0) < 1) weight.refuse("[channels, channels, 3, 3]");
      shape_.channels.push_back(weight.size(0));
    }
    const Array affine(label(0, "affine_weight"), layers[0].affine_weight);
    if (affine.rank() != 2 || affine.size(1) < 1) affine.refuse("[channels, w_dim]");
    const Array colours(label(1, "weight"), layers[1].weight);
    if (colours.rank() != 4 || colours.size(0) < 1 || colours.size(0) > 4) {
      colours.refuse("[1 to 4 colours, channels, 1, 1]");
    }
    shape_.w_dim = affine.size(1);
    shape_.colours = static_cast<int>(colours.size(0));
    shape_.resolution = std::int64_t{4} << (shape_.channels.size() - 1);
  }

  void* keep(const Array& array, Shape shape) {
    writable_ = writable_ && array.writable();
    owners_.push_back(array.owner());
    // Read only, but for gradients, of which writable() is asked first.
    return const_cast<void*>(type_ == Type::kFloat32 ? static_cast<const void*>(array.read<float>(shape))
                                                     : static_cast<const void*>(array.read<double>(shape)));
  }

  void add(std::size_t i, const Layer& layer) {
    const std::size_t block = (i + 1) / 3;
    const std::int64_t cin = shape_.channels[i % 3 == 2 ? block - 1 : block];
    const std::int64_t cout = is_colour(i) ? shape_.colours : shape_.channels[block];
    const std::int64_t taps = is_colour(i) ? 1 : 3;
    Pointers at{};
    at.affine_weight = keep({label(i, "affine_weight"), layer.affine_weight}, {cin, shape_.w_dim});
    at.affine_bias = keep({label(i, "affine_bias"), layer.affine_bias}, {cin});
    at.weight = keep({label(i, "weight"), layer.weight}, {cout, cin, taps, taps});
    at.bias = keep({label(i, "bias"), layer.bias}, {cout});
    if (!is_colour(i)) {
      const Array strength(label(i, "noise_strength"), layer.noise_strength);
      at.noise_strength = strength.rank() == 0 ? keep(strength, {}) : keep(strength, {1});
      if (!layer.noise.is_none()) {
        const Array noise(label(i, "noise"), layer.noise);
        const std::int64_t side = std::int64_t{4} << block;
        at.noise = noise.rank() == 2 ? keep(noise, {side, side}) : keep(noise, {1, side, side});
      }
    }
    layers_.push_back(at);
  }

  SynthesisShape shape_{};
  Type type_ = Type::kFloat32;
  bool writable_ = true;
  void* constant_ = nullptr;
  std::vector<Pointers> layers_;
  std::vector<py::object> owners_;
};

// Calls body with a value of the type in which activations are held.
template <class Body>
auto with_precision(const std::string& precision, Type weights, Body&& body) {
  const bool single = weights == Type::kFloat32;
  if (precision == "fp32" && single) return body(float{});
  if (precision == "bf16" && single) return body(bf16{});
  if (precision == "fp64" && !single) return body(double{});
  throw py::value_error("precision: expected " + std::string(single ? "fp32 or bf16" : "fp64") + " for " +
                        (single ? "float32" : "float64") + " weights, found " + precision);
}

std::int64_t batch_of(const char* name, const py::object& object) {
  const Array array(name, object);
  if (array.rank() < 1) array.refuse("[batch, ...]");
  return array.size(0);
}

template <class R>
const R* read_styles(const Weights& weights, const py::object& ws) {
  return Array("ws", ws).read<R>({"batch", weights.shape().num_ws(), weights.shape().w_dim});
}

// One forward pass for learning, and what its backward pass needs.
class Pass {
 public:
  Pass(std::shared_ptr<const Weights> weights, py::object ws, const py::object& image, const std::string& precision)
      : weights_(std::move(weights)), ws_(std::move(ws)), precision_(precision), batch_(batch_of("ws", ws_)) {
    const SynthesisShape& shape = weights_->shape();
    with_precision(precision_, weights_->type(), [&](auto element) {
      using E = decltype(element);
      using R = Real<E>;
      const R* styles = read_styles<R>(*weights_, ws_);
      R* out = write<R>("image", image, {batch_, shape.colours, shape.resolution, shape.resolution});
      const auto parameters = weights_->as<R>();
      if (batch_ == 0) return;
      std::byte* saved = saved_.reserve(saved_bytes<E>(shape, batch_));
      Running on;
      synthesis_forward<E>(shape, parameters, batch_, styles, out, saved, on.pool);
    });
  }

  void backward(const py::object& dimage, const std::shared_ptr<Weights>& gradients, const py::object& dws) {
    const SynthesisShape& shape = weights_->shape();
    if (gradients) check_gradients(*gradients);
    with_precision(precision_, weights_->type(), [&](auto element) {
      using E = decltype(element);
      using R = Real<E>;
      const R* styles = read_styles<R>(*weights_, ws_);
      const R* slope = Array("dimage", dimage).read<R>({batch_, shape.colours, shape.resolution, shape.resolution});
      R* to_styles = write<R>("dws", dws, {batch_, shape.num_ws(), shape.w_dim});
      const auto parameters = weights_->as<R>();
      const auto to = gradients ? gradients->as<R>() : SynthesisParameters<R>{};
      if (batch_ == 0) return;
      Running on;
      synthesis_backward<E>(shape, parameters, batch_, styles, slope, saved_.data(), to, to_styles, on.pool);
    });
  }

 private:
  void check_gradients(const Weights& gradients) const {
    const SynthesisShape &mine = weights_->shape(), &theirs = gradients.shape();
    if (gradients.type() != weights_->type() || theirs.channels != mine.channels || theirs.w_dim != mine.w_dim ||
        theirs.colours != mine.colours || !gradients.writable()) {
      throw py::value_error("gradients: expected writable arrays of the weights' type and shapes");
    }
    if (batch_ == 0) throw py::value_error("gradients: expected None for an empty batch");
  }

  std::shared_ptr<const Weights> weights_;
  py::object ws_;
  std::string precision_;
  std::int64_t batch_;
  Buffer saved_;
};

// Inference: weights packed once.
class PackedNetwork {
 public:
  PackedNetwork(const Weights& weights, const std::string& precision) : shape_(weights.shape()) {
    if (precision == "fp64") throw py::value_error("precision: expected fp32 or bf16, found fp64");
    with_precision(precision, weights.type(), [&](auto element) {
      using E = decltype(element);
      if constexpr (!std::is_same_v<E, double>) {
        const auto parameters = weights.as<float>();
        Running on;
        executor_ = std::make_unique<Executor<E>>(shape_, parameters, on.pool);
      }
    });
  }

  void run(const py::object& ws, const py::object& out) {
    const float* styles = Array("ws", ws).read<float>({"batch", shape_.num_ws(), shape_.w_dim});
    const std::int64_t batch = batch_of("ws", ws);
    auto* image = write<float>("out", out, {batch, shape_.colours, shape_.resolution, shape_.resolution});
    if (image == nullptr) throw py::value_error("out: expected an array, found None");
    Running on;
    std::visit([&](const auto& executor) { executor->run(batch, styles, image, on.pool); }, executor_);
  }

  std::size_t weight_bytes() const {
    return std::visit([](const auto& executor) { return executor->weight_bytes(); }, executor_);
  }
  std::size_t arena_bytes() const {
    return std::visit([](const auto& executor) { return executor->arena_bytes(); }, executor_);
  }

 private:
  SynthesisShape shape_;
  std::variant<std::unique_ptr<Executor<float>>, std::unique_ptr<Executor<bf16>>> executor_;
};

}  // namespace

void bind_synthesis(py::module_& module) {
  py::class_<Layer>(module, "SynthesisLayer")
      .def(py::init<py::object, py::object, py::object, py::object, py::object, py::object>(), py::kw_only(),
           py::arg("affine_weight"), py::arg("affine_bias"), py::arg("weight"), py::arg("bias"),
           py::arg("noise_strength") = py::none(), py::arg("noise") = py::none());
  py::class_<Weights, std::shared_ptr<Weights>>(module, "SynthesisWeights")
      .def(py::init<const py::object&, const std::vector<Layer>&, std::optional<double>>(), py::kw_only(),
           py::arg("constant"), py::arg("layers"), py::arg("clamp") = py::none());
  py::class_<Pass>(module, "SynthesisPass")
      .def(py::init<std::shared_ptr<Weights>, py::object, const py::object&, const std::string&>(),
           py::arg("weights").none(false), py::kw_only(), py::arg("ws"), py::arg("image").none(false),
           py::arg("precision"))
      .def("backward", &Pass::backward, py::kw_only(), py::arg("dimage"), py::arg("gradients") = py::none(),
           py::arg("dws") = py::none());
  py::class_<PackedNetwork>(module, "PackedSynthesis")
      .def(py::init<const Weights&, const std::string&>(), py::arg("weights"), py::kw_only(), py::arg("precision"))
      .def("run", &PackedNetwork::run, py::kw_only(), py::arg("ws"), py::arg("out"))
      .def_property_readonly("weight_bytes", &PackedNetwork::weight_bytes)
      .def_property_readonly("arena_bytes", &PackedNetwork::arena_bytes);
  module.def("scratch_bytes", [] { return shared_pool()->scratch_bytes(); });
}
