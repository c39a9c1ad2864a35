// Scratch memory and the session's own threads, for the duration of one operator.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "api.hpp"
#include "everface/core/pool.hpp"

namespace everface::ort {

// What one running operator needs. Its pool owns scratch memory but no threads: work goes to those of the session, so
// that its thread count is kept and no two sets of threads fight for the cores.
struct Workspace {
  Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  const OrtApi* api = nullptr;
  const OrtKernelContext* context = nullptr;
  Pool pool;
};

// Workspaces are kept from layer to layer and image to image, one for each operator that runs at the same time, and
// freed with the last kernel.
class Workspaces {
 public:
  static std::shared_ptr<Workspaces> shared();

  class Lease {
   public:
    Lease(Workspaces& owner, const OrtApi* api, const OrtKernelContext* context);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Pool& pool() { return workspace_->pool; }

   private:
    Workspaces& owner_;
    std::unique_ptr<Workspace> workspace_;
  };

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> idle_;
};

// As many shares as the machine has cores for this process: a session with fewer threads runs several one by one.
int share_count();

}  // namespace everface::ort
