// The pool that all rooms of a process share.
#include <pthread.h>

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "everface/core/cpus.hpp"
#include "everface/core/pool.hpp"
#include "openmp.hpp"

namespace everface {
namespace {

std::mutex shared_mutex;
std::shared_ptr<Pool>* shared = nullptr;
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
    shared = new std::shared_ptr<Pool>(make_pool(std::min(available_cpus(), 16)));
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

void together(int members, const std::function<void(int)>& work) {
  if (members <= 1) return work(0);
  const std::shared_ptr<Pool> pool = shared_pool();
  const std::unique_lock<std::mutex> lock = pool->try_lock();
  if (!lock) return work(0);
  pool->dynamic(std::min(members, pool->threads()), [&](std::int64_t member, int) { work(static_cast<int>(member)); });
}

}  // namespace everface
