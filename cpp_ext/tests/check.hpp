// What a test without a framework needs.
#pragma once

#include <cstdio>
#include <random>
#include <vector>

namespace everface::test {

inline int& failures() {
  static int count = 0;
  return count;
}

inline void check(bool ok, const char* what, const char* file, int line) {
  if (ok) return;
  std::printf("%s:%d: %s\n", file, line, what);
  ++failures();
}

#define CHECK(condition) everface::test::check(static_cast<bool>(condition), #condition, __FILE__, __LINE__)

inline std::vector<double> gaussian(std::size_t count, unsigned seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal;
  std::vector<double> values(count);
  for (double& value : values) value = normal(engine);
  return values;
}

inline int finish() {
  if (failures()) std::printf("%d checks failed\n", failures());
  return failures() ? 1 : 0;
}

}  // namespace everface::test
