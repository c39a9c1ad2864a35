#include "workspace.hpp"

#include <algorithm>

#include "everface/core/cpus.hpp"

namespace everface::ort {

int share_count() { return std::min(available_cpus(), 16); }

Workspace::Workspace()
    : pool(share_count(), [this](int shares, const Pool::Share& share) {
        const auto body = [](void* user, std::size_t i) {
          (*static_cast<const Pool::Share*>(user))(static_cast<int>(i));
        };
        OrtStatus* status = api->KernelContext_ParallelFor(context, body, static_cast<std::size_t>(shares), 0,
                                                           const_cast<Pool::Share*>(&share));
        Api(api).check(status);
      }) {}

std::shared_ptr<Workspaces> Workspaces::shared() {
  static std::mutex mutex;
  static std::weak_ptr<Workspaces> current;
  const std::lock_guard<std::mutex> guard(mutex);
  auto found = current.lock();
  if (!found) current = found = std::make_shared<Workspaces>();
  return found;
}

Workspaces::Lease::Lease(Workspaces& owner, const OrtApi* api, const OrtKernelContext* context) : owner_(owner) {
  {
    const std::lock_guard<std::mutex> guard(owner.mutex_);
    if (!owner.idle_.empty()) {
      workspace_ = std::move(owner.idle_.back());
      owner.idle_.pop_back();
    }
  }
  if (!workspace_) workspace_ = std::make_unique<Workspace>();
  workspace_->api = api, workspace_->context = context;
}

Workspaces::Lease::~Lease() {
  const std::lock_guard<std::mutex> guard(owner_.mutex_);
  owner_.idle_.push_back(std::move(workspace_));
}

}  // namespace everface::ort
