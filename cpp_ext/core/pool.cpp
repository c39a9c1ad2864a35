#include "everface/core/pool.hpp"

#include <algorithm>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace everface {
namespace {

// Denormals cost a hundred cycles each and mean nothing here; the caller's own mode is put back.
class [[maybe_unused]] FlushDenormals {
 public:
#if defined(__x86_64__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040u); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#elif defined(__aarch64__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" ::"r"(before_ | (1ull << 24)));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

 private:
  std::uint64_t before_;
#endif
};

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

constexpr int kSpins = 4000;  // some tens of microseconds: longer than the gap between the phases of a layer

}  // namespace

Pool::Pool(int threads) {
  for (int t = 1; t < threads; ++t) helpers_.emplace_back([this, t] { help(t); });
}

Pool::~Pool() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    stop_ = true;
    ++round_;
  }
  wake_.notify_all();
  for (auto& helper : helpers_) helper.join();
}

void Pool::help(int thread) {
  std::uint64_t seen = 0;
  for (;;) {
    for (int spin = 0; spin < kSpins && round_.load(std::memory_order_acquire) == seen; ++spin) relax();
    if (round_.load(std::memory_order_acquire) == seen) {
      std::unique_lock<std::mutex> guard(mutex_);
      wake_.wait(guard, [&] { return round_.load() != seen; });
    }
    seen = round_.load(std::memory_order_acquire);
    if (stop_) return;
    work(thread);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

void Pool::work(int thread) noexcept {
  const FlushDenormals flush;
  try {
    if (fixed_) {
      const std::int64_t begin = tasks_ * thread / threads(), end = tasks_ * (thread + 1) / threads();
      for (std::int64_t task = begin; task < end; ++task) (*body_)(task, thread);
      return;
    }
    for (std::int64_t task = next_.fetch_add(1); task < tasks_; task = next_.fetch_add(1)) (*body_)(task, thread);
  } catch (...) {
    const std::lock_guard<std::mutex> guard(failure_mutex_);
    if (!failure_) failure_ = std::current_exception();
    next_ = tasks_;
  }
}

void Pool::launch(std::int64_t tasks, bool fixed, const std::function<void(std::int64_t, int)>& body) {
  if (tasks <= 0) return;
  body_ = &body, tasks_ = tasks, fixed_ = fixed;
  next_ = 0;
  const int helpers = static_cast<int>(helpers_.size());
  if (launcher_ && shares_ > 1 && tasks > 1) {
    const std::int64_t shares = fixed ? shares_ : std::min<std::int64_t>(shares_, tasks);
    launcher_(static_cast<int>(shares), [this](int share) { work(share); });
  } else if (helpers > 0 && tasks > 1) {
    busy_ = helpers;
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      round_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    work(0);
    for (int spin = 0; busy_.load(std::memory_order_acquire) != 0; ++spin)
      spin < kSpins ? relax() : std::this_thread::yield();
  } else {
    const FlushDenormals flush;
    for (std::int64_t task = 0; task < tasks; ++task) body(task, 0);
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Pool::dynamic(std::int64_t tasks, const std::function<void(std::int64_t, int)>& body) {
  launch(tasks, false, body);
}

void Pool::fixed(std::int64_t tasks, const std::function<void(std::int64_t, int)>& body) { launch(tasks, true, body); }

}  // namespace everface
