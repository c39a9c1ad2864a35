// What a call holds while its kernels run: not the interpreter's lock, but the pool that all operators share.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <mutex>

#include "everface/core/pool.hpp"

namespace everface::bind {

struct Running {
  pybind11::gil_scoped_release release;
  std::shared_ptr<Pool> shared = shared_pool();
  std::unique_lock<std::mutex> owner = shared->lock();
  Pool& pool = *shared;
};

// What work returns, run without the interpreter's lock.
template <class Work>
auto released(Work&& work) {
  const pybind11::gil_scoped_release release;
  return work();
}

}  // namespace everface::bind
