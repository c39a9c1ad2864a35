// Whether AMX may be used: the processor has it, the system saves its tiles, and a small product comes out right.
// Compiled for AMX, and called only where the processor has the AVX-512 that comes with it.
#if defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "everface/core/gemm.hpp"
#include "everface/core/gemm_amx.hpp"

namespace everface {

bool amx_ready();

namespace {

bool permitted() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kSaves = 1u << 27, kTiles = 1u << 24, kBf16 = 1u << 22;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & kSaves)) return false;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kTiles) == 0 || (d & kBf16) == 0) return false;
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned kTileState = 3u << 17;  // of XCR0: configuration and data
  if ((low & kTileState) != kTileState) return false;
  constexpr int kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, of Linux 5.16 and later
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
#else
  return false;
#endif
}

bf16 number(int seed) {  // in [-1, 1), exact in bfloat16
  const float value = static_cast<float>((seed * 37 + 11) % 64) / 32.0f - 1.0f;
  std::uint32_t word;
  std::memcpy(&word, &value, sizeof word);
  return bf16{static_cast<std::uint16_t>(word >> 16)};
}

// The kernels have to agree before they are chosen: a picture that is wrong is worse than one that is late.
bool agrees() {
  constexpr int kRows = 21, kDepth = 64, kCols = 32;
  bf16 a[kRows * kDepth], u[kDepth * kCols];
  for (int i = 0; i < kRows * kDepth; ++i) a[i] = number(i);
  for (int i = 0; i < kDepth * kCols; ++i) u[i] = number(5 * i + 1);
  float tiles[kRows * kCols], vectors[kRows * kCols];
  core::amx::AmxProducts<core::AmxTiles>::gemm(a, kDepth, kRows, u, kDepth, kCols, tiles, kCols, false);
  core::amx::gemm<bf16>(a, kDepth, kRows, u, kDepth, kCols, vectors, kCols, false);
  for (int i = 0; i < kRows * kCols; ++i) {
    const float difference = tiles[i] - vectors[i];
    if (!(difference <= 1e-3f && difference >= -1e-3f)) return false;
  }
  return true;
}

}  // namespace

bool amx_ready() { return permitted() && agrees(); }

}  // namespace everface
