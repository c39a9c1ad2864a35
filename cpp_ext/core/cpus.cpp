#include "everface/core/cpus.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>
#if defined(__linux__)
#include <sched.h>
#endif

namespace everface {
namespace {

std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

int whole_cpus(double quota, double period) {
  if (!(quota > 0) || !(period > 0)) return 0;
  return static_cast<int>(std::clamp((quota + period - 1) / period, 1.0, 1e6));
}

// Version 2 has both numbers in one file ("max 100000" is no limit), version 1 in two (-1 is none).
int limit_of(const std::string& group) {
  std::istringstream both(contents(group + "/cpu.max"));
  std::string quota;
  double period = 0;
  if (both >> quota >> period) return quota == "max" ? 0 : whole_cpus(std::strtod(quota.c_str(), nullptr), period);
  const std::string first = contents(group + "/cpu.cfs_quota_us"), second = contents(group + "/cpu.cfs_period_us");
  return whole_cpus(std::strtod(first.c_str(), nullptr), std::strtod(second.c_str(), nullptr));
}

int smaller(int a, int b) { return a == 0 || (b != 0 && b < a) ? b : a; }

int affinity_cpus() {
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

int cgroup_cpus(const std::string& root, const std::string& membership) {
  int limit = 0;
  std::istringstream lines(membership);
  for (std::string line; std::getline(lines, line);) {  // number:controllers:path
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool ours = controllers.empty() || ("," + controllers + ",").find(",cpu,") != std::string::npos;
    if (!ours) continue;
    const std::string base = controllers.empty() ? root : root + "/cpu";
    // In a container the path may be that of the host; the group itself is then mounted at the root.
    for (std::string path = line.substr(second + 1);; path.resize(path.rfind('/'))) {
      limit = smaller(limit, limit_of(base + path));
      if (path.rfind('/') == std::string::npos) break;
    }
  }
  return limit;
}

int available_cpus() {
  const int affine = std::max(affinity_cpus(), 1);
#if defined(__linux__)
  return std::max(smaller(affine, cgroup_cpus("/sys/fs/cgroup", contents("/proc/self/cgroup"))), 1);
#else
  return affine;
#endif
}

}  // namespace everface
