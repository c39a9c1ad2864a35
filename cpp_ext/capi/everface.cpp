#include "everface.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <random>

#include "everface/hull/scores.hpp"
#include "model.hpp"

using namespace everface;
using capi::require;

namespace {

constexpr std::int64_t kMost = 1000000;  // photos, codes, candidates in one call

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
  } catch (const capi::BadFile& problem) {
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

// `keep` of the indices, drawn anew for each candidate.
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
    *model = capi::open({static_cast<const std::byte*>(generator), generator_bytes},
                        {static_cast<const std::byte*>(perceptual), perceptual_bytes})
                 .release();
  });
}

everface_status everface_set_encoder(everface_model* model, const void* encoder, size_t encoder_bytes,
                                     everface_error* error) {
  return with(model, error, [&](everface_model& self) {
    require(encoder != nullptr, "encoder is null");
    self.encoder = capi::read_encoder({static_cast<const std::byte*>(encoder), encoder_bytes}, self.w_dim());
  });
}

void everface_close(everface_model* model) { delete model; }

everface_status everface_get_sizes(everface_model* model, everface_sizes* sizes, everface_error* error) {
  return with(model, error, [&](everface_model& self) {
    require(sizes != nullptr, "sizes is null");
    *sizes = {self.resolution(), self.w_dim()};
  });
}

everface_status everface_encode(everface_model* model, const uint8_t* photos, int64_t count, float* codes,
                                everface_error* error) {
  return with(model, error, [&](everface_model& self) {
    require(self.encoder != nullptr, "set an encoder first");
    require(photos != nullptr && codes != nullptr && count > 0 && count <= kMost, "expected 1 to 1000000 photos");
    capi::encode(self, photos, count, codes);
  });
}

everface_status everface_set_photos(everface_model* model, const uint8_t* photos, int64_t count, const float* codes,
                                    everface_error* error) {
  return with(model, error, [&](everface_model& self) {
    require(photos != nullptr && count > 0 && count <= kMost, "expected 1 to 1000000 photos");
    capi::set_photos(self, photos, count, codes);
  });
}

everface_status everface_invert(everface_model* model, int64_t steps, float learning_rate, everface_error* error) {
  return with(model, error, [&](everface_model& self) {
    require(!self.photos.empty(), "set photos first");
    require(steps >= 0 && learning_rate > 0, "expected steps of at least 0 and a positive learning rate");
    capi::invert(self, steps, learning_rate);
  });
}

everface_status everface_learn(everface_model* model, int64_t steps, int64_t batch, float learning_rate, float* losses,
                               everface_error* error) {
  return with(model, error, [&](everface_model& self) {
    require(!self.photos.empty(), "set photos first");
    require(steps >= 0 && batch > 0 && batch <= 64 && learning_rate > 0,
            "expected steps of at least 0, a batch of 1 to 64 and a positive learning rate");
    capi::learn(self, steps, batch, learning_rate, losses);
  });
}

everface_status everface_get_photos(everface_model* model, float* codes, float* losses, everface_error* error) {
  return with(model, error, [&](everface_model& self) {
    require(!self.photos.empty(), "set photos first");
    if (codes) std::copy(self.codes.begin(), self.codes.end(), codes);
    if (losses) capi::losses(self, losses);
  });
}

everface_status everface_render(everface_model* model, const float* codes, int64_t count, uint8_t* pictures,
                                everface_error* error) {
  return with(model, error, [&](everface_model& self) {
    require(codes != nullptr && pictures != nullptr && count > 0 && count <= kMost, "expected 1 to 1000000 codes");
    capi::render(self, codes, count, pictures);
  });
}

everface_status everface_choose(const float* codes, int64_t count, int64_t w_dim, int64_t keep, int64_t candidates,
                                uint64_t seed, int64_t* indices, everface_error* error) {
  return guarded(error, [&] {
    require(codes != nullptr && indices != nullptr, "an argument is null");
    require(count > 0 && count <= kMost && w_dim > 0 && w_dim <= 65536, "expected 1 to 1000000 codes of 1 to 65536");
    require(keep > 0 && keep <= count, "expected 1 to count codes to keep");
    require(candidates > 0 && candidates <= 100 * kMost / keep, "expected 1 to 100000000 / keep candidates");
    for (std::int64_t i = 0; i < count * w_dim; ++i) require(std::isfinite(codes[i]), "a code is not finite");
    choose(codes, count, w_dim, keep, candidates, seed, indices);
  });
}

everface_status everface_write(everface_model* model, void* generator, size_t generator_bytes, everface_error* error) {
  return with(model, error, [&](everface_model& self) {
    require(generator != nullptr && generator_bytes == self.file.size(), "expected as many bytes as were opened");
    capi::write(self, static_cast<std::byte*>(generator));
  });
}

}  // extern "C"
