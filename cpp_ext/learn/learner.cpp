#include <algorithm>
#include <stdexcept>

#include "adam.hpp"
#include "everface/learn.hpp"

namespace everface::learn {
namespace {

constexpr std::int64_t kTogether = 4;  // pictures at once where they do not depend on each other

Codes part(Codes codes, std::int64_t first, std::int64_t count, std::int64_t size) {
  return {codes.values + first * size, count, codes.plus};
}

}  // namespace

Learner::Learner(stylegan::SynthesisShape shape, const Tensors& weights, const Tensors& factors, float factor_scale,
                 std::shared_ptr<const Loss> loss)
    : shape_(std::move(shape)), loss_(std::move(loss)), factor_scale_(factor_scale) {
  lay_out(weights);
  if (!factors.empty()) add_factors(factors);
}

Learner::~Learner() = default;

void Learner::merge(Pool& pool) {
  if (!stale_) return;
  pool.dynamic(static_cast<std::int64_t>(factors_.size()), [&](std::int64_t task, int) {
    const Factor& factor = factors_[static_cast<std::size_t>(task)];
    const Place& weight = places_[factor.weight];
    const std::int64_t out = weight.shape[0], in = weight.size / out;
    const float *down = factor_values_.data() + factor.down, *up = factor_values_.data() + factor.up;
    for (std::int64_t o = 0; o < out; ++o) {
      float* row = values_.data() + weight.at + o * in;
      std::copy_n(origin_.data() + weight.at + o * in, in, row);
      for (std::int64_t r = 0; r < factor.rank; ++r) {
        const float gain = up[o * factor.rank + r] * factor_scale_;
        for (std::int64_t i = 0; i < in; ++i) row[i] += gain * down[r * in + i];
      }
    }
  });
  stale_ = false;
}

// From dW: d up = scale dW down^T, d down = scale up^T dW.
void Learner::factor_gradients(Pool& pool) {
  factor_gradients_.resize(factor_values_.size());
  pool.dynamic(static_cast<std::int64_t>(factors_.size()), [&](std::int64_t task, int) {
    const Factor& factor = factors_[static_cast<std::size_t>(task)];
    const Place& weight = places_[factor.weight];
    const std::int64_t out = weight.shape[0], in = weight.size / out, rank = factor.rank;
    const float *down = factor_values_.data() + factor.down, *up = factor_values_.data() + factor.up;
    float *ddown = factor_gradients_.data() + factor.down, *dup = factor_gradients_.data() + factor.up;
    std::fill(ddown, ddown + rank * in, 0.0f);
    for (std::int64_t o = 0; o < out; ++o) {
      const float* row = gradients_.data() + weight.at + o * in;
      for (std::int64_t r = 0; r < rank; ++r) {
        const float gain = up[o * rank + r] * factor_scale_;
        float sums[16] = {};  // side by side: one chain of additions would wait for each
        std::int64_t i = 0;
        for (; i + 16 <= in; i += 16)
          for (int l = 0; l < 16; ++l) {
            sums[l] += row[i + l] * down[r * in + i + l];
            ddown[r * in + i + l] += gain * row[i + l];
          }
        for (; i < in; ++i) sums[0] += row[i] * down[r * in + i], ddown[r * in + i] += gain * row[i];
        float sum = 0;
        for (const float one : sums) sum += one;
        dup[o * rank + r] = sum * factor_scale_;
      }
    }
  });
}

// The weights packed for a search, which looks at them many times; tuning changes them at each step.
template <class E>
const stylegan::FrozenWeights<E>* Learner::frozen(Pool& pool) {
  auto& held = [&]() -> auto& {
    if constexpr (sizeof(E) == 2)
      return frozen_fast_;
    else
      return frozen_full_;
  }();
  if (!held) held.reset(new stylegan::FrozenWeights<E>(shape_, bound(values_), pool));
  return held.get();
}

void Learner::forget_packed() { executor_.reset(), frozen_full_.reset(), frozen_fast_.reset(); }

void Learner::release() {
  forget_packed();
  saved_ = Buffer(), activations_ = Buffer();
}

const float* Learner::full_codes(Codes codes) {
  if (codes.plus) return codes.values;
  const std::int64_t copies = shape_.num_ws(), w = shape_.w_dim;
  ws_.resize(static_cast<std::size_t>(codes.count * copies * w));
  for (std::int64_t i = 0; i < codes.count * copies; ++i)
    std::copy_n(codes.values + i / copies * w, w, ws_.data() + i * w);
  return ws_.data();
}

// dcodes from dws_: of a code in W the sum over the styles.
void Learner::fold(std::int64_t count, bool plus, float* dcodes) const {
  const std::int64_t copies = shape_.num_ws(), w = shape_.w_dim;
  if (plus) {
    std::copy_n(dws_.data(), count * copies * w, dcodes);
    return;
  }
  std::fill(dcodes, dcodes + count * w, 0.0f);
  for (std::int64_t i = 0; i < count * copies; ++i)
    for (std::int64_t j = 0; j < w; ++j) dcodes[i / copies * w + j] += dws_[static_cast<std::size_t>(i * w + j)];
}

void Learner::render(Codes codes, float* images, Pool& pool) {
  const auto owner = pool.lock();
  merge(pool);
  if (!executor_) executor_.reset(new stylegan::Executor<float>(shape_, bound(values_), pool));
  const std::int64_t size = code_size(codes.plus), image = shape_.colours * shape_.resolution * shape_.resolution;
  for (std::int64_t first = 0; first < codes.count; first += kTogether) {
    const std::int64_t count = std::min(kTogether, codes.count - first);
    executor_->run(count, full_codes(part(codes, first, count, size)), images + first * image, pool);
  }
}

void Learner::losses(Codes codes, Targets targets, float* losses, Pool& pool) {
  const std::int64_t size = code_size(codes.plus), image = shape_.colours * shape_.resolution * shape_.resolution;
  std::vector<float> images(static_cast<std::size_t>(std::min(kTogether, codes.count) * image));
  for (std::int64_t first = 0; first < codes.count; first += kTogether) {
    const std::int64_t count = std::min(kTogether, codes.count - first);
    render(part(codes, first, count, size), images.data(), pool);
    const auto owner = pool.lock();
    (*loss_)(images.data(), count, shape_.resolution, targets + first, false, losses + first, nullptr, 1, activations_,
             pool);
  }
  const auto owner = pool.lock();
  release();  // a search ends here, and packed weights take several times the memory of the weights
}

template <class E>
void Learner::chunk(Codes codes, Targets targets, float scale, float* losses, bool train, float* dcodes, Pool& pool) {
  const std::int64_t count = codes.count, image = shape_.colours * shape_.resolution * shape_.resolution;
  const float* ws = full_codes(codes);
  const auto size = static_cast<std::size_t>(count * image);
  images_.resize(size), dimages_.resize(size);
  std::byte* saved = saved_.reserve(stylegan::saved_bytes<E>(shape_, count));
  const auto parameters = bound(values_);
  const auto* packed = train ? nullptr : frozen<E>(pool);
  stylegan::synthesis_forward<E>(shape_, parameters, count, ws, images_.data(), saved, pool, packed);
  (*loss_)(images_.data(), count, shape_.resolution, targets, sizeof(E) == 2, losses, dimages_.data(), scale,
           activations_, pool);
  stylegan::SynthesisParameters<float> gradients;
  if (train) {
    gradients_.resize(values_.size());
    gradients = bound(gradients_);
  }
  if (dcodes) dws_.resize(static_cast<std::size_t>(count * code_size(true)));
  stylegan::synthesis_backward<E>(shape_, parameters, count, ws, dimages_.data(), saved, gradients,
                                  dcodes ? dws_.data() : nullptr, pool, packed);
  if (dcodes) fold(count, codes.plus, dcodes);
}

void Learner::gradient(Codes codes, Targets targets, float* losses, float* dcodes, Pool& pool) {
  const std::int64_t size = code_size(codes.plus);
  for (std::int64_t first = 0; first < codes.count; first += kTogether) {
    const auto owner = pool.lock();
    merge(pool);
    const Codes some = part(codes, first, std::min(kTogether, codes.count - first), size);
    float *loss = losses + first, *slope = dcodes + first * size;
    loss_->fast() ? chunk<bf16>(some, targets + first, 1, loss, false, slope, pool)
                  : chunk<float>(some, targets + first, 1, loss, false, slope, pool);
  }
}

template <class E>
void Learner::pull_back_as(Codes codes, const float* dimages, float* dcodes, Pool& pool) {
  const std::int64_t count = codes.count, image = shape_.colours * shape_.resolution * shape_.resolution;
  const float* ws = full_codes(codes);
  images_.resize(static_cast<std::size_t>(count * image)),
      dws_.resize(static_cast<std::size_t>(count * code_size(true)));
  std::byte* saved = saved_.reserve(stylegan::saved_bytes<E>(shape_, count));
  const auto parameters = bound(values_);
  const auto* packed = frozen<E>(pool);
  stylegan::synthesis_forward<E>(shape_, parameters, count, ws, images_.data(), saved, pool, packed);
  stylegan::synthesis_backward<E>(shape_, parameters, count, ws, dimages, saved, {}, dws_.data(), pool, packed);
  fold(count, codes.plus, dcodes);
}

void Learner::pull_back(Codes codes, const float* dimages, float* dcodes, Pool& pool) {
  const std::int64_t size = code_size(codes.plus), image = shape_.colours * shape_.resolution * shape_.resolution;
  for (std::int64_t first = 0; first < codes.count; first += kTogether) {
    const auto owner = pool.lock();
    merge(pool);
    const Codes some = part(codes, first, std::min(kTogether, codes.count - first), size);
    loss_->fast() ? pull_back_as<bf16>(some, dimages + first * image, dcodes + first * size, pool)
                  : pull_back_as<float>(some, dimages + first * image, dcodes + first * size, pool);
  }
}

float Learner::step(Codes codes, Targets targets, float learning_rate, Pool& pool) {
  if (codes.count < 1) throw std::invalid_argument("step: no pictures");
  const auto owner = pool.lock();
  merge(pool);
  forget_packed();  // made of the weights as they were
  std::vector<float> losses(static_cast<std::size_t>(codes.count));
  const float scale = 1.0f / static_cast<float>(codes.count);
  loss_->fast() ? chunk<bf16>(codes, targets, scale, losses.data(), true, nullptr, pool)
                : chunk<float>(codes, targets, scale, losses.data(), true, nullptr, pool);
  if (!factors_.empty()) factor_gradients(pool);
  Numbers& values = factors_.empty() ? values_ : factor_values_;
  mean_.resize(values.size(), 0.0f), square_.resize(values.size(), 0.0f);
  adam(static_cast<std::int64_t>(values.size()), ++steps_, learning_rate,
       (factors_.empty() ? gradients_ : factor_gradients_).data(), values.data(), mean_.data(), square_.data(), pool);
  stale_ = !factors_.empty();
  double total = 0;
  for (const float loss : losses) total += static_cast<double>(loss);
  return static_cast<float>(total / static_cast<double>(codes.count));
}

const Numbers& Learner::values(Pool& pool) {
  const auto owner = pool.lock();
  merge(pool);
  return values_;
}

std::int64_t Learner::state(float* values, float* mean, float* square) const {
  const Numbers& tuned = tuned_values();
  std::copy(tuned.begin(), tuned.end(), values);
  std::fill(mean, mean + tuned.size(), 0.0f), std::fill(square, square + tuned.size(), 0.0f);
  std::copy(mean_.begin(), mean_.end(), mean);
  std::copy(square_.begin(), square_.end(), square);
  return steps_;
}

void Learner::restore(const float* values, const float* mean, const float* square, std::int64_t steps) {
  Numbers& tuned = factors_.empty() ? values_ : factor_values_;
  const std::size_t size = tuned.size();
  tuned.assign(values, values + size), mean_.assign(mean, mean + size), square_.assign(square, square + size);
  steps_ = steps, stale_ = !factors_.empty();
  forget_packed();
}

std::size_t Learner::memory_bytes() const {
  std::size_t floats = 0;
  for (const auto* block : {&values_, &noise_, &origin_, &factor_values_, &gradients_, &factor_gradients_, &mean_,
                            &square_, &ws_, &dws_, &images_, &dimages_})
    floats += block->capacity();
  return floats * sizeof(float) + saved_.size() + activations_.size();
}

}  // namespace everface::learn
