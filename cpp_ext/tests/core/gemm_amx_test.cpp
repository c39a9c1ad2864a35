// The products for AMX on emulated tiles, against double: every shape of a last block, added to or not, with operands
// as the kernels pack them. On a processor with AMX stylegan_test runs the same code on the real instructions.
#define EVERFACE_ISA emulated
#define EVERFACE_VECTOR_BYTES 64
#include "everface/core/gemm_amx.hpp"

#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "numbers.hpp"
#include "stylegan/weights.hpp"

using namespace everface;
using namespace everface::stylegan;

namespace {

int failures = 0;

// What the manual says of palette 1: tiles of at most 16 rows of 64 bytes, cleared when they are configured; a shape
// that does not fit is a fault.
struct EmulatedTiles {
  static inline core::TileConfig shape;
  static inline bool configured = false;
  static inline std::uint8_t data[8][16][64];

  static void require(bool ok, const char* what) {
    if (ok) return;
    ++failures;
    std::fprintf(stderr, "FAILED tiles: %s\n", what);
  }
  static void configure(const core::TileConfig& config) {
    shape = config, configured = true;
    require(config.palette == 1, "palette");
    for (int t = 0; t < 8; ++t) {
      require(config.rows[t] >= 1 && config.rows[t] <= 16, "rows");
      require(config.row_bytes[t] >= 4 && config.row_bytes[t] <= 64 && config.row_bytes[t] % 4 == 0, "bytes of a row");
    }
    std::memset(data, 0, sizeof data);
  }
  static void release() { configured = false; }
  template <int T>
  static void zero() {
    require(configured, "zero without a shape");
    std::memset(data[T], 0, sizeof data[T]);
  }
  template <int T>
  static void load(const void* from, std::int64_t stride) {
    require(configured, "load without a shape");
    std::memset(data[T], 0, sizeof data[T]);
    for (int r = 0; r < shape.rows[T]; ++r)
      std::memcpy(data[T][r], static_cast<const char*>(from) + r * stride, shape.row_bytes[T]);
  }
  template <int T>
  static void store(void* to, std::int64_t stride) {
    require(configured, "store without a shape");
    for (int r = 0; r < shape.rows[T]; ++r)
      std::memcpy(static_cast<char*>(to) + r * stride, data[T][r], shape.row_bytes[T]);
  }
  template <int C, int A, int B>
  static void multiply() {
    require(configured, "multiply without a shape");
    require(shape.rows[A] == shape.rows[C] && shape.row_bytes[B] == shape.row_bytes[C] &&
                shape.row_bytes[A] / 4 == shape.rows[B],
            "shapes of a product");
    for (int i = 0; i < shape.rows[C]; ++i)
      for (int k = 0; k < shape.rows[B]; ++k)
        for (int j = 0; j < shape.row_bytes[C] / 4; ++j) {
          bf16 a[2], b[2];
          float sum;
          std::memcpy(a, &data[A][i][4 * k], 4), std::memcpy(b, &data[B][k][4 * j], 4);
          std::memcpy(&sum, &data[C][i][4 * j], 4);
          sum += to_real(a[0]) * to_real(b[0]);
          sum += to_real(a[1]) * to_real(b[1]);
          std::memcpy(&data[C][i][4 * j], &sum, 4);
        }
  }
};

using AmxProducts = core::emulated::AmxProducts<EmulatedTiles>;

std::vector<bf16> normal(std::mt19937& rng, std::int64_t count) {
  std::normal_distribution<double> draw;
  std::vector<bf16> out(static_cast<std::size_t>(count));
  for (bf16& value : out) value = test::from<bf16>(draw(rng));
  return out;
}

// Sums that were wanted against those that came; those behind the last column must be as they were.
void compare(const char* what, const std::vector<float>& got, const std::vector<double>& want) {
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(got[i] - want[i]));
  if (worst < 1e-3) return;
  ++failures;
  std::fprintf(stderr, "FAILED %s: error %.3g\n", what, worst);
}

void gemm(std::mt19937& rng, std::int64_t rows, std::int64_t cin, std::int64_t cout, bool add) {
  constexpr std::int64_t multiple = everface::Products<bf16>::depth, lanes = emulated::Lanes<bf16>::count;
  const std::int64_t depth = (cin + multiple - 1) / multiple * multiple, lda = depth + 32, ldc = cout + 20;
  std::vector<bf16> a = normal(rng, rows * lda);
  std::vector<float> w;
  for (const bf16& value : normal(rng, cout * cin)) w.push_back(static_cast<float>(test::to(value)));
  std::vector<bf16> u(static_cast<std::size_t>(depth * cout));
  emulated::pack_weights<Algo::kPoint>(false, w.data(), cout, cin, u.data(), 0, (cout + 2 * lanes - 1) / (2 * lanes));
  std::vector<float> c(static_cast<std::size_t>(rows * ldc), 0.5f);
  std::vector<double> want(c.begin(), c.end());
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t o = 0; o < cout; ++o) {
      double sum = add ? 0.5 : 0;
      for (std::int64_t i = 0; i < cin; ++i)
        sum += test::to(a[static_cast<std::size_t>(r * lda + i)]) * w[static_cast<std::size_t>(o * cin + i)];
      want[static_cast<std::size_t>(r * ldc + o)] = sum;
    }
  AmxProducts::gemm(a.data(), lda, rows, u.data(), depth, static_cast<int>(cout), c.data(), ldc, add);
  compare("gemm", c, want);
}

void gemm_weight(std::mt19937& rng, std::int64_t pairs, std::int64_t cin, std::int64_t cols, bool add) {
  const std::int64_t ldv = cin + 3, ldm = cols + 16, ldc = cols + 16;
  const std::vector<bf16> v = normal(rng, 2 * pairs * ldv), m = normal(rng, 2 * pairs * ldm);
  std::vector<float> c(static_cast<std::size_t>(cin * ldc), 0.5f);
  std::vector<double> want(c.begin(), c.end());
  for (std::int64_t i = 0; i < cin; ++i)
    for (std::int64_t o = 0; o < cols; ++o) {
      double sum = add ? 0.5 : 0;
      for (std::int64_t p = 0; p < pairs; ++p)
        for (int half = 0; half < 2; ++half)
          sum += test::to(v[static_cast<std::size_t>(2 * (p * ldv + i) + half)]) *
                 test::to(m[static_cast<std::size_t>(2 * (p * ldm + o) + half)]);
      want[static_cast<std::size_t>(i * ldc + o)] = sum;
    }
  AmxProducts::gemm_weight(v.data(), ldv, m.data(), ldm, pairs, cin, cols, c.data(), ldc, add, nullptr);
  compare("gemm_weight", c, want);
}

}  // namespace

int main() {
  std::mt19937 rng(3);
  for (std::int64_t rows : {1, 7, 16, 17, 31, 32, 33, 48, 70})
    for (std::int64_t cin : {1, 32, 33, 70})
      for (std::int64_t cout : {16, 32})
        for (bool add : {false, true}) gemm(rng, rows, cin, cout, add);
  for (std::int64_t pairs : {0, 1, 15, 16, 17, 40, 129, 150})
    for (std::int64_t cin : {1, 16, 20, 32, 45})
      for (std::int64_t cols : {16, 32, 48})
        for (bool add : {false, true}) gemm_weight(rng, pairs, cin, cols, add);
  if (failures == 0) std::puts("ok");
  return failures == 0 ? 0 : 1;
}
