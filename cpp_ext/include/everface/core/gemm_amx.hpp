// The matrix products of gemm.hpp in bfloat16, on tiles of 16 rows by 16 pairs: two by two tiles of sums, so that each
// tile that is loaded is used twice. Tiles is AmxTiles, or what emulates it.
#pragma once

#include <algorithm>

#include "everface/core/amx_tiles.hpp"
#include "everface/core/simd.hpp"
#include "everface/core/transpose.hpp"

namespace everface::core {
namespace EVERFACE_ISA {

static_assert(EVERFACE_VECTOR_BYTES == 64, "a vector is a row of a tile");

template <class Tiles>
class AmxProducts {
 public:
  // As Kernels<bf16>::gemm.
  static void gemm(const bf16* a, std::int64_t lda, std::int64_t rows, const bf16* u, std::int64_t depth, int cols,
                   float* c, std::int64_t ldc, bool add) {
    const bool two = cols > kSide;
    const std::int64_t row = two ? 128 : 64;  // bytes of a packed pair of rows
    const std::int64_t blocks = (rows + 2 * kSide - 1) / (2 * kSide);
    for (std::int64_t i = 0; i < blocks;
         ++i) {  // as equal as possible: an almost empty tile costs as much as a full one
      const std::int64_t begin = rows * i / blocks, count = rows * (i + 1) / blocks - begin;
      product({bytes(a + begin * lda), 2 * lda, 64}, {bytes(u), row, kSide * row}, depth / 2, Block(count, two),
              c + begin * ldc, ldc, add);
    }
    Tiles::release();
  }

  // As Kernels<bf16>::gemm_weight. Its first operand has the pairs in rows, where the instruction wants them in
  // columns: squares of 16 by 16 pairs are turned, once for all columns.
  static void gemm_weight(const void* v, std::int64_t ldv, const void* m, std::int64_t ldm, std::int64_t rows,
                          std::int64_t cin, std::int64_t cols, float* c, std::int64_t ldc, bool add, float* /*panel*/) {
    const float *pairs = static_cast<const float*>(v), *other = static_cast<const float*>(m);
    alignas(64) float turned[kSlab * 2 * kSide];
    std::int64_t begin = 0;
    do {
      const std::int64_t count = std::min<std::int64_t>(kSlab, rows - begin);
      for (std::int64_t i = 0; i < cin; i += 2 * kSide) {
        const Block high(cin - i, true);
        turn(pairs + begin * ldv + i, ldv, count, high.rows(), turned);
        for (std::int64_t j = 0; j < cols; j += 2 * kSide)
          product({bytes(turned), 64, 64 * high.rows()}, {bytes(other + begin * ldm + j), 4 * ldm, kSide * 4 * ldm},
                  count, Block(high.rows(), cols - j > kSide), c + i * ldc + j, ldc, add || begin > 0);
      }
      begin += count;
    } while (begin < rows);
    Tiles::release();
  }

 private:
  static constexpr int kSide = 16;            // rows of a tile, pairs in a row, sums in a row
  static constexpr std::int64_t kSlab = 128;  // pairs whose turned squares stay in the first-level cache

  // Where an operand lies: bytes from row to row, and from one step of 16 pairs to the next.
  struct Operand {
    const char* at;
    std::int64_t stride, step;
  };

  // Up to two tiles of rows, and one or two of columns.
  struct Block {
    int high, low;
    bool two;
    Block(std::int64_t count, bool both) : two(both) {
      const int all = static_cast<int>(std::min<std::int64_t>(count, 2 * kSide));
      high = all > kSide ? (all + 1) / 2 : all, low = all - high;
    }
    int rows() const { return high + low; }
  };

  template <class T>
  static const char* bytes(const T* p) {
    return reinterpret_cast<const char*>(p);
  }

  // Changing the shape of tiles clears them, so a last, narrower step begins from the sums in memory.
  static void product(Operand a, Operand b, std::int64_t pairs, Block block, float* c, std::int64_t ldc, bool add) {
    const std::int64_t steps = pairs / kSide;
    const int rest = static_cast<int>(pairs % kSide);
    if (steps > 0 || rest == 0) by_block(a, b, steps, kSide, block, c, ldc, add);
    if (rest == 0) return;
    a.at += steps * a.step, b.at += steps * b.step;
    by_block(a, b, 1, rest, block, c, ldc, add || steps > 0);
  }

  static void by_block(Operand a, Operand b, std::int64_t steps, int pairs, Block block, float* c, std::int64_t ldc,
                       bool add) {
    configure(block, pairs);
    if (block.low)
      block.two ? sums<true, true>(a, b, steps, block.high, c, ldc, add)
                : sums<true, false>(a, b, steps, block.high, c, ldc, add);
    else
      block.two ? sums<false, true>(a, b, steps, block.high, c, ldc, add)
                : sums<false, false>(a, b, steps, block.high, c, ldc, add);
  }

  // Tiles 0 to 3 are sums, 4 and 5 hold the upper and the lower rows of a, 6 and 7 the columns of b.
  static void configure(Block block, int pairs) {
    TileConfig config;
    const int low = std::max(block.low, 1);  // a tile without rows is no shape
    const int rows[8] = {block.high, block.high, low, low, block.high, low, pairs, pairs};
    for (int tile = 0; tile < 8; ++tile) {
      config.rows[tile] = static_cast<std::uint8_t>(rows[tile]);
      config.row_bytes[tile] = static_cast<std::uint16_t>(tile == 4 || tile == 5 ? 4 * pairs : 64);
    }
    Tiles::configure(config);
  }

  template <bool Low, bool Two>
  static void sums(Operand a, Operand b, std::int64_t steps, int high, float* c, std::int64_t ldc, bool add) {
    float* const lower = c + high * ldc;
    if (add) {
      Tiles::template load<0>(c, 4 * ldc);
      if constexpr (Two) Tiles::template load<1>(c + kSide, 4 * ldc);
      if constexpr (Low) Tiles::template load<2>(lower, 4 * ldc);
      if constexpr (Low && Two) Tiles::template load<3>(lower + kSide, 4 * ldc);
    } else {
      Tiles::template zero<0>();
      if constexpr (Two) Tiles::template zero<1>();
      if constexpr (Low) Tiles::template zero<2>();
      if constexpr (Low && Two) Tiles::template zero<3>();
    }
    for (std::int64_t k = 0; k < steps; ++k, a.at += a.step, b.at += b.step) {
      Tiles::template load<4>(a.at, a.stride);
      Tiles::template load<6>(b.at, b.stride);
      Tiles::template multiply<0, 4, 6>();
      if constexpr (Two) Tiles::template load<7>(b.at + 64, b.stride);
      if constexpr (Two) Tiles::template multiply<1, 4, 7>();
      if constexpr (Low) Tiles::template load<5>(a.at + high * a.stride, a.stride);
      if constexpr (Low) Tiles::template multiply<2, 5, 6>();
      if constexpr (Low && Two) Tiles::template multiply<3, 5, 7>();
    }
    Tiles::template store<0>(c, 4 * ldc);
    if constexpr (Two) Tiles::template store<1>(c + kSide, 4 * ldc);
    if constexpr (Low) Tiles::template store<2>(lower, 4 * ldc);
    if constexpr (Low && Two) Tiles::template store<3>(lower + kSide, 4 * ldc);
  }

  // to[step][channel][16 pairs] = from[pair][channel], both of pairs.
  static void turn(const float* from, std::int64_t ld, std::int64_t pairs, int channels, float* to) {
    for (std::int64_t p = 0; p < pairs; p += kSide, to += channels * kSide) {
      for (int i = 0; i < channels; i += kSide) {
        const int wide = std::min(kSide, channels - i);
        Vec<float> square[kSide];
        for (int r = 0; r < kSide; ++r)
          square[r] = p + r < pairs ? load_part(from + (p + r) * ld + i, wide) : Vec<float>{};
        transpose<1, float>(square);
        for (int r = 0; r < wide; ++r) store(to + (i + r) * kSide, square[r]);
      }
    }
  }
};

}  // namespace EVERFACE_ISA
}  // namespace everface::core
