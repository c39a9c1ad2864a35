// A few threads that stay, and memory that is kept between calls.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "everface/core/buffer.hpp"

namespace everface {

// Runs tasks on the calling thread and its helpers, with denormals flushed to zero. One caller at a time (see lock()).
// When a task throws, those that have not begun are left out, and the first exception goes on to the caller.
class Pool {
 public:
  using Share = std::function<void(int)>;
  // Calls share(0) ... share(shares - 1), in any order or at the same time, and returns when all have returned.
  using Launcher = std::function<void(int shares, const Share& share)>;

  explicit Pool(int threads);
  // Work for somebody else's threads.
  Pool(int shares, Launcher launcher) : launcher_(std::move(launcher)), shares_(shares) {}
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const noexcept { return launcher_ ? shares_ : static_cast<int>(helpers_.size()) + 1; }

  // body(task, thread) for 0 <= task < tasks. Tasks go to whoever is free.
  void dynamic(std::int64_t tasks, const std::function<void(std::int64_t, int)>& body);
  // The same tasks go to the same thread in each run, so that sums kept by thread are reproducible.
  void fixed(std::int64_t tasks, const std::function<void(std::int64_t, int)>& body);

  // At least that many bytes, 64-byte aligned, kept until a larger request; what they held is lost.
  std::byte* scratch(std::size_t bytes) { return scratch_.reserve(bytes); }
  std::size_t scratch_bytes() const noexcept { return scratch_.size(); }

  // Held around a sequence of runs and for as long as the scratch memory is in use.
  std::unique_lock<std::mutex> lock() { return std::unique_lock<std::mutex>(owner_); }
  // Empty where somebody else holds it.
  std::unique_lock<std::mutex> try_lock() { return std::unique_lock<std::mutex>(owner_, std::try_to_lock); }

 private:
  void help(int thread);
  void launch(std::int64_t tasks, bool fixed, const std::function<void(std::int64_t, int)>& body);
  void work(int thread) noexcept;

  std::mutex owner_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> helpers_;
  Launcher launcher_;
  int shares_ = 1;
  const std::function<void(std::int64_t, int)>* body_ = nullptr;
  std::int64_t tasks_ = 0;
  bool fixed_ = false;
  std::atomic<std::int64_t> next_{0};
  std::atomic<std::uint64_t> round_{0};
  std::atomic<int> busy_{0};
  std::atomic<bool> stop_{false};
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
  Buffer scratch_;
};

// The pool that all operators of this process share: as many threads as the process may use cores
// (everface/core/cpus.hpp), at most 16. Replaced by set_threads, and by a fresh one after a fork.
std::shared_ptr<Pool> shared_pool();
void set_threads(int threads);
int get_threads();

// work(0) ... work(n - 1) on the shared pool, where n is `members` or the number of its threads if that is less. They
// draw what there is to do from a counter of theirs: where another call holds the pool, work(0) does all of it on the
// calling thread instead of waiting.
void together(int members, const std::function<void(int)>& work);

}  // namespace everface
