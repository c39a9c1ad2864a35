// The learning core on a small network: slopes against differences, Adam's first step, resumption, low rank, files.
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "check.hpp"
#include "everface/learn.hpp"
#include "learn/safetensors.hpp"

using namespace everface;
using test::gaussian;

namespace {

Tensor tensor(std::vector<std::int64_t> shape, float scale, unsigned seed) {
  std::int64_t size = 1;
  for (const auto side : shape) size *= side;
  Tensor made{std::move(shape), {}};
  for (const double value : gaussian(static_cast<std::size_t>(size), seed))
    made.values.push_back(scale * static_cast<float>(value));
  return made;
}

// MobileNetV2's layers with random weights of the size that keeps activations alive.
Tensors perceptual_weights() {
  const int cin[] = {32, 16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96};
  const int hidden[] = {32, 96, 144, 144, 192, 192, 192, 384, 384, 384, 384, 576, 576};
  const int cout[] = {16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96};
  Tensors weights;
  unsigned seed = 1;
  const auto layer = [&](const std::string& name, std::int64_t out, std::int64_t in, std::int64_t taps) {
    weights[name + ".weight"] =
        tensor({out, in, taps, taps}, 1.4f / std::sqrt(static_cast<float>(in * taps * taps)), ++seed);
    weights[name + ".bias"] = tensor({out}, 0.3f, ++seed);
  };
  layer("stem", 32, 3, 3);
  for (int b = 0; b < 13; ++b) {
    const std::string name = "block" + std::to_string(b + 1);
    if (b > 0) layer(name + ".expand", hidden[b], cin[b], 1);
    layer(name + ".depthwise", hidden[b], 1, 3);
    layer(name + ".project", cout[b], hidden[b], 1);
  }
  return weights;
}

Tensors generator_weights() {
  const std::int64_t channels[] = {12, 20, 8}, w = 16;
  Tensors weights;
  unsigned seed = 100;
  weights["b4.const"] = tensor({channels[0], 4, 4}, 1, ++seed);
  const auto layer = [&](const std::string& name, std::int64_t in, std::int64_t out, std::int64_t taps,
                         std::int64_t side) {
    weights[name + ".affine.weight"] = tensor({in, w}, 1, ++seed);
    weights[name + ".affine.bias"] = {{in}, std::vector<float>(static_cast<std::size_t>(in), 1.0f)};
    weights[name + ".weight"] = tensor({out, in, taps, taps}, 1, ++seed);
    weights[name + ".bias"] = tensor({out}, 0.1f, ++seed);
    if (taps == 1) return;
    weights[name + ".noise_strength"] = {{}, {0.1f}};
    weights[name + ".noise_const"] = tensor({side, side}, 1, ++seed);
  };
  for (int b = 0; b < 3; ++b) {
    const std::string name = "b" + std::to_string(4 << b);
    if (b > 0) layer(name + ".conv0", channels[b - 1], channels[b], 3, 4 << b);
    layer(name + ".conv1", channels[b], channels[b], 3, 4 << b);
    layer(name + ".torgb", channels[b], 3, 1, 4 << b);
  }
  return weights;
}

struct Scene {
  Pool pool{2};
  std::shared_ptr<const learn::Loss> loss;
  std::vector<perceptual::Target> photos;
  std::vector<const perceptual::Target*> targets;
  std::vector<float> codes;

  explicit Scene(bool fast) : loss(std::make_shared<const learn::Loss>(perceptual_weights(), 32, 1.0f, fast)) {
    const Tensor images = tensor({3, 3, 16, 16}, 0.4f, 7);
    photos = loss->targets(images.values.data(), 3, 16, pool);
    for (const auto& photo : photos) targets.push_back(&photo);
    codes = tensor({3, 16}, 1, 8).values;
  }
  learn::Codes all() const { return {codes.data(), 3, false}; }
  std::unique_ptr<learn::Learner> learner(const Tensors& factors = {}) const {
    const Tensors weights = generator_weights();
    return std::make_unique<learn::Learner>(learn::shape_of(weights, 256.0), weights, factors, 0.5f, loss);
  }
};

void slopes_are_those_of_differences() {
  Scene scene(false);
  const auto learner = scene.learner();
  float losses[3], slopes[48], up[3], down[3];
  learner->gradient(scene.all(), scene.targets.data(), losses, slopes, scene.pool);
  double norm = 0;
  for (int j = 0; j < 16; ++j) norm += static_cast<double>(slopes[j]) * slopes[j];
  norm = std::sqrt(norm);
  // Along the slope of the first picture's code the loss changes by its length.
  const double step = 2e-3;
  std::vector<float> moved = scene.codes;
  for (int j = 0; j < 16; ++j) moved[j] = scene.codes[j] + static_cast<float>(step * slopes[j] / norm);
  learner->losses({moved.data(), 3, false}, scene.targets.data(), up, scene.pool);
  for (int j = 0; j < 16; ++j) moved[j] = scene.codes[j] - static_cast<float>(step * slopes[j] / norm);
  learner->losses({moved.data(), 3, false}, scene.targets.data(), down, scene.pool);
  // The difference of two losses near 1 holds their rounding, 1e-7, and the kinks of ReLU6.
  CHECK(std::abs((up[0] - down[0]) / (2 * step) - norm) < 0.05 * norm + 2e-3);
  CHECK(up[1] == down[1]);
}

void precisions_agree() {
  Scene full(false), fast(true);
  float a[3], b[3], slope_a[48], slope_b[48];
  full.learner()->gradient(full.all(), full.targets.data(), a, slope_a, full.pool);
  fast.learner()->gradient(fast.all(), fast.targets.data(), b, slope_b, fast.pool);
  double difference = 0, size = 0;
  for (int i = 0; i < 48; ++i) {
    difference += std::pow(static_cast<double>(slope_a[i] - slope_b[i]), 2);
    size += std::pow(static_cast<double>(slope_a[i]), 2);
  }
  for (int i = 0; i < 3; ++i) CHECK(std::abs(a[i] - b[i]) < 0.03f * a[i]);
  CHECK(difference < 0.09 * size);
}

std::vector<float> tuned(const learn::Learner& learner) {
  std::vector<float> values(static_cast<std::size_t>(learner.tuned_size())), mean(values.size()), square(values.size());
  learner.state(values.data(), mean.data(), square.data());
  return values;
}

void runs_go_on_where_they_ended(bool fast, const Tensors& factors) {
  Scene scene(fast);
  const auto whole = scene.learner(factors), part = scene.learner(factors);
  float first = 0, last = 0;
  for (int i = 0; i < 8; ++i) {
    last = whole->step(scene.all(), scene.targets.data(), 1e-2f, scene.pool);
    if (i == 0) first = last;
  }
  CHECK(last < first);
  for (int i = 0; i < 3; ++i) part->step(scene.all(), scene.targets.data(), 1e-2f, scene.pool);
  const auto size = static_cast<std::size_t>(part->tuned_size());
  std::vector<float> values(size), mean(size), square(size);
  const std::int64_t steps = part->state(values.data(), mean.data(), square.data());
  const auto resumed = scene.learner(factors);
  resumed->restore(values.data(), mean.data(), square.data(), steps);
  for (int i = 3; i < 8; ++i) resumed->step(scene.all(), scene.targets.data(), 1e-2f, scene.pool);
  CHECK(tuned(*whole) == tuned(*resumed));
}

template <class Body>
bool refuses(const Body& body) {
  try {
    body();
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
}

void misfits_are_refused() {
  Tensors weights = generator_weights();
  const Scene scene(false);
  CHECK(refuses([&] { learn::shape_of({}, 1.0); }));
  weights.erase("b8.conv0.bias");
  CHECK(refuses([&] { learn::Learner(learn::shape_of(weights, 1.0), weights, {}, 1, scene.loss); }));
  CHECK(refuses([&] { scene.learner({{"b8.conv0.weight.down", tensor({1, 12, 3, 3}, 1, 1)}}); }));
  Tensors features = perceptual_weights();
  features.erase("block7.project.weight");
  CHECK(refuses([&] { learn::Loss(features, 128, 1, false); }));
}

void files_are_read_or_refused() {
  const std::string header =
      R"({"__metadata__":{"a":"b \" c"},"x":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}})";
  std::vector<std::byte> file(8 + header.size() + 8);
  file[0] = static_cast<std::byte>(header.size());
  std::memcpy(file.data() + 8, header.data(), header.size());
  const auto read = learn::read_header(file.data(), file.size());
  CHECK(read.metadata.at("a") == "b \" c");
  const float values[] = {1.0f, -0.333251953125f, 65504.0f, 5.9604645e-8f};  // all of them half-precision numbers
  learn::write_entry(values, read.entries.at("x"), file.data());
  CHECK(learn::read_entry(file.data(), read.entries.at("x")) == std::vector<float>(values, values + 4));
  for (std::size_t size = 0; size < file.size(); ++size) CHECK(refuses([&] { learn::read_header(file.data(), size); }));
  // Any one byte of the header changed: read or refused, never beyond the file (the sanitizers look).
  for (std::size_t i = 0; i < 8 + header.size(); ++i) {
    std::vector<std::byte> hostile = file;
    hostile[i] ^= std::byte{0x15};
    refuses([&] {
      for (const auto& entry : learn::read_header(hostile.data(), hostile.size()).entries)
        learn::read_entry(hostile.data(), entry.second);
    });
  }
}

}  // namespace

int main() {
  slopes_are_those_of_differences();
  precisions_agree();
  const Tensors factors = {{"b8.conv0.weight.down", tensor({2, 12, 3, 3}, 1, 1)},
                           {"b8.conv0.weight.up", {{20, 2}, std::vector<float>(40, 0.0f)}},
                           {"b16.conv1.affine.weight.down", tensor({1, 16}, 1, 2)},
                           {"b16.conv1.affine.weight.up", {{8, 1}, std::vector<float>(8, 0.0f)}}};
  for (const bool fast : {false, true}) {
    runs_go_on_where_they_ended(fast, {});
    runs_go_on_where_they_ended(fast, factors);
  }
  misfits_are_refused();
  files_are_read_or_refused();
  return test::finish();
}
