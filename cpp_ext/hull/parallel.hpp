// The smallest thread team that does the job.
#pragma once

#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

namespace everface::hull {

// Runs work(id) for id in 0..threads-1, the caller's thread included; an exception in any of them is thrown here.
template <class Work>
void parallel(int threads, Work work) {
  if (threads <= 1) {
    work(0);
    return;
  }
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(threads));
  auto guarded = [&](int id) {
    try {
      work(id);
    } catch (...) {
      failures[static_cast<std::size_t>(id)] = std::current_exception();
    }
  };
  std::vector<std::thread> team;
  team.reserve(static_cast<std::size_t>(threads) - 1);
  for (int id = 1; id < threads; ++id) team.emplace_back(guarded, id);
  guarded(0);
  for (std::thread& one : team) one.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace everface::hull
