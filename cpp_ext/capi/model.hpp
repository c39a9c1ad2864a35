// What stands behind a handle of everface.h. Functions throw; none of them is called by two threads at once for a
// model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "../learn/safetensors.hpp"
#include "everface/encoder.hpp"
#include "everface/learn.hpp"

struct everface_model {
  std::mutex mutex;
  std::vector<std::byte> file;  // as it was opened
  everface::learn::Header header;
  std::vector<float> mean;
  std::unique_ptr<everface::learn::Learner> learner;
  std::shared_ptr<const everface::learn::Loss> loss;
  std::unique_ptr<const everface::Encoder> encoder;
  std::vector<everface::perceptual::Target> photos;
  std::vector<float> codes;
  std::int64_t learned = 0;  // pictures, in all

  std::int64_t resolution() const { return learner->shape().resolution; }
  std::int64_t w_dim() const { return learner->shape().w_dim; }
};

namespace everface::capi {

struct BadFile : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws std::invalid_argument.
inline void require(bool ok, const char* what) {
  if (!ok) throw std::invalid_argument(what);
}

struct Bytes {
  const std::byte* data;
  std::size_t size;
};

// See everface.h. Throw BadFile for what is wrong with a file, std::runtime_error for a loss that is not finite.
std::unique_ptr<everface_model> open(Bytes generator, Bytes perceptual);
std::unique_ptr<const Encoder> read_encoder(Bytes file, std::int64_t w_dim);
void encode(const everface_model& model, const std::uint8_t* photos, std::int64_t count, float* codes);
void set_photos(everface_model& model, const std::uint8_t* photos, std::int64_t count, const float* codes);
void invert(everface_model& model, std::int64_t steps, float learning_rate);
void learn(everface_model& model, std::int64_t steps, std::int64_t batch, float learning_rate, float* losses);
void losses(everface_model& model, float* losses);
void render(everface_model& model, const float* codes, std::int64_t count, std::uint8_t* pictures);
void write(everface_model& model, std::byte* out);

}  // namespace everface::capi
