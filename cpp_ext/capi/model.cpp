#include "model.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "../learn/adam.hpp"

namespace everface::capi {
namespace {

const std::string kPrefix = "synthesis.", kScale = ".scale";

// What the constructors find wrong is wrong with the file.
template <class Body>
auto of_file(const Body& body) {
  try {
    return body();
  } catch (const std::invalid_argument& problem) {
    throw BadFile(problem.what());
  }
}

std::vector<float> finite(const std::byte* data, const std::string& name, const learn::Entry& entry) {
  auto values = learn::read_entry(data, entry);
  for (const float value : values)
    if (!std::isfinite(value)) throw BadFile(name + " has numbers that are not finite");
  return values;
}

Tensors tensors_of(const std::byte* data, const learn::Header& header, const std::string& prefix) {
  Tensors tensors;
  for (const auto& [name, entry] : header.entries)
    if (name.compare(0, prefix.size(), prefix) == 0)
      tensors[name.substr(prefix.size())] = {entry.shape, finite(data, name, entry)};
  return tensors;
}

// Weights that were stored as int8 with a scale for each output channel, NAME and NAME.scale.
void scale(Tensors& tensors) {
  for (auto at = tensors.begin(); at != tensors.end();) {
    const std::string& name = at->first;
    const bool scales =
        name.size() > kScale.size() && name.compare(name.size() - kScale.size(), kScale.size(), kScale) == 0;
    if (!scales) {
      ++at;
      continue;
    }
    const auto weight = tensors.find(name.substr(0, name.size() - kScale.size()));
    const std::vector<float>& factors = at->second.values;
    require(weight != tensors.end() && !factors.empty() && !weight->second.shape.empty() &&
                weight->second.shape[0] == static_cast<std::int64_t>(factors.size()),
            "encoder: scales that fit no weight");
    std::vector<float>& values = weight->second.values;
    const std::size_t each = values.size() / factors.size();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] *= factors[i / each];
    at = tensors.erase(at);
  }
}

double clamp_of(const learn::Header& header) {
  const auto at = header.metadata.find("conv_clamp");
  const double clamp = at == header.metadata.end() ? 0 : std::atof(at->second.c_str());
  return clamp > 0 ? clamp : std::numeric_limits<double>::infinity();
}

std::vector<const perceptual::Target*> targets_of(const everface_model& model) {
  std::vector<const perceptual::Target*> targets;
  for (const auto& photo : model.photos) targets.push_back(&photo);
  return targets;
}

void require_finite(float loss) {
  if (!std::isfinite(loss)) throw std::runtime_error("the loss is not finite: use a smaller learning rate");
}

std::vector<float> planes_of(const std::uint8_t* photos, std::int64_t count, std::int64_t pixels) {
  std::vector<float> planes(static_cast<std::size_t>(count * pixels * 3));
  for (std::int64_t i = 0; i < count * pixels * 3; ++i) {
    const std::int64_t photo = i / (3 * pixels), colour = i / pixels % 3, pixel = i % pixels;
    planes[static_cast<std::size_t>(i)] =
        static_cast<float>(photos[(photo * pixels + pixel) * 3 + colour]) / 127.5f - 1;
  }
  return planes;
}

}  // namespace

std::unique_ptr<everface_model> open(Bytes generator, Bytes perceptual) {
  return of_file([&] {
    auto model = std::make_unique<everface_model>();
    model->file.assign(generator.data, generator.data + generator.size);
    model->header = learn::read_header(model->file.data(), model->file.size());
    const auto features = tensors_of(perceptual.data, learn::read_header(perceptual.data, perceptual.size), "");
    model->loss = std::make_shared<const learn::Loss>(features, 128, 1.0f, learn::fast_bf16());
    const Tensors tensors = tensors_of(model->file.data(), model->header, kPrefix);
    const auto shape = learn::shape_of(tensors, clamp_of(model->header));
    require(shape.colours == 3, "generator: expected three colours");
    model->learner = std::make_unique<learn::Learner>(shape, tensors, Tensors(), 1.0f, model->loss);
    const auto mean = model->header.entries.find("mapping.w_avg");
    model->mean.assign(static_cast<std::size_t>(shape.w_dim), 0.0f);
    if (mean != model->header.entries.end()) model->mean = finite(model->file.data(), mean->first, mean->second);
    require(static_cast<std::int64_t>(model->mean.size()) == shape.w_dim, "generator: mapping.w_avg does not fit");
    return model;
  });
}

std::unique_ptr<const Encoder> read_encoder(Bytes file, std::int64_t w_dim) {
  return of_file([&] {
    Tensors weights = tensors_of(file.data, learn::read_header(file.data, file.size), "");
    scale(weights);
    auto encoder = std::make_unique<const Encoder>(weights);
    require(encoder->w_dim() == w_dim, "encoder: of another generator");
    return encoder;
  });
}

void encode(const everface_model& model, const std::uint8_t* photos, std::int64_t count, float* codes) {
  const auto planes = planes_of(photos, count, model.resolution() * model.resolution());
  const auto pool = shared_pool();
  const auto owner = pool->lock();
  (*model.encoder)(planes.data(), count, model.resolution(), codes, *pool);
}

void set_photos(everface_model& model, const std::uint8_t* photos, std::int64_t count, const float* codes) {
  const std::int64_t w = model.w_dim();
  std::vector<float> own(static_cast<std::size_t>(count * w));
  for (std::int64_t i = 0; i < count; ++i)
    std::copy_n(codes ? codes + i * w : model.mean.data(), w, own.data() + i * w);
  for (const float number : own) require(std::isfinite(number), "a code is not finite");
  if (!codes && model.encoder) encode(model, photos, count, own.data());
  const auto planes = planes_of(photos, count, model.resolution() * model.resolution());
  const auto pool = shared_pool();
  const auto owner = pool->lock();
  model.photos = model.loss->targets(planes.data(), count, model.resolution(), *pool);
  model.codes = std::move(own);
}

void invert(everface_model& model, std::int64_t steps, float learning_rate) {
  auto& learner = *model.learner;
  const auto targets = targets_of(model);
  const auto count = static_cast<std::int64_t>(model.photos.size());
  std::vector<float> losses(targets.size()), slopes(model.codes.size()), mean(slopes.size()), square(slopes.size());
  const auto pool = shared_pool();
  for (std::int64_t step = 1; step <= steps; ++step) {
    learner.gradient({model.codes.data(), count, false}, targets.data(), losses.data(), slopes.data(), *pool);
    for (const float loss : losses) require_finite(loss);
    const auto owner = pool->lock();
    learn::adam(static_cast<std::int64_t>(slopes.size()), step, learning_rate, slopes.data(), model.codes.data(),
                mean.data(), square.data(), *pool);
  }
}

void learn(everface_model& model, std::int64_t steps, std::int64_t batch, float learning_rate, float* losses) {
  const std::int64_t w = model.w_dim(), count = static_cast<std::int64_t>(model.photos.size());
  std::vector<float> codes(static_cast<std::size_t>(batch * w));
  std::vector<const perceptual::Target*> targets(static_cast<std::size_t>(batch));
  for (std::int64_t step = 0; step < steps; ++step) {
    for (std::int64_t i = 0; i < batch; ++i) {
      const std::int64_t photo = model.learned++ % count;
      std::copy_n(model.codes.data() + photo * w, w, codes.data() + i * w);
      targets[static_cast<std::size_t>(i)] = &model.photos[static_cast<std::size_t>(photo)];
    }
    const float loss = model.learner->step({codes.data(), batch, false}, targets.data(), learning_rate, *shared_pool());
    require_finite(loss);
    if (losses) losses[step] = loss;
  }
}

void losses(everface_model& model, float* losses) {
  const auto targets = targets_of(model);
  const auto count = static_cast<std::int64_t>(targets.size());
  model.learner->losses({model.codes.data(), count, false}, targets.data(), losses, *shared_pool());
}

void render(everface_model& model, const float* codes, std::int64_t count, std::uint8_t* pictures) {
  const std::int64_t pixels = model.resolution() * model.resolution();
  std::vector<float> planes(static_cast<std::size_t>(count * pixels * 3));
  model.learner->render({codes, count, false}, planes.data(), *shared_pool());
  for (std::int64_t i = 0; i < count * pixels * 3; ++i) {
    const std::int64_t picture = i / (3 * pixels), colour = i / pixels % 3, pixel = i % pixels;
    const float value = (planes[static_cast<std::size_t>(i)] + 1) * 127.5f + 0.5f;
    pictures[(picture * pixels + pixel) * 3 + colour] =
        value > 0 ? static_cast<std::uint8_t>(std::min(value, 255.0f)) : std::uint8_t{0};
  }
}

void write(everface_model& model, std::byte* out) {
  std::copy(model.file.begin(), model.file.end(), out);
  const auto& values = model.learner->values(*shared_pool());
  for (const auto& place : model.learner->places())
    learn::write_entry(values.data() + place.at, model.header.entries.at(kPrefix + place.name), out);
}

}  // namespace everface::capi
