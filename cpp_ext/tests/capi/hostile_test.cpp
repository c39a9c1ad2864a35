// The interface for C: a model's life, wrong calls in any order, damaged files, several threads. Run under sanitizers
// it is a fuzz test with a seed; EVERFACE_FUZZ says of how many damaged files.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <thread>

#include "../check.hpp"
#include "everface.h"
#include "files.hpp"

using namespace everface::test;

namespace {

constexpr int kPixels = 16 * 16 * 3, kCode = 16, kPhotos = 3;
const float kNan = std::numeric_limits<float>::quiet_NaN();

struct Files {
  Bytes generator, perceptual, encoder;
};

Files files() {
  std::mt19937 random(1);
  return {safetensors(tiny_generator(random)), asset("perceptual.safetensors"), safetensors(tiny_encoder(random))};
}

everface_model* open(const Files& files) {
  everface_model* model = nullptr;
  everface_error error;
  const auto status = everface_open(files.generator.data(), files.generator.size(), files.perceptual.data(),
                                    files.perceptual.size(), &model, &error);
  if (status != EVERFACE_OK) std::printf("open: %s\n", error.text);
  CHECK(status == EVERFACE_OK && model != nullptr);
  return model;
}

std::vector<std::uint8_t> photos(int count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count * kPixels));
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

void test_life(const Files& files, int steps) {
  everface_model* model = open(files);
  everface_error error;
  everface_sizes sizes;
  CHECK(everface_get_sizes(model, &sizes, &error) == EVERFACE_OK && sizes.resolution == 16 && sizes.w_dim == kCode);
  const auto pictures = photos(kPhotos, 2);
  std::vector<float> own(kPhotos * kCode), given(own.size()), before(kPhotos), after(kPhotos),
      losses(static_cast<std::size_t>(steps));
  CHECK(everface_set_encoder(model, files.encoder.data(), files.encoder.size(), &error) == EVERFACE_OK);
  CHECK(everface_encode(model, pictures.data(), kPhotos, own.data(), &error) == EVERFACE_OK);
  CHECK(everface_set_photos(model, pictures.data(), kPhotos, nullptr, &error) == EVERFACE_OK);
  CHECK(everface_get_photos(model, given.data(), before.data(), &error) == EVERFACE_OK);
  CHECK(own == given);
  CHECK(everface_invert(model, 1, 0.02f, &error) == EVERFACE_OK);
  CHECK(everface_learn(model, steps, 2, 1e-3f, losses.data(), &error) == EVERFACE_OK);
  CHECK(everface_get_photos(model, given.data(), after.data(), &error) == EVERFACE_OK);
  CHECK(after[0] + after[1] + after[2] < before[0] + before[1] + before[2]);
  std::vector<std::uint8_t> learned(kPixels), read(kPixels);
  CHECK(everface_render(model, given.data(), 1, learned.data(), &error) == EVERFACE_OK);
  Files written = files;
  CHECK(everface_write(model, written.generator.data(), written.generator.size(), &error) == EVERFACE_OK);
  everface_model* other = open(written);
  CHECK(everface_render(other, given.data(), 1, read.data(), &error) == EVERFACE_OK);
  CHECK(learned == read);
  everface_close(model), everface_close(other);
}

// What is wrong is said, and the model goes on.
void test_wrong_calls(const Files& files) {
  everface_model* model = open(files);
  everface_error error;
  auto pictures = photos(1, 3);
  std::vector<float> codes(kCode), bad(kCode, kNan);
  std::int64_t index = 0;
  const auto refused = [&](everface_status status) { CHECK(status == EVERFACE_BAD_ARGUMENT && error.text[0] != '\0'); };
  refused(everface_open(nullptr, 0, nullptr, 0, &model, &error));
  refused(everface_learn(model, 1, 1, 1e-3f, nullptr, &error));
  refused(everface_invert(model, 1, 1e-3f, &error));
  refused(everface_get_photos(model, codes.data(), nullptr, &error));
  refused(everface_encode(model, pictures.data(), 1, codes.data(), &error));
  refused(everface_get_sizes(nullptr, nullptr, &error));
  refused(everface_get_sizes(model, nullptr, &error));
  for (const std::int64_t count : {std::int64_t{0}, std::int64_t{-1}, std::numeric_limits<std::int64_t>::min(),
                                   std::numeric_limits<std::int64_t>::max()}) {
    refused(everface_set_photos(model, pictures.data(), count, nullptr, &error));
    refused(everface_render(model, codes.data(), count, pictures.data(), &error));
    refused(everface_choose(codes.data(), count, 1, 1, 1, 0, &index, &error));
    refused(everface_choose(codes.data(), 1, count, 1, 1, 0, &index, &error));
    refused(everface_choose(codes.data(), 2, 1, 1, count, 0, &index, &error));
  }
  refused(everface_choose(bad.data(), 1, kCode, 1, 1, 0, &index, &error));
  refused(everface_set_photos(model, pictures.data(), 1, bad.data(), &error));
  CHECK(everface_set_photos(model, pictures.data(), 1, nullptr, &error) == EVERFACE_OK);
  refused(everface_learn(model, 1, 65, 1e-3f, nullptr, &error));
  refused(everface_learn(model, -1, 1, 1e-3f, nullptr, &error));
  refused(everface_learn(model, 1, 1, kNan, nullptr, &error));
  refused(everface_invert(model, 1, -1.0f, &error));
  refused(everface_write(model, pictures.data(), pictures.size(), &error));
  CHECK(everface_render(model, bad.data(), 1, pictures.data(), &error) == EVERFACE_OK);  // a picture of nothing
  CHECK(everface_learn(model, 1, 1, 1e-3f, nullptr, &error) == EVERFACE_OK && error.text[0] == '\0');
  const float far = std::numeric_limits<float>::max();
  CHECK(everface_learn(model, 3, 1, far, nullptr, &error) == EVERFACE_FAILED);
  CHECK(everface_learn(model, 1, 1, 1e-3f, nullptr, nullptr) == EVERFACE_FAILED);
  everface_close(model), everface_close(nullptr);
}

// A copy with bytes that are gone, changed, or swapped for digits, of which sizes and places are made.
Bytes damaged(Bytes bytes, std::mt19937& random) {
  const auto below = [&](std::size_t bound) { return random() % bound; };
  const std::size_t header = std::min<std::size_t>(bytes.size(), 6000);
  switch (below(4)) {
    case 0:
      bytes.resize(below(bytes.size()));
      break;
    case 1:
      bytes[below(8)] = static_cast<char>(random());
      break;
    case 2:
      for (int i = 0; i < 4; ++i) bytes[8 + below(header - 8)] = static_cast<char>('0' + below(10));
      break;
    default:
      for (int i = 0; i < 8; ++i) bytes[below(below(2) ? header : bytes.size())] = static_cast<char>(random());
  }
  return bytes;
}

void test_damaged_files(const Files& files, int rounds) {
  std::mt19937 random(4);
  everface_model* whole = open(files);
  int accepted = 0;
  for (int round = 0; round < rounds; ++round) {
    Files some = files;
    Bytes& victim = round % 8 == 0 ? some.perceptual : round % 3 == 0 ? some.encoder : some.generator;
    victim = damaged(victim, random);
    everface_model* model = nullptr;
    everface_error error;
    everface_status status;
    if (&victim == &some.encoder) {
      status = everface_set_encoder(whole, victim.data(), victim.size(), &error);
    } else {
      // On the heap and of just this size: a sanitizer sees each byte that is read behind it.
      const Bytes generator(some.generator), perceptual(some.perceptual);
      status = everface_open(generator.data(), generator.size(), perceptual.data(), perceptual.size(), &model, &error);
      CHECK((model != nullptr) == (status == EVERFACE_OK));
    }
    CHECK(status == EVERFACE_OK || (status == EVERFACE_BAD_FILE && error.text[0] != '\0'));
    accepted += status == EVERFACE_OK;
    std::vector<float> codes(kCode);
    std::vector<std::uint8_t> picture(kPixels);
    if (model) CHECK(everface_render(model, codes.data(), 1, picture.data(), &error) == EVERFACE_OK);
    everface_close(model);
  }
  CHECK(accepted < rounds);
  everface_close(whole);
}

void test_choice() {
  std::mt19937 random(5);
  for (int round = 0; round < 100; ++round) {
    const int count = 1 + static_cast<int>(random() % 12), keep = 1 + static_cast<int>(random()) % count;
    std::vector<float> codes(static_cast<std::size_t>(count * kCode));
    for (float& number : codes) number = random() % 4 ? static_cast<float>(random() % 5) : 0.0f;  // some alike
    std::vector<std::int64_t> kept(static_cast<std::size_t>(std::abs(keep)) + 1, -1), again(kept);
    everface_error error;
    const auto status = everface_choose(codes.data(), count, kCode, keep, 20, 7, kept.data(), &error);
    if (keep < 1) {
      CHECK(status == EVERFACE_BAD_ARGUMENT);
      continue;
    }
    CHECK(status == EVERFACE_OK && kept.back() == -1);
    CHECK(everface_choose(codes.data(), count, kCode, keep, 20, 7, again.data(), &error) == EVERFACE_OK);
    CHECK(kept == again);
    for (int i = 0; i < keep; ++i)
      CHECK(kept[static_cast<std::size_t>(i)] >= (i ? kept[static_cast<std::size_t>(i - 1)] + 1 : 0) &&
            kept[static_cast<std::size_t>(i)] < count);
  }
}

// One model for all threads, and one for each.
void test_threads(const Files& files) {
  everface_model* shared = open(files);
  const auto pictures = photos(kPhotos, 6);
  everface_error error;
  CHECK(everface_set_photos(shared, pictures.data(), kPhotos, nullptr, &error) == EVERFACE_OK);
  std::vector<std::thread> threads;
  std::vector<int> fine(4, 0);
  for (std::size_t t = 0; t < fine.size(); ++t)
    threads.emplace_back([&, t] {
      everface_model* own = open(files);
      std::vector<float> codes(kPhotos * kCode), losses(kPhotos);
      std::vector<std::uint8_t> rendered(kPixels);
      everface_error mine;
      bool ok = everface_set_photos(own, pictures.data(), kPhotos, nullptr, &mine) == EVERFACE_OK;
      for (int i = 0; i < 2; ++i)
        for (everface_model* model : {own, shared})
          ok = ok && everface_learn(model, 1, 2, 1e-4f, nullptr, &mine) == EVERFACE_OK &&
               everface_invert(model, 1, 0.01f, &mine) == EVERFACE_OK &&
               everface_get_photos(model, codes.data(), losses.data(), &mine) == EVERFACE_OK &&
               everface_render(model, codes.data(), 1, rendered.data(), &mine) == EVERFACE_OK;
      fine[t] = ok;
      everface_close(own);
    });
  for (std::thread& thread : threads) thread.join();
  for (const int ok : fine) CHECK(ok);
  everface_close(shared);
}

}  // namespace

int main() {
  const char* given = std::getenv("EVERFACE_FUZZ");
  const int rounds = given ? std::max(1, std::atoi(given)) : 150;
  const Files all = files();
  const bool quick = rounds < 50;  // an emulator takes seconds a picture
  test_life(all, quick ? 2 : 8);
  test_wrong_calls(all);
  test_choice();
  if (!quick) test_threads(all);
  test_damaged_files(all, rounds);
  return finish();
}
