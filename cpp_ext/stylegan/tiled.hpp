// Runs the phases of a tiled convolution over chunks of tiles and threads.
#pragma once

#include <algorithm>
#include <cstring>

#include "everface/pool.hpp"
#include "everface/stylegan.hpp"
#include "layer.hpp"

namespace everface::stylegan {

// Hands out aligned pieces; with a null base it only counts.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(base) {}
  template <class T>
  T* take(std::int64_t count) {
    T* piece = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return piece;
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* base_;
  std::size_t used_ = 0;
};

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
inline std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

// exact: F4 loses two bits more than F2, which bfloat16 cannot spare in a result, but can in a gradient.
inline Algo choose_algo(int taps, bool up, std::int64_t height, std::int64_t width, bool exact) {
  if (taps == 1) return Algo::kPoint;
  if (up) return Algo::kUp;
  if (exact) return std::min(height, width) >= 32 ? Algo::kF4 : Algo::kF2;
  return std::min(height, width) >= 12 ? Algo::kF4 : Algo::kF2;
}

// Elements of the packed operand.
template <class E>
std::int64_t packed_size(Algo algo, std::int64_t inner, std::int64_t outer) {
  const auto& k = kernels<E>();
  const int classes = shape_of(algo).classes;
  return classes * classes * round_up(inner, k.depth) * round_up(outer, k.lanes);
}

template <class E>
void pack_operand(Algo algo, bool transposed, const Real<E>* w, std::int64_t out, std::int64_t in, E* u, Pool& pool) {
  const auto& k = kernels<E>();
  const std::int64_t vectors = ceil_div(transposed ? in : out, k.lanes);
  pool.dynamic(vectors, [&](std::int64_t b, int) { k.pack(algo, transposed, w, out, in, u, b, b + 1); });
}

// Row strides that are multiples of a kilobyte would put all rows into the same cache sets.
inline std::int64_t spread(std::int64_t elements, std::int64_t bytes_each) {
  return elements * bytes_each % 1024 == 0 && elements * bytes_each > 1024 ? elements + 64 / bytes_each : elements;
}

struct Chunks {
  std::int64_t total, size, count;
  bool by_thread;  // each thread takes whole chunks; otherwise the threads share one chunk
};

template <class E>
class Tiled {
 public:
  using R = Real<E>;

  Tiled(Layer<E> layer, bool real_input, int threads) : layer_(layer), threads_(threads) {
    const AlgoShape s = shape_of(layer.algo);
    const auto& k = kernels<E>();
    layer_.th = layer.algo == Algo::kUp ? ceil_div(layer.ih + 1, 3) : ceil_div(layer.oh, s.out);
    layer_.tw = layer.algo == Algo::kUp ? ceil_div(layer.iw + 1, 3) : ceil_div(layer.ow, s.out);
    layer_.v_ld = spread(round_up(round_up(layer.cin, k.lanes), k.depth), real_input ? sizeof(R) : sizeof(E));
    layer_.m_ld = spread(round_up(layer.cout, k.lanes), sizeof(R));
    slots_ = s.products * s.products;
    for (int p = 0; p < s.products; ++p)
      for (int q = 0; q < s.products; ++q)
        class_of_slot_[slot_of(layer.algo, p, q)] = class_of(layer.algo, p) * s.classes + class_of(layer.algo, q);
    item_ = real_input ? sizeof(R) : sizeof(E);
    const std::int64_t per_tile = slots_ * (layer_.v_ld * item_ + layer_.m_ld * std::int64_t{sizeof(R)});
    const std::int64_t target = std::clamp<std::int64_t>((3 << 19) / per_tile, 28, 28 * 16) / 28 * 28;
    chunks_.total = layer.batch * layer_.th * layer_.tw;
    chunks_.by_thread = !real_input && threads > 0 && chunks_.total >= 4 * target * threads;
    const std::int64_t most = chunks_.by_thread ? target : std::max<std::int64_t>(target * threads, 112);
    chunks_.count = std::max<std::int64_t>(1, ceil_div(chunks_.total, most));
    chunks_.size = ceil_div(chunks_.total, chunks_.count);
    layer_.v_step = chunks_.size * layer_.v_ld + 64 / item_;
    layer_.m_step = chunks_.size * layer_.m_ld + 64 / std::int64_t{sizeof(R)};
  }

  void carve(Carver& carver) {
    const int copies = chunks_.by_thread ? threads_ : 1;
    v_ = carver.take<std::byte>(copies * slots_ * layer_.v_step * item_);
    m_ = carver.take<R>(copies * slots_ * layer_.m_step);
  }

  // A forward convolution; scale_grad, if any, holds [threads][batch][cout] and is added to.
  void run(const E* u, Output kind, Pool& pool) {
    if (chunks_.by_thread) {
      pool.fixed(chunks_.count, [&](std::int64_t chunk, int thread) {
        const Layer<E> l = at(chunk, thread, thread);
        input(l, 0, l.count);
        for (int slot = 0; slot < blocks(l) * slots_; ++slot) multiply(l, u, slot);
        kernels<E>().output(l, kind, 0, l.count);
      });
      return;
    }
    for (std::int64_t chunk = 0; chunk < chunks_.count; ++chunk) {
      const Layer<E> l = at(chunk, 0, 0);
      each_share(l.count, pool, [&](std::int64_t begin, std::int64_t end, int) { input(l, begin, end); });
      pool.dynamic(blocks(l) * slots_, [&](std::int64_t task, int) { multiply(l, u, task); });
      each_share(l.count, pool, [&](std::int64_t begin, std::int64_t end, int thread) {
        kernels<E>().output(at(chunk, 0, thread), kind, begin, end);
      });
    }
  }

  // du[class][cin][ld] = the weight gradient in the transformed domain.
  void weight_gradient(const E* dz, R* du, std::int64_t ld, Pool& pool) {
    const auto& k = kernels<E>();
    const AlgoShape s = shape_of(layer_.algo);
    constexpr std::int64_t pairs = sizeof(E) == 2 ? 2 : 1;  // tiles in a row of the operands
    for (std::int64_t chunk = 0; chunk < chunks_.count; ++chunk) {
      const Layer<E> l = at(chunk, 0, 0);
      each_share(l.count, pool, [&](std::int64_t begin, std::int64_t end, int) {
        k.input_for_weights(l, begin, end);
        k.adjoint(l, dz, begin, end);
      });
      pool.dynamic(s.classes * s.classes, [&](std::int64_t cls, int) {
        R* out = du + cls * l.cin * ld;
        bool add = chunk > 0;
        for (std::int64_t slot = 0; slot < slots_; ++slot) {
          if (class_of_slot_[slot] != cls) continue;
          k.gemm_weight(static_cast<const R*>(l.v) + slot * l.v_step, l.v_ld, l.m + slot * l.m_step, l.m_ld,
                        ceil_div(l.count, pairs), l.cin, round_up(l.cout, k.lanes), out, ld, add);
          add = true;
        }
      });
    }
  }

  // Pointers may be set after the sizes are known.
  Layer<E>& layer() { return layer_; }

 private:
  Layer<E> at(std::int64_t chunk, int buffer, int thread) const {
    Layer<E> l = layer_;
    l.first = chunk * chunks_.size;
    l.count = std::min(chunks_.size, chunks_.total - l.first);
    l.v = v_ + buffer * slots_ * l.v_step * item_;
    l.m = m_ + buffer * slots_ * l.m_step;
    if (l.scale_grad) l.scale_grad += thread * l.batch * l.cout;
    return l;
  }

  void input(const Layer<E>& l, std::int64_t begin, std::int64_t end) const { kernels<E>().input(l, begin, end); }

  std::int64_t blocks(const Layer<E>& l) const { return ceil_div(l.cout, kernels<E>().block); }

  // One slot and block of output channels; tasks of one slot are neighbours, as its input is then in the cache.
  void multiply(const Layer<E>& l, const E* u, std::int64_t task) const {
    const auto& k = kernels<E>();
    const std::int64_t slot = task / blocks(l), block = task % blocks(l);
    const std::int64_t depth = round_up(l.cin, k.depth), cols = round_up(l.cout, k.lanes);
    const std::int64_t width = std::min<std::int64_t>(k.block, cols - block * k.block);
    const E* operand = u + class_of_slot_[slot] * depth * cols + block * k.block * depth;
    k.gemm(static_cast<const E*>(l.v) + slot * l.v_step, l.v_ld, l.count, operand, depth, static_cast<int>(width),
           l.m + slot * l.m_step + block * k.block, l.m_ld);
  }

  template <class Body>
  static void each_share(std::int64_t count, Pool& pool, const Body& body) {
    const std::int64_t pairs = ceil_div(count, 2), shares = std::min<std::int64_t>(pairs, pool.threads());
    pool.fixed(shares, [&](std::int64_t share, int thread) {
      body(2 * (pairs * share / shares), std::min(count, 2 * (pairs * (share + 1) / shares)), thread);
    });
  }

  Layer<E> layer_;
  int threads_;
  std::int64_t slots_, item_;
  int class_of_slot_[64];
  Chunks chunks_;
  std::byte* v_ = nullptr;
  R* m_ = nullptr;
};

}  // namespace everface::stylegan
