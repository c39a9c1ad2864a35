#include <cmath>
#include <cstring>

#include "everface/perceptual.hpp"
#include "resize.hpp"
#include "weights.hpp"

namespace everface::perceptual {
namespace {

std::int64_t halved(std::int64_t side) { return (side + 1) / 2; }

// Sizes of the activations of one picture.
struct Geometry {
  std::int64_t resolution, factor, side, stem;
  std::array<std::int64_t, kBlocks> in, out;         // sides
  std::array<std::int64_t, kTaps> pixels, channels;  // padded

  Geometry(std::int64_t resolution_, int least) : resolution(resolution_) {
    // Halves to even, as Python rounds.
    factor = std::max<std::int64_t>(1, std::lrint(static_cast<double>(least) / static_cast<double>(resolution)));
    side = resolution * factor, stem = halved(side);
    pixels[0] = stem * stem, channels[0] = kStemChannels;
    std::int64_t now = stem;
    for (int b = 0; b < kBlocks; ++b) {
      in[b] = now, now = kShapes[b].stride == 2 ? halved(now) : now, out[b] = now;
      if (const int tap = kShapes[b].tap; tap >= 0) pixels[tap] = now * now, channels[tap] = padded(kShapes[b].cout);
    }
  }
  std::int64_t in_pixels(int b) const { return in[b] * in[b]; }
  std::int64_t out_pixels(int b) const { return out[b] * out[b]; }
  std::int64_t image_size() const { return 3 * resolution * resolution; }
  std::int64_t plane_size() const { return 3 * side * side; }
  std::int64_t widest() const { return stem * stem * kStemChannels; }
};

// Memory of a batch, carved out of one buffer.
struct Activations {
  float *planes, *stem, *gradients[2], *dplanes;
  std::array<float*, kBlocks> y;
  std::array<std::int8_t*, kBlocks> expand_mask, depthwise_mask;

  std::size_t carve(const Geometry& g, std::int64_t batch, bool back, std::byte* base) {
    std::size_t used = 0;
    const auto take = [&](std::int64_t count, std::size_t bytes) {
      std::byte* piece = base ? base + used : nullptr;
      used += (static_cast<std::size_t>(count * batch) * bytes + 63) / 64 * 64;
      return piece;
    };
    const auto floats = [&](std::int64_t count) { return reinterpret_cast<float*>(take(count, sizeof(float))); };
    const auto masks = [&](std::int64_t count) { return reinterpret_cast<std::int8_t*>(take(count, 1)); };
    planes = floats(g.plane_size()), stem = floats(g.widest());
    for (int b = 0; b < kBlocks; ++b) {
      y[b] = floats(g.out_pixels(b) * padded(kShapes[b].cout));
      expand_mask[b] = depthwise_mask[b] = nullptr;
      if (!back) continue;
      if (kShapes[b].expands) expand_mask[b] = masks(g.in_pixels(b) * kShapes[b].hidden);
      depthwise_mask[b] = masks(g.out_pixels(b) * kShapes[b].hidden);
    }
    if (back) {
      gradients[0] = floats(g.widest()), gradients[1] = floats(g.widest());
      dplanes = planes;  // read by the forward pass alone
    }
    return used;
  }
};

// Tasks for each picture: whole pictures where they suffice, since parts compute their borders twice.
std::int64_t parts_of(std::int64_t batch, std::int64_t rows, const Pool& pool) {
  if (batch % pool.threads() == 0) return 1;
  const std::int64_t wanted = (2 * pool.threads() + batch - 1) / batch;
  return std::max<std::int64_t>(1, std::min(wanted, rows / 4));
}

}  // namespace

template <class E>
struct Network<E>::Impl {
  int side;
  StemWeights<E> stem;
  std::vector<BlockWeights<E>> blocks;

  Impl(const Tensors& weights, int side_) : side(side_), stem(weights) {
    for (int b = 0; b < kBlocks; ++b) blocks.emplace_back(weights, b);
  }

  StemJob<E> stem_job(const Geometry& g, const Activations& a, std::int64_t n) const {
    StemJob<E> job{};
    job.side = g.side, job.out = g.stem, job.forward = stem.forward.product(), job.back = stem.back.product();
    job.bias = stem.bias.data(), job.planes = a.planes + n * g.plane_size(), job.x = a.stem + n * g.widest();
    return job;
  }

  BlockJob<E> block_job(const Geometry& g, const Activations& a, int b, std::int64_t n) const {
    const BlockWeights<E>& w = blocks[static_cast<std::size_t>(b)];
    BlockJob<E> job{};
    job.height = job.width = g.in[b], job.oh = job.ow = g.out[b];
    job.cin = padded(w.shape.cin), job.hidden = w.shape.hidden, job.cout = padded(w.shape.cout);
    job.stride = w.shape.stride, job.expands = w.shape.expands, job.adds = w.shape.adds;
    if (job.expands) job.expand = w.expand[0].product(), job.expand_back = w.expand_back[0].product();
    job.project = w.project.product(), job.project_back = w.project_back.product();
    job.expand_bias = w.expand_bias.data(), job.depthwise = w.depthwise.data();
    job.depthwise_flipped = w.flipped.data(), job.depthwise_bias = w.depthwise_bias.data();
    job.project_bias = w.project_bias.data();
    job.x = (b == 0 ? a.stem : a.y[b - 1]) + n * g.in_pixels(b) * job.cin;
    job.y = a.y[b] + n * g.out_pixels(b) * job.cout;
    if (a.expand_mask[b]) job.expand_mask = a.expand_mask[b] + n * g.in_pixels(b) * job.hidden;
    if (a.depthwise_mask[b]) job.depthwise_mask = a.depthwise_mask[b] + n * g.out_pixels(b) * job.hidden;
    return job;
  }

  // Scratch of one thread for any layer of this geometry.
  std::size_t scratch(const Geometry& g) const {
    const Activations none{};
    std::size_t most = kernels<E>().stem_scratch_bytes(stem_job(g, none, 0));
    for (int b = 0; b < kBlocks; ++b) most = std::max(most, kernels<E>().scratch_bytes(block_job(g, none, b, 0)));
    return (most + 63) / 64 * 64;
  }

  void forward(const Geometry& g, const Activations& a, const float* images, std::int64_t batch, std::byte* scratch,
               std::size_t each, Pool& pool) const {
    const auto places = between(g.resolution, g.factor);
    pool.dynamic(batch * 3, [&](std::int64_t plane, int) {
      enlarge(images + plane * g.resolution * g.resolution, g.resolution, places, gain_of(plane % 3),
              offset_of(plane % 3), 0, g.side, a.planes + plane * g.side * g.side);
    });
    by_rows(batch, g.stem, pool, [&](std::int64_t n, std::int64_t begin, std::int64_t end, int thread) {
      kernels<E>().stem_forward(stem_job(g, a, n), begin, end, scratch + static_cast<std::size_t>(thread) * each);
    });
    for (int b = 0; b < kBlocks; ++b)
      by_rows(batch, g.out[b], pool, [&](std::int64_t n, std::int64_t begin, std::int64_t end, int thread) {
        kernels<E>().forward(block_job(g, a, b, n), begin, end, scratch + static_cast<std::size_t>(thread) * each);
      });
  }

  // From the gradients of the compared layers to that of the planes. Sums of squared differences go to
  // sums[tap][image].
  void backward(const Geometry& g, const Activations& a, std::int64_t batch, const Target* const* targets, float scale,
                double* sums, std::byte* scratch, std::size_t each, Pool& pool) const {
    float *dy = a.gradients[0], *dx = a.gradients[1];
    const int last = kBlocks - 1;
    std::fill(dy, dy + batch * g.out_pixels(last) * padded(kShapes[last].cout), 0.0f);
    for (int b = last; b >= 0; --b) {
      if (kShapes[b].tap >= 0) compare(g, kShapes[b].tap, a.y[b], batch, targets, scale, dy, sums, pool);
      by_rows(batch, g.in[b], pool, [&](std::int64_t n, std::int64_t begin, std::int64_t end, int thread) {
        BlockJob<E> job = block_job(g, a, b, n);
        job.dy = dy + n * g.out_pixels(b) * job.cout, job.dx = dx + n * g.in_pixels(b) * job.cin;
        kernels<E>().backward(job, begin, end, scratch + static_cast<std::size_t>(thread) * each);
      });
      std::swap(dy, dx);
    }
    compare(g, 0, a.stem, batch, targets, scale, dy, sums, pool);
    by_rows(batch, g.side, pool, [&](std::int64_t n, std::int64_t begin, std::int64_t end, int thread) {
      StemJob<E> job = stem_job(g, a, n);
      job.dx = dy + n * g.widest(), job.dplanes = a.dplanes + n * g.plane_size();
      kernels<E>().stem_backward(job, begin, end, scratch + static_cast<std::size_t>(thread) * each);
    });
  }

  // The unit vectors of one compared layer against the targets'.
  void compare(const Geometry& g, int tap, const float* y, std::int64_t batch, const Target* const* targets,
               float scale, float* dy, double* sums, Pool& pool) const {
    const std::int64_t pixels = g.pixels[tap], size = pixels * g.channels[tap];
    pool.dynamic(batch, [&](std::int64_t n, int) {
      const Target& target = *targets[n];
      const auto at = static_cast<std::size_t>(tap);
      const float weight = scale / (static_cast<float>(pixels) * kTaps);
      float* own = dy ? dy + n * size : nullptr;
      sums[tap * batch + n] = target.features[at].empty()
                                  ? kernels<E>().tap_rounded({pixels, g.channels[tap], y + n * size,
                                                              target.rounded[at].data(), nullptr, own, weight})
                                  : kernels<E>().tap({pixels, g.channels[tap], y + n * size, target.features[at].data(),
                                                      nullptr, own, weight});
    });
  }

  template <class Body>
  static void by_rows(std::int64_t batch, std::int64_t rows, Pool& pool, const Body& body) {
    const std::int64_t parts = parts_of(batch, rows, pool);
    pool.dynamic(batch * parts, [&](std::int64_t task, int thread) {
      const std::int64_t part = task % parts;
      body(task / parts, rows * part / parts, rows * (part + 1) / parts, thread);
    });
  }
};

template <class E>
Network<E>::Network(const Tensors& weights, int side) : impl_(new Impl(weights, side)) {}

template <class E>
Network<E>::~Network() = default;

namespace {

// The buffers of one call, laid out one after the other.
template <class Impl>
struct Memory {
  Geometry geometry;
  Activations activations;
  std::size_t each;
  std::byte* scratch;

  Memory(const Impl& impl, std::int64_t resolution, std::int64_t batch, bool back, Buffer& buffer, Pool& pool)
      : geometry(resolution, impl.side), activations{}, each(impl.scratch(geometry)) {
    const std::size_t bytes = activations.carve(geometry, batch, back, nullptr);
    std::byte* base = buffer.reserve(bytes + each * static_cast<std::size_t>(pool.threads()));
    activations.carve(geometry, batch, back, base);
    scratch = base + bytes;
  }
};

}  // namespace

template <class E>
std::vector<Target> Network<E>::targets(const float* images, std::int64_t batch, std::int64_t resolution, bool round,
                                        Pool& pool) const {
  Buffer buffer;
  std::vector<Target> all(static_cast<std::size_t>(batch));
  const std::int64_t together = std::max(4, pool.threads());  // memory does not grow with the number of photos
  for (std::int64_t first = 0; first < batch; first += together) {
    const std::int64_t count = std::min(together, batch - first);
    const Memory<Impl> memory(*impl_, resolution, count, false, buffer, pool);
    const Geometry& g = memory.geometry;
    const float* from = images + first * g.image_size();
    impl_->forward(g, memory.activations, from, count, memory.scratch, memory.each, pool);
    pool.dynamic(count, [&](std::int64_t n, int) {
      Target& target = all[static_cast<std::size_t>(first + n)];
      target.image.assign(from + n * g.image_size(), from + (n + 1) * g.image_size());
      for (int b = -1; b < kBlocks; ++b) {
        const int tap = b < 0 ? 0 : kShapes[b].tap;
        if (tap < 0) continue;
        const std::int64_t pixels = g.pixels[tap], size = pixels * g.channels[tap];
        const auto at = static_cast<std::size_t>(tap);
        const float* y = (b < 0 ? memory.activations.stem : memory.activations.y[b]) + n * size;
        if (round) {
          target.rounded[at].resize(static_cast<std::size_t>(size));
          kernels<E>().tap_rounded({pixels, g.channels[tap], y, nullptr, target.rounded[at].data(), nullptr, 0});
        } else {
          target.features[at].resize(static_cast<std::size_t>(size));
          kernels<E>().tap({pixels, g.channels[tap], y, nullptr, target.features[at].data(), nullptr, 0});
        }
      }
    });
  }
  return all;
}

template <class E>
void Network<E>::loss(const float* images, std::int64_t batch, std::int64_t resolution, const Target* const* targets,
                      float mse_weight, float* losses, float* dimages, float scale, Buffer& buffer, Pool& pool) const {
  if (batch == 0) return;
  const Memory<Impl> memory(*impl_, resolution, batch, dimages != nullptr, buffer, pool);
  const Geometry& g = memory.geometry;
  const Activations& a = memory.activations;
  std::vector<double> sums(static_cast<std::size_t>(kTaps * batch));
  impl_->forward(g, a, images, batch, memory.scratch, memory.each, pool);
  if (dimages) {
    impl_->backward(g, a, batch, targets, scale, sums.data(), memory.scratch, memory.each, pool);
  } else {
    impl_->compare(g, 0, a.stem, batch, targets, 0, nullptr, sums.data(), pool);
    for (int b = 0; b < kBlocks; ++b)
      if (kShapes[b].tap >= 0) impl_->compare(g, kShapes[b].tap, a.y[b], batch, targets, 0, nullptr, sums.data(), pool);
  }
  const auto places = between(g.resolution, g.factor);
  const std::int64_t plane_pixels = resolution * resolution;
  std::vector<double> squares(static_cast<std::size_t>(batch * 3));
  pool.dynamic(batch * 3, [&](std::int64_t plane, int) {
    const std::int64_t n = plane / 3;
    const float* image = images + plane * plane_pixels;
    const float* target = targets[n]->image.data() + plane % 3 * plane_pixels;
    float* grad = dimages ? dimages + plane * plane_pixels : nullptr;
    if (grad) enlarge_back(a.dplanes + plane * g.side * g.side, resolution, places, gain_of(plane % 3), grad);
    const float slope = 2 * mse_weight * scale / static_cast<float>(3 * plane_pixels);
    double sum = 0;
    for (std::int64_t row = 0; row < resolution; ++row) {
      float part = 0;
      for (std::int64_t i = row * resolution; i < (row + 1) * resolution; ++i) {
        const float difference = image[i] - target[i];
        part += difference * difference;
        if (grad) grad[i] += difference * slope;
      }
      sum += static_cast<double>(part);
    }
    squares[static_cast<std::size_t>(plane)] = sum;
  });
  for (std::int64_t n = 0; n < batch; ++n) {
    double distance = 0, square = 0;
    for (int tap = 0; tap < kTaps; ++tap)
      distance += sums[static_cast<std::size_t>(tap * batch + n)] / static_cast<double>(g.pixels[tap]);
    for (std::int64_t c = 0; c < 3; ++c) square += squares[static_cast<std::size_t>(3 * n + c)];
    losses[n] = static_cast<float>(distance / kTaps +
                                   static_cast<double>(mse_weight) * square / static_cast<double>(3 * plane_pixels));
  }
}

template class Network<float>;
template class Network<bf16>;

}  // namespace everface::perceptual
