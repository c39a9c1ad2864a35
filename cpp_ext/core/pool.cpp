#include "everface/core/pool.hpp"

#include <pthread.h>

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "openmp.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace everface {
namespace {

// Denormals cost a hundred cycles each and mean nothing here; the caller's own mode is put back.
class FlushDenormals {
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

void Pool::work(int thread) {
  const FlushDenormals flush;
  if (fixed_) {
    const std::int64_t begin = tasks_ * thread / threads(), end = tasks_ * (thread + 1) / threads();
    for (std::int64_t task = begin; task < end; ++task) (*body_)(task, thread);
    return;
  }
  for (std::int64_t task = next_.fetch_add(1); task < tasks_; task = next_.fetch_add(1)) (*body_)(task, thread);
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
}

void Pool::dynamic(std::int64_t tasks, const std::function<void(std::int64_t, int)>& body) {
  launch(tasks, false, body);
}

void Pool::fixed(std::int64_t tasks, const std::function<void(std::int64_t, int)>& body) { launch(tasks, true, body); }

namespace {

std::mutex shared_mutex;
std::shared_ptr<Pool>* shared = nullptr;

int default_threads() {
  const unsigned cores = std::thread::hardware_concurrency();
  return cores == 0 ? 1 : static_cast<int>(cores < 16 ? cores : 16);
}

bool forked = false;

// OpenMP's threads do not survive a fork, and its next team would wait for them for ever.
std::shared_ptr<Pool> make_pool(int threads) {
  if (Pool::Launcher openmp = forked ? Pool::Launcher() : openmp_launcher())
    return std::make_shared<Pool>(threads, std::move(openmp));
  return std::make_shared<Pool>(threads);
}

// The child of a fork has no helpers: it leaves the parent's pool alone and starts its own.
void forget_pool() {
  forked = true;
  shared = nullptr;
  new (&shared_mutex) std::mutex;
}

}  // namespace

std::shared_ptr<Pool> shared_pool() {
  const std::lock_guard<std::mutex> guard(shared_mutex);
  if (shared == nullptr) {
    static const int registered = pthread_atfork(nullptr, nullptr, forget_pool);
    (void)registered;
    shared = new std::shared_ptr<Pool>(make_pool(default_threads()));
  }
  return *shared;
}

void set_threads(int threads) {
  if (shared_pool()->threads() == threads) return;
  auto fresh = make_pool(std::max(threads, 1));
  const std::lock_guard<std::mutex> guard(shared_mutex);
  shared->swap(fresh);
}

int get_threads() { return shared_pool()->threads(); }

}  // namespace everface
