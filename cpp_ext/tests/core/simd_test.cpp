// Vectors and transposes of the least common set: lanes, sums, shuffles, bfloat16.
#define EVERFACE_ISA tested
#define EVERFACE_VECTOR_BYTES 16
#include "everface/core/simd.hpp"

#include <cmath>

#include "check.hpp"
#include "everface/core/transpose.hpp"

using namespace everface;
using namespace everface::core::tested;

namespace {

template <class R>
void lanes() {
  constexpr int n = kLanes<R>;
  R square[n * n], numbers[n];
  Vec<R> rows[n];
  for (int i = 0; i < n * n; ++i) square[i] = R(i);
  for (int i = 0; i < n; ++i) rows[i] = load(square + i * n);
  CHECK(sum<R>(rows[1]) == R(n * n + n * (n - 1) / 2));
  transpose<1, R>(rows);
  for (int i = 0; i < n; ++i) {
    store(numbers, rows[i]);
    for (int j = 0; j < n; ++j) CHECK(numbers[j] == square[j * n + i]);
  }
  store(numbers, load_part(square + 1, n - 1));
  CHECK(numbers[0] == R(1) && numbers[n - 1] == R(0));
  store_part(numbers, splat(R(9)), 1);
  CHECK(numbers[0] == R(9) && numbers[n - 1] == R(0));
  store(numbers, maximum(splat(R(-2)), minimum(splat(R(1)), load(square))));
  CHECK(numbers[0] == R(0) && numbers[n - 1] == R(1));
}

void bfloat16() {
  const float values[] = {1.0f, 1.00390625f, 1.01171875f, -3.0e38f, 3.4e38f, 1e-40f, INFINITY, NAN};
  for (const float value : values) {
    bf16 one[4], scalar;
    store(one, splat(value));
    from_real(value, &scalar);
    CHECK(one[0].bits == scalar.bits && one[3].bits == scalar.bits);
    const float back = to_real(scalar);
    CHECK(std::isnan(value) ? std::isnan(back)
                            : std::isinf(back) || std::abs(back - value) <= std::abs(value) / 256 + 1e-40f);
    float wide[4];
    store(wide, load(one));
    CHECK(std::isnan(value) || wide[2] == back);
  }
  CHECK(to_real(bf16{0x3f80}) == 1.0f);
}

}  // namespace

int main() {
  lanes<float>();
  lanes<double>();
  const float pair[2] = {1.5f, -2.0f};
  CHECK(sum<double>(load_wide(pair)) == -0.5);
  bfloat16();
  return test::finish();
}
