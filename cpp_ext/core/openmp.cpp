#include "openmp.hpp"

#include <algorithm>
#include <atomic>
#if defined(__linux__)
#include <dlfcn.h>
#endif

namespace everface {
namespace {

// libgomp's interface to compilers: body(data) on each thread of a team of that size.
using Parallel = void (*)(void (*body)(void*), void* data, unsigned threads, unsigned flags);
using MaxThreads = int (*)();

struct OpenMp {
  Parallel parallel = nullptr;
  MaxThreads max_threads = nullptr;
};

OpenMp loaded_openmp() {
  OpenMp found;
#if defined(__linux__)
  void* library = dlopen("libgomp.so.1", RTLD_LAZY | RTLD_NOLOAD);  // only if it is loaded; it then stays loaded
  if (library == nullptr) return found;
  found.parallel = reinterpret_cast<Parallel>(dlsym(library, "GOMP_parallel"));
  found.max_threads = reinterpret_cast<MaxThreads>(dlsym(library, "omp_get_max_threads"));
#endif
  return found;
}

// A team may be larger than asked for, or smaller: whoever comes takes the next share.
struct Round {
  const Pool::Share& share;
  int shares;
  std::atomic<int> next{0};

  static void work(void* data) {
    auto& round = *static_cast<Round*>(data);
    for (int i = round.next.fetch_add(1); i < round.shares; i = round.next.fetch_add(1)) round.share(i);
  }
};

}  // namespace

Pool::Launcher openmp_launcher() {
  const OpenMp openmp = loaded_openmp();
  if (openmp.parallel == nullptr || openmp.max_threads == nullptr) return {};
  return [openmp](int shares, const Pool::Share& share) {
    Round round{share, shares};
    // Never fewer than the team that PyTorch's operators use: another size would make and end threads at each change.
    openmp.parallel(Round::work, &round, static_cast<unsigned>(std::max(shares, openmp.max_threads())), 0);
  };
}

}  // namespace everface
