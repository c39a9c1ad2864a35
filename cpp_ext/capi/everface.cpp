#include "everface.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>
#include <random>
#include <stdexcept>

#include "../learn/adam.hpp"
#include "../learn/safetensors.hpp"
#include "everface/hull/scores.hpp"
#include "everface/learn.hpp"

using namespace everface;

struct everface_model {
  std::mutex mutex;
  std::vector<std::byte> file;  // as it was opened
  learn::Header header;
  std::vector<float> mean;
  std::unique_ptr<learn::Learner> learner;
  std::shared_ptr<const learn::Loss> loss;
  std::vector<perceptual::Target> photos;
  std::vector<float> codes;
  std::int64_t learned = 0;  // pictures, in all
};

namespace {

const std::string kPrefix = "synthesis.";

struct BadFile : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void require(bool ok, const char* what) {
  if (!ok) throw std::invalid_argument(what);
}

void tell(everface_error* error, const char* text) {
  if (error == nullptr) return;
  std::strncpy(error->text, text, sizeof error->text - 1);
  error->text[sizeof error->text - 1] = '\0';
}

// No exception crosses the border.
template <class Body>
everface_status guarded(everface_error* error, const Body& body) noexcept {
  tell(error, "");
  try {
    body();
    return EVERFACE_OK;
  } catch (const BadFile& problem) {
    tell(error, problem.what());
    return EVERFACE_BAD_FILE;
  } catch (const std::invalid_argument& problem) {
    tell(error, problem.what());
    return EVERFACE_BAD_ARGUMENT;
  } catch (const std::bad_alloc&) {
    tell(error, "out of memory");
    return EVERFACE_NO_MEMORY;
  } catch (const std::exception& problem) {
    tell(error, problem.what());
    return EVERFACE_FAILED;
  } catch (...) {
    tell(error, "something unforeseen");
    return EVERFACE_FAILED;
  }
}

template <class Body>
everface_status with(everface_model* model, everface_error* error, const Body& body) noexcept {
  return guarded(error, [&] {
    require(model != nullptr, "model is null");
    const std::lock_guard<std::mutex> guard(model->mutex);
    body(*model);
  });
}

Tensors tensors_of(const std::byte* data, const learn::Header& header, const std::string& prefix) {
  Tensors tensors;
  for (const auto& [name, entry] : header.entries)
    if (name.compare(0, prefix.size(), prefix) == 0)
      tensors[name.substr(prefix.size())] = {entry.shape, learn::read_entry(data, entry)};
  return tensors;
}

double clamp_of(const learn::Header& header) {
  const auto at = header.metadata.find("conv_clamp");
  const double clamp = at == header.metadata.end() ? 0 : std::atof(at->second.c_str());
  return clamp > 0 ? clamp : std::numeric_limits<double>::infinity();
}

// What the constructors find wrong is wrong with a file.
void open(everface_model& model, const std::byte* perceptual, std::size_t perceptual_bytes) {
  try {
    model.header = learn::read_header(model.file.data(), model.file.size());
    const auto weights = tensors_of(perceptual, learn::read_header(perceptual, perceptual_bytes), "");
    model.loss = std::make_shared<const learn::Loss>(weights, 128, 1.0f, learn::fast_bf16());
    const Tensors tensors = tensors_of(model.file.data(), model.header, kPrefix);
    const auto shape = learn::shape_of(tensors, clamp_of(model.header));
    require(shape.colours == 3, "generator: expected three colours");
    model.learner = std::make_unique<learn::Learner>(shape, tensors, Tensors(), 1.0f, model.loss);
    const auto mean = model.header.entries.find("mapping.w_avg");
    model.mean.assign(static_cast<std::size_t>(shape.w_dim), 0.0f);
    if (mean != model.header.entries.end()) model.mean = learn::read_entry(model.file.data(), mean->second);
    require(static_cast<std::int64_t>(model.mean.size()) == shape.w_dim, "generator: mapping.w_avg does not fit");
  } catch (const std::invalid_argument& problem) {
    throw BadFile(problem.what());
  }
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

void learn_steps(everface_model& model, std::int64_t steps, std::int64_t batch, float learning_rate, float* losses) {
  const std::int64_t w = model.learner->shape().w_dim, count = static_cast<std::int64_t>(model.photos.size());
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

void choose(const float* codes, std::int64_t count, std::int64_t w_dim, std::int64_t keep, std::int64_t candidates,
            std::uint64_t seed, std::int64_t* indices) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count)), subsets;
  for (std::int64_t i = 0; i < count; ++i) order[static_cast<std::size_t>(i)] = i;
  if (keep == count) {
    std::copy(order.begin(), order.end(), indices);
    return;
  }
  std::mt19937_64 random(seed);
  for (std::int64_t c = 0; c < candidates; ++c) {
    for (std::int64_t i = 0; i < keep; ++i) {
      const auto other = i + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(count - i));
      std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(other)]);
    }
    subsets.insert(subsets.end(), order.begin(), order.begin() + keep);
    std::sort(subsets.end() - keep, subsets.end());
  }
  const std::vector<double> points(codes, codes + count * w_dim), spread(static_cast<std::size_t>(count), 1.0);
  const std::vector<std::int32_t> group(static_cast<std::size_t>(count), 0);
  const int threads = shared_pool()->threads();
  const auto pool = hull::make_pool(points.data(), count, w_dim, w_dim, group.data(), 1, spread.data(), threads);
  const auto best =
      hull::best_subset(*pool, subsets.data(), candidates, keep, std::numeric_limits<double>::infinity(), threads);
  std::copy_n(subsets.data() + std::max<std::int64_t>(best.row, 0) * keep, keep, indices);
}

}  // namespace

extern "C" {

everface_status everface_open(const void* generator, size_t generator_bytes, const void* perceptual,
                              size_t perceptual_bytes, everface_model** model, everface_error* error) {
  return guarded(error, [&] {
    require(generator != nullptr && perceptual != nullptr && model != nullptr, "an argument is null");
    *model = nullptr;
    auto fresh = std::make_unique<everface_model>();
    const auto* bytes = static_cast<const std::byte*>(generator);
    fresh->file.assign(bytes, bytes + generator_bytes);
    open(*fresh, static_cast<const std::byte*>(perceptual), perceptual_bytes);
    *model = fresh.release();
  });
}

void everface_close(everface_model* model) { delete model; }

everface_status everface_get_sizes(everface_model* model, everface_sizes* sizes, everface_error* error) {
  return with(model, error, [&](everface_model& self) {
    require(sizes != nullptr, "sizes is null");
    *sizes = {self.learner->shape().resolution, self.learner->shape().w_dim};
  });
}

everface_status everface_set_photos(everface_model* model, const uint8_t* photos, int64_t count, const float* codes,
                                    everface_error* error) {
  return with(model, error, [&](everface_model& self) {
    require(photos != nullptr && count > 0, "expected at least one photo");
    const auto& shape = self.learner->shape();
    const auto planes = planes_of(photos, count, shape.resolution * shape.resolution);
    const auto pool = shared_pool();
    const auto owner = pool->lock();
    self.photos = self.loss->targets(planes.data(), count, shape.resolution, *pool);
    self.codes.clear();
    for (std::int64_t i = 0; i < count; ++i) {
      const float* code = codes ? codes + i * shape.w_dim : self.mean.data();
      self.codes.insert(self.codes.end(), code, code + shape.w_dim);
    }
  });
}

everface_status everface_invert(everface_model* model, int64_t steps, float learning_rate, everface_error* error) {
  return with(model, error, [&](everface_model& self) {
    require(!self.photos.empty(), "set photos first");
    require(steps >= 0 && learning_rate > 0, "expected steps of at least 0 and a positive learning rate");
    invert(self, steps, learning_rate);
  });
}

everface_status everface_learn(everface_model* model, int64_t steps, int64_t batch, float learning_rate, float* losses,
                               everface_error* error) {
  return with(model, error, [&](everface_model& self) {
    require(!self.photos.empty(), "set photos first");
    require(steps >= 0 && batch > 0 && batch <= 64 && learning_rate > 0,
            "expected steps of at least 0, a batch of 1 to 64 and a positive learning rate");
    learn_steps(self, steps, batch, learning_rate, losses);
  });
}

everface_status everface_get_photos(everface_model* model, float* codes, float* losses, everface_error* error) {
  return with(model, error, [&](everface_model& self) {
    require(!self.photos.empty(), "set photos first");
    if (codes) std::copy(self.codes.begin(), self.codes.end(), codes);
    const auto targets = targets_of(self);
    const auto count = static_cast<std::int64_t>(targets.size());
    if (losses) self.learner->losses({self.codes.data(), count, false}, targets.data(), losses, *shared_pool());
  });
}

everface_status everface_render(everface_model* model, const float* codes, int64_t count, uint8_t* pictures,
                                everface_error* error) {
  return with(model, error, [&](everface_model& self) {
    require(codes != nullptr && pictures != nullptr && count > 0, "expected at least one code, and a place for it");
    const std::int64_t pixels = self.learner->shape().resolution * self.learner->shape().resolution;
    std::vector<float> planes(static_cast<std::size_t>(count * pixels * 3));
    self.learner->render({codes, count, false}, planes.data(), *shared_pool());
    for (std::int64_t i = 0; i < count * pixels * 3; ++i) {
      const std::int64_t picture = i / (3 * pixels), colour = i / pixels % 3, pixel = i % pixels;
      const float value = (planes[static_cast<std::size_t>(i)] + 1) * 127.5f + 0.5f;
      pictures[(picture * pixels + pixel) * 3 + colour] =
          value > 0 ? static_cast<std::uint8_t>(std::min(value, 255.0f)) : std::uint8_t{0};
    }
  });
}

everface_status everface_choose(const float* codes, int64_t count, int64_t w_dim, int64_t keep, int64_t candidates,
                                uint64_t seed, int64_t* indices, everface_error* error) {
  return guarded(error, [&] {
    require(codes != nullptr && indices != nullptr, "an argument is null");
    require(count > 0 && w_dim > 0 && keep > 0 && keep <= count, "expected 1 to count codes to keep");
    require(candidates > 0 && candidates <= 1000000, "expected 1 to 1000000 candidates");
    for (std::int64_t i = 0; i < count * w_dim; ++i) require(std::isfinite(codes[i]), "a code is not finite");
    choose(codes, count, w_dim, keep, candidates, seed, indices);
  });
}

everface_status everface_write(everface_model* model, void* generator, size_t generator_bytes, everface_error* error) {
  return with(model, error, [&](everface_model& self) {
    require(generator != nullptr && generator_bytes == self.file.size(), "expected as many bytes as were opened");
    auto* out = static_cast<std::byte*>(generator);
    std::copy(self.file.begin(), self.file.end(), out);
    const auto& values = self.learner->values(*shared_pool());
    for (const auto& place : self.learner->places())
      learn::write_entry(values.data() + place.at, self.header.entries.at(kPrefix + place.name), out);
  });
}

}  // extern "C"
