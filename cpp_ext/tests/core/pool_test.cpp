// The thread pool: every task once, fixed shares, failures, other people's threads, many callers, and a fork.
#include "everface/core/pool.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"

using everface::Pool;

namespace {

void each_task_runs_once(Pool& pool) {
  for (const std::int64_t tasks : {0, 1, 2, 7, 1000}) {
    std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));
    pool.dynamic(tasks, [&](std::int64_t task, int) { ++runs[static_cast<std::size_t>(task)]; });
    pool.fixed(tasks, [&](std::int64_t task, int) { ++runs[static_cast<std::size_t>(task)]; });
    for (const auto& count : runs) CHECK(count == 2);
  }
}

void fixed_tasks_keep_their_thread(Pool& pool) {
  std::vector<int> first(100), second(100);
  pool.fixed(100, [&](std::int64_t task, int thread) { first[static_cast<std::size_t>(task)] = thread; });
  pool.fixed(100, [&](std::int64_t task, int thread) { second[static_cast<std::size_t>(task)] = thread; });
  CHECK(first == second);
}

void a_failure_reaches_the_caller(Pool& pool) {
  for (int round = 0; round < 3; ++round) {
    std::string caught;
    try {
      pool.dynamic(50, [](std::int64_t task, int) {
        if (task == 3) throw std::runtime_error("task 3");
      });
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    CHECK(caught == "task 3");
    each_task_runs_once(pool);  // and the pool goes on
  }
}

void threads_of_somebody_else() {
  Pool pool(3, [](int shares, const Pool::Share& share) {
    std::vector<std::thread> team;
    for (int i = 0; i < shares; ++i) team.emplace_back(share, i);
    for (std::thread& member : team) member.join();
  });
  CHECK(pool.threads() == 3);
  each_task_runs_once(pool);
  fixed_tasks_keep_their_thread(pool);
  a_failure_reaches_the_caller(pool);
}

// Callers that find the shared pool busy do their work themselves.
void many_callers() {
  std::atomic<int> done{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        std::atomic<int> next{0}, sum{0};
        everface::together(8, [&](int) {
          for (int i; (i = next.fetch_add(1)) < 20;) sum += i;
        });
        if (sum == 190) ++done;
      }
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(done == 200);
}

void scratch_is_kept() {
  Pool pool(1);
  std::byte* const small = pool.scratch(100);
  CHECK(reinterpret_cast<std::uintptr_t>(small) % 64 == 0);
  CHECK(pool.scratch(50) == small);
  CHECK(pool.scratch_bytes() >= 100);
}

#if !defined(__SANITIZE_THREAD__)  // which does not follow a fork
void a_child_gets_threads_of_its_own() {
  everface::set_threads(2);
  const pid_t child = fork();
  if (child == 0) {
    std::atomic<int> sum{0};
    everface::shared_pool()->dynamic(10, [&](std::int64_t task, int) { sum += static_cast<int>(task); });
    _exit(sum == 45 ? 0 : 1);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
#endif

}  // namespace

int main() {
  for (const int threads : {1, 2, 5}) {
    Pool pool(threads);
    CHECK(pool.threads() == threads);
    each_task_runs_once(pool);
    fixed_tasks_keep_their_thread(pool);
    a_failure_reaches_the_caller(pool);
  }
  threads_of_somebody_else();
  everface::set_threads(3);
  CHECK(everface::get_threads() == 3);
  many_callers();
  scratch_is_kept();
#if !defined(__SANITIZE_THREAD__)
  a_child_gets_threads_of_its_own();
#endif
  return everface::test::finish();
}
