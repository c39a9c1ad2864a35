// Threads, blocks and results of a projection.
#include "everface/hull/project.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <stdexcept>

#include "everface/core/pool.hpp"
#include "prepared.hpp"

namespace everface::hull {
namespace {

// What one thread needs for its blocks.
template <class T>
struct Memory {
  Aligned<double> correlation, affine, norm2, distance2, gap, weight, scratch;
  Aligned<std::int32_t> used, index;
  Aligned<T> queries;
  Block block;

  Memory(const Prepared& hull, std::int64_t rows) {
    const View& v = hull.view;
    const auto n = static_cast<std::size_t>(rows), width = static_cast<std::size_t>(padded(v.m));
    correlation = Aligned<double>(n * width + kPad);
    affine = Aligned<double>(n * width + kPad);
    norm2 = Aligned<double>(n), distance2 = Aligned<double>(n), gap = Aligned<double>(n);
    weight = Aligned<double>(n * static_cast<std::size_t>(v.m), false);
    scratch = Aligned<double>(hull.kernels->scratch(v), false);
    used = Aligned<std::int32_t>(n);
    index = Aligned<std::int32_t>(n * static_cast<std::size_t>(v.m), false);
    queries = Aligned<T>(n * kDepth, false);
    block.correlation = correlation.get(), block.affine = affine.get();
    block.norm2 = norm2.get(), block.distance2 = distance2.get(), block.gap = gap.get();
    block.used = used.get(), block.index = index.get(), block.weight = weight.get();
    block.scratch = scratch.get(), block.queries = queries.get();
  }
};

ProjectBlock<double> block_kernel(const Kernels& k, const double*) { return k.project_f64; }
ProjectBlock<float> block_kernel(const Kernels& k, const float*) { return k.project_f32; }

// The rows that one block found, kept until all are known (sparse weights only).
template <class T>
struct Piece {
  std::vector<std::int32_t> used, index;
  std::vector<T> value;
};

template <class T>
void write_dense(const Prepared& hull, const Block& block, std::int64_t row, T* weights) {
  const std::int64_t m = hull.view.m;
  for (std::int64_t i = 0; i < block.count; ++i) {
    T* to = weights + (row + i) * m;
    std::fill(to, to + m, static_cast<T>(0.0 - hull.beta));
    for (std::int32_t a = 0; a < block.used[i]; ++a) {
      to[block.index[i * m + a]] = static_cast<T>(hull.stretch * block.weight[i * m + a] - hull.beta);
    }
  }
}

template <class T>
void keep_sparse(const Prepared& hull, const Block& block, Piece<T>& piece) {
  const std::int64_t m = hull.view.m;
  for (std::int64_t i = 0; i < block.count; ++i) {
    piece.used.push_back(block.used[i]);
    for (std::int32_t a = 0; a < block.used[i]; ++a) {
      piece.index.push_back(block.index[i * m + a]);
      piece.value.push_back(static_cast<T>(hull.stretch * block.weight[i * m + a]));
    }
  }
}

template <class T>
void join(std::vector<Piece<T>>& pieces, SparseWeights<T>& out) {
  out.start.assign(1, 0);
  out.index.clear(), out.value.clear();
  for (Piece<T>& piece : pieces) {
    for (const std::int32_t used : piece.used) out.start.push_back(out.start.back() + used);
    out.index.insert(out.index.end(), piece.index.begin(), piece.index.end());
    out.value.insert(out.value.end(), piece.value.begin(), piece.value.end());
    piece = Piece<T>();
  }
}

// Waking threads takes longer than this much arithmetic.
int worth(int threads, const View& v, std::int64_t n) { return n * v.m * (v.d + 4 * v.m) < 4000000 ? 1 : threads; }

void note_not_finite(std::atomic<std::int64_t>& first, std::int64_t row) {
  std::int64_t seen = first.load();
  while ((seen < 0 || row < seen) && !first.compare_exchange_weak(seen, row)) {
  }
}

}  // namespace

template <class T>
void project(const Prepared& hull, const T* queries, std::int64_t n, std::int64_t ld, const Options& options,
             Result<T>& result) {
  if (hull.item != static_cast<int>(sizeof(T))) throw std::invalid_argument("queries: expected the vertices' type");
  if (n < 0 || (ld < hull.view.d && n > 1)) throw std::invalid_argument("queries: expected rows that do not overlap");
  const View& v = hull.view;
  const int team = worth(std::max(1, options.threads), v, n);
  std::int64_t rows = v.m > 512 ? 32 : 64;
  // Fewer rows a block where the queries would not occupy all threads otherwise.
  rows = std::max<std::int64_t>(1, std::min(rows, (n + team - 1) / team));
  const std::int64_t blocks = (n + rows - 1) / rows;
  const int threads = static_cast<int>(std::max<std::int64_t>(1, std::min<std::int64_t>(team, blocks)));
  std::vector<Piece<T>> pieces(result.sparse ? static_cast<std::size_t>(blocks) : 0);
  std::atomic<std::int64_t> next{0}, not_finite{-1};
  const auto kernel = block_kernel(*hull.kernels, queries);

  together(threads, [&](int) {
    Memory<T> memory(hull, rows);
    Block& block = memory.block;
    std::int64_t wait = 0;  // blocks to go before the affine hull is tried again
    for (std::int64_t b; (b = next.fetch_add(1)) < blocks;) {
      const std::int64_t row = b * rows;
      block.count = std::min(rows, n - row);
      block.use_affine = wait-- <= 0;
      kernel(v, queries + row * ld, ld, options.tolerance, block);
      if (block.use_affine) wait = block.affine_hits * 16 > block.count ? 0 : 16;
      for (std::int64_t i = 0; i < block.count; ++i) {
        if (!(block.norm2[i] < 1e300)) note_not_finite(not_finite, row + i);
        if (result.distance) result.distance[row + i] = static_cast<T>(std::sqrt(block.distance2[i]) * hull.unscale);
        if (result.gap) result.gap[row + i] = block.gap[i];
      }
      if (result.weights) write_dense(hull, block, row, result.weights);
      if (result.sparse) keep_sparse(hull, block, pieces[static_cast<std::size_t>(b)]);
    }
  });
  if (result.sparse) join(pieces, *result.sparse);
  result.first_not_finite = not_finite.load();
}

template void project(const Prepared&, const float*, std::int64_t, std::int64_t, const Options&, Result<float>&);
template void project(const Prepared&, const double*, std::int64_t, std::int64_t, const Options&, Result<double>&);

}  // namespace everface::hull
