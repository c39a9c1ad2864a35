// Runs the phases of a tiled convolution over chunks of tiles and threads.
#pragma once

#include <algorithm>
#include <cstring>

#include "everface/core/carver.hpp"
#include "everface/core/pool.hpp"
#include "everface/stylegan.hpp"
#include "layer.hpp"

namespace everface::stylegan {

// exact: F4 loses two bits more than F2, which bfloat16 cannot spare in a result, but can in a gradient.
inline Algo choose_algo(int taps, bool up, std::int64_t height, std::int64_t width, bool exact) {
  if (taps == 1) return Algo::kPoint;
  if (up) return Algo::kUp;
  if (exact) return Algo::kF2;
  return std::min(height, width) >= 12 ? Algo::kF4 : Algo::kF2;
}

// Elements of the packed operand.
template <class E>
std::int64_t packed_size(Algo algo, std::int64_t inner, std::int64_t outer) {
  const auto& k = kernels<E>();
  const int classes = shape_of(algo).classes;
  return classes * classes * class_step<E>(round_up(inner, k.depth), round_up(outer, k.lanes));
}

template <class E>
void pack_operand(Algo algo, bool transposed, const Real<E>* w, std::int64_t out, std::int64_t in, E* u, Pool& pool) {
  const auto& k = kernels<E>();
  const std::int64_t blocks = ceil_div(transposed ? in : out, k.block);
  pool.dynamic(blocks, [&](std::int64_t b, int) { k.pack(algo, transposed, w, out, in, u, b, b + 1); });
}

// Row strides that are multiples of a kilobyte would put all rows into the same cache sets.
inline std::int64_t spread(std::int64_t elements, std::int64_t bytes_each) {
  return elements * bytes_each % 1024 == 0 && elements * bytes_each > 1024 ? elements + 64 / bytes_each : elements;
}

struct Chunks {
  std::int64_t total, size, count;
  bool by_thread;  // each thread takes whole chunks; otherwise the threads share one chunk
};

// The operand of the products: packed for the kernels, or the taps [vector][inner][tap][lane] that it is made from.
template <class E>
struct Operand {
  const E* packed;
  const Real<E>* taps;
};

// Taps in vectors of output channels, zero where there is none.
template <class E>
void gather_taps(const Real<E>* w, std::int64_t out, std::int64_t in, int area, Real<E>* taps, Pool& pool) {
  const std::int64_t lanes = kernels<E>().lanes;
  pool.dynamic(ceil_div(out, lanes), [&](std::int64_t vector, int) {
    Real<E>* to = taps + vector * in * area * lanes;
    for (std::int64_t at = 0; at < in * area; ++at)
      for (std::int64_t lane = 0; lane < lanes; ++lane) {
        const std::int64_t o = vector * lanes + lane;
        *to++ = o < out ? w[o * in * area + at] : Real<E>(0);
      }
  });
}

// Tiles come in chunks. Products are made and used for one group of blocks of output channels at a time, so that they
// never leave the cache of the core that made them; only weight gradients need the products of all channels at once.
// With weights packed beforehand a chunk's transformed input fits the cache, and its memory counts. Where they are
// packed for this call, as in tuning, they take several times that memory anyway: chunks of many tiles read them less
// often.
template <class E>
class Tiled {
 public:
  using R = Real<E>;

  // kCompact: a convolution whose operand is taps; kOnce: one whose operand is packed for this call.
  enum class Use { kConvolution, kCompact, kOnce, kWeights };

  Tiled(Layer<E> layer, Use use, int threads)
      : layer_(layer), for_weights_(use == Use::kWeights), compact_(use == Use::kCompact), threads_(threads) {
    const AlgoShape s = shape_of(layer.algo);
    const auto& k = kernels<E>();
    item_ = for_weights_ ? sizeof(R) : sizeof(E);
    layer_.th = layer.algo == Algo::kUp ? ceil_div(layer.ih + 1, 3) : ceil_div(layer.oh, s.out);
    layer_.tw = layer.algo == Algo::kUp ? ceil_div(layer.iw + 1, 3) : ceil_div(layer.ow, s.out);
    layer_.v_ld = spread(round_up(round_up(layer.cin, k.lanes), k.depth), item_);
    layer_.cols_begin = 0, layer_.cols_end = layer.cout;
    slots_ = s.products * s.products;
    for (int p = 0; p < s.products; ++p)
      for (int q = 0; q < s.products; ++q)
        class_of_slot_[slot_of(layer.algo, p, q)] = class_of(layer.algo, p) * s.classes + class_of(layer.algo, q);
    const std::int64_t per_tile = slots_ * (layer_.v_ld * item_ + k.block * std::int64_t{sizeof(R)});
    const std::int64_t fitting = std::clamp<std::int64_t>(kCacheBytes / per_tile, 28, 28 * 16) / 28 * 28;
    const std::int64_t target = use == Use::kOnce ? kManyTiles : fitting;
    chunks_.total = layer.batch * layer_.th * layer_.tw;
    chunks_.by_thread = (use == Use::kConvolution && chunks_.total >= 4 * target * threads) ||
                        (use == Use::kOnce && chunks_.total >= target * threads);
    const bool packed = use == Use::kConvolution || use == Use::kCompact;
    const std::int64_t shared = std::max<std::int64_t>(target * threads, packed ? 112 : kManyTiles);
    const std::int64_t most = chunks_.by_thread ? target : shared;
    banded_ = layer.algo == Algo::kUp && chunks_.by_thread && layer_.th >= 8 * threads;
    const std::int64_t run = banded_ ? layer_.tw : chunks_.total;
    chunks_.count = std::max<std::int64_t>(1, ceil_div(run, most));
    if (chunks_.by_thread && !banded_) chunks_.count = round_up(chunks_.count, threads);
    chunks_.size = ceil_div(run, chunks_.count);
    const std::int64_t blocks = ceil_div(layer.cout, k.block);
    const std::int64_t group = packed ? kFewBlocks : kManyBlocks;
    group_ = chunks_.by_thread ? group : std::clamp<std::int64_t>(blocks / (4 * threads), 1, group);
    layer_.m_ld = for_weights_ ? spread(round_up(layer.cout, k.lanes), sizeof(R)) : std::min(group_, blocks) * k.block;
    layer_.v_step = chunks_.size * layer_.v_ld + 64 / item_;
    layer_.m_step = chunks_.size * layer_.m_ld + 64 / std::int64_t{sizeof(R)};
  }

  void carve(Carver& carver) {
    v_ = carver.take<std::byte>((chunks_.by_thread ? threads_ : 1) * slots_ * layer_.v_step * item_);
    m_ = carver.take<R>((for_weights_ ? 1 : threads_) * slots_ * layer_.m_step);
    if (compact_) expanded_ = carver.take<E>(threads_ * expanded_size());
    if (banded_) band_ = carver.take<R>(threads_ * band_size());
    if (for_weights_) panels_ = carver.take<R>(threads_ * panel_size());
  }

  // A forward convolution; scale_grad, if any, holds [threads][batch][cout] and is added to.
  void run(const Operand<E>& u, Output kind, Pool& pool) {
    const auto& k = kernels<E>();
    if (chunks_.by_thread) {
      each(chunks_.count, kind, pool, [&](std::int64_t chunk, int thread) {
        const Layer<E> l = at(chunk, thread, thread);
        k.input(l, 0, l.count);
        for (std::int64_t group = 0; group < groups(); ++group) products(l, u, group, kind, thread);
      });
      return;
    }
    for (std::int64_t chunk = 0; chunk < chunks_.count; ++chunk) {
      const Layer<E> l = at(chunk, 0, 0);
      each_share(l.count, pool, [&](std::int64_t begin, std::int64_t end) { k.input(l, begin, end); });
      each(groups(), kind, pool,
           [&](std::int64_t group, int thread) { products(at(chunk, 0, thread), u, group, kind, thread); });
    }
  }

  // Whether a transposed convolution runs in bands of rows, so that what its filter reads never leaves the cache.
  bool banded() const { return banded_; }

  // The transposed convolution and its filter, one band of the result's rows after the other.
  void run_banded(const Operand<E>& u, Fir<E> fir, Pool& pool) {
    const std::int64_t per_image = layer_.th >= 20 * pool.threads() ? 2 * pool.threads() : pool.threads();
    pool.dynamic(layer_.batch * per_image, [&](std::int64_t task, int thread) {
      const std::int64_t image = task / per_image, part = task % per_image;
      Fir<E> mine = fir;
      mine.t = band_ + thread * band_size(), mine.t_rows = kBandRows;
      const std::int64_t end = fir.oh * (part + 1) / per_image;
      std::int64_t row = fir.oh * part / per_image;
      for (std::int64_t tile_row = std::max<std::int64_t>(row - 1, 0) / kUpRows; row < end; ++tile_row) {
        tile_row_products(u, image * layer_.th + tile_row, thread);
        const bool last = tile_row + 1 == layer_.th;
        const std::int64_t ready = last ? end : std::min(end, (tile_row + 1) * kUpRows - 2);
        if (ready > row) kernels<E>().fir(layer_, mine, image * fir.oh + row, image * fir.oh + ready);
        row = std::max(row, ready);
      }
    });
  }

  // du[class][cin][ld], classes at class_step, = the weight gradient in the transformed domain.
  void weight_gradient(const E* dz, R* du, std::int64_t ld, Pool& pool) {
    const auto& k = kernels<E>();
    const AlgoShape s = shape_of(layer_.algo);
    constexpr std::int64_t pairs = sizeof(E) == 2 ? 2 : 1;  // tiles in a row of the operands
    for (std::int64_t chunk = 0; chunk < chunks_.count; ++chunk) {
      const Layer<E> l = at(chunk, 0, 0);
      each_share(l.count, pool, [&](std::int64_t begin, std::int64_t end) {
        k.input_for_weights(l, begin, end);
        k.adjoint(l, dz, begin, end);
      });
      pool.dynamic(s.classes * s.classes, [&](std::int64_t task, int thread) {
        const std::int64_t cls = s.classes * s.classes - 1 - task;  // of a 2x layer, the last has the most products
        R* out = du + cls * class_step<R>(l.cin, ld);
        bool add = chunk > 0;
        for (std::int64_t slot = 0; slot < slots_; ++slot) {
          if (class_of_slot_[slot] != cls) continue;
          k.gemm_weight(static_cast<const R*>(l.v) + slot * l.v_step, l.v_ld, l.m + slot * l.m_step, l.m_ld,
                        ceil_div(l.count, pairs), l.cin, round_up(l.cout, k.lanes), out, ld, add,
                        panels_ + thread * panel_size());
          add = true;
        }
      });
    }
  }

  // Pointers may be set after the sizes are known.
  Layer<E>& layer() { return layer_; }

 private:
  static constexpr std::int64_t kCacheBytes = 1 << 20;  // of a core's second level
  static constexpr std::int64_t kManyTiles = 128;  // so many rows of a block fit the second level, for 512 channels
  // Blocks in a group: the transformed input is read again for each group.
  static constexpr std::int64_t kManyBlocks = 8, kFewBlocks = 4;
  static constexpr std::int64_t kUpRows = 6;    // of a row of tiles of a transposed convolution
  static constexpr std::int64_t kBandRows = 9;  // those, and the three that the filter's window still needs
  // Of the inner dimension, whose expanded weights fit the cache: odd, or all classes would lie in the same cache sets.
  static constexpr std::int64_t kSlice = 103;

  std::int64_t band_size() const { return round_up(kBandRows * layer_.ow * layer_.cout, 16); }
  std::int64_t expanded_size() const {
    const std::int64_t classes = shape_of(layer_.algo).classes;
    return round_up(classes * classes * std::min(kSlice, layer_.cin) * kernels<E>().block, 16);
  }

  std::int64_t panel_size() const {
    return round_up(chunks_.size * (round_up(layer_.cin, kernels<E>().lanes) + kernels<E>().block), 16);
  }
  std::int64_t groups() const { return ceil_div(ceil_div(layer_.cout, kernels<E>().block), group_); }

  // The chunks of one row of tiles, into the thread's band.
  void tile_row_products(const Operand<E>& u, std::int64_t tile_row, int thread) const {
    for (std::int64_t chunk = 0; chunk < chunks_.count; ++chunk) {
      Layer<E> l = at(0, thread, thread);
      const std::int64_t skipped = chunk * chunks_.size;
      l.first = tile_row * l.tw + skipped, l.count = std::min(chunks_.size, l.tw - skipped);
      l.raw = band_ + thread * band_size(), l.raw_rows = kBandRows;
      kernels<E>().input(l, 0, l.count);
      for (std::int64_t group = 0; group < groups(); ++group) products(l, u, group, Output::kRaw, thread);
    }
  }

  Layer<E> at(std::int64_t chunk, int buffer, int thread) const {
    Layer<E> l = layer_;
    l.first = chunk * chunks_.size;
    l.count = std::min(chunks_.size, chunks_.total - l.first);
    l.v = v_ + buffer * slots_ * l.v_step * item_;
    l.m = m_ + thread * slots_ * l.m_step;
    if (l.scale_grad) l.scale_grad += thread * l.batch * l.cout;
    return l;
  }

  // One group of output channels of a chunk: its matrix products, and what is made of them.
  void products(Layer<E> l, const Operand<E>& u, std::int64_t group, Output kind, int thread) const {
    const auto& k = kernels<E>();
    const std::int64_t cols = round_up(l.cout, k.lanes);
    const std::int64_t first = group * group_, last = std::min(first + group_, ceil_div(l.cout, k.block));
    l.cols_begin = first * k.block, l.cols_end = std::min(l.cout, last * k.block);
    const auto width = [&](std::int64_t block) { return std::min<std::int64_t>(k.block, cols - block * k.block); };
    if (!compact_) {
      const std::int64_t depth = round_up(l.cin, k.depth), parts = ceil_div(l.count, kManyTiles);
      for (std::int64_t slot = 0; slot < slots_; ++slot)
        for (std::int64_t part = 0; part < parts; ++part)
          for (std::int64_t block = first; block < last; ++block) {
            const std::int64_t row = l.count * part / parts, rows = l.count * (part + 1) / parts - row;
            const E* operand = u.packed + class_of_slot_[slot] * class_step<E>(depth, cols) + block * k.block * depth;
            k.gemm(static_cast<const E*>(l.v) + slot * l.v_step + row * l.v_ld, l.v_ld, rows, operand, depth,
                   static_cast<int>(width(block)), product(l, slot, row, block - first), l.m_ld, false);
          }
    } else {
      E* slice = expanded_ + thread * expanded_size();
      for (std::int64_t block = first; block < last; ++block)
        for (std::int64_t begin = 0; begin < l.cin; begin += kSlice) {
          const std::int64_t end = std::min(l.cin, begin + kSlice), wide = width(block);
          k.expand(l.algo, u.taps, l.cin, block * k.block / k.lanes, static_cast<int>(wide), begin, end, slice);
          for (std::int64_t slot = 0; slot < slots_; ++slot)
            k.gemm(static_cast<const E*>(l.v) + slot * l.v_step + begin, l.v_ld, l.count,
                   slice + class_of_slot_[slot] * (end - begin) * wide, end - begin, static_cast<int>(wide),
                   product(l, slot, 0, block - first), l.m_ld, begin > 0);
        }
    }
    k.output(l, kind, 0, l.count);
  }

  R* product(const Layer<E>& l, std::int64_t slot, std::int64_t row, std::int64_t block) const {
    return l.m + slot * l.m_step + row * l.m_ld + block * kernels<E>().block;
  }

  // Sums that are kept by thread must meet the same thread each time, or their rounding would vary.
  template <class Body>
  static void each(std::int64_t tasks, Output kind, Pool& pool, const Body& body) {
    kind == Output::kGrad ? pool.fixed(tasks, body) : pool.dynamic(tasks, body);
  }

  template <class Body>
  static void each_share(std::int64_t count, Pool& pool, const Body& body) {
    const std::int64_t pairs = ceil_div(count, 2), shares = std::min<std::int64_t>(pairs, pool.threads());
    pool.fixed(shares, [&](std::int64_t share, int) {
      body(2 * (pairs * share / shares), std::min(count, 2 * (pairs * (share + 1) / shares)));
    });
  }

  Layer<E> layer_;
  bool for_weights_, compact_, banded_;
  int threads_;
  std::int64_t slots_, item_, group_;
  int class_of_slot_[64];
  Chunks chunks_;
  std::byte* v_ = nullptr;
  R* m_ = nullptr;
  E* expanded_ = nullptr;
  R* band_ = nullptr;
  R* panels_ = nullptr;
};

}  // namespace everface::stylegan
