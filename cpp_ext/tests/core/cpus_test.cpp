// Limits of control groups, as Linux writes them in both of its versions.
#include "everface/core/cpus.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "check.hpp"

namespace fs = std::filesystem;
using everface::cgroup_cpus;

namespace {

void write(const fs::path& file, const char* text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << text;
}

}  // namespace

int main() {
  char name[] = "/tmp/everface-cpus-XXXXXX";
  CHECK(mkdtemp(name) != nullptr);
  const fs::path root = name;
  CHECK(cgroup_cpus(root, "0::/a/b\n") == 0);

  write(root / "v2/a/b/cpu.max", "max 100000\n");
  CHECK(cgroup_cpus(root / "v2", "0::/a/b\n") == 0);
  write(root / "v2/a/cpu.max", "250000 100000\n");
  CHECK(cgroup_cpus(root / "v2", "0::/a/b\n") == 3);
  write(root / "v2/cpu.max", "50000 100000\n");
  CHECK(cgroup_cpus(root / "v2", "0::/a/b\n") == 1);
  CHECK(cgroup_cpus(root / "v2", "0::/the/host/calls/it\n") == 1);

  write(root / "v1/cpu/c/cpu.cfs_quota_us", "400000\n");
  write(root / "v1/cpu/c/cpu.cfs_period_us", "100000\n");
  write(root / "v1/cpu/d/cpu.cfs_quota_us", "-1\n");
  write(root / "v1/cpu/d/cpu.cfs_period_us", "100000\n");
  CHECK(cgroup_cpus(root / "v1", "4:memory:/x\n3:cpu,cpuacct:/c\n") == 4);
  CHECK(cgroup_cpus(root / "v1", "3:cpuacct,cpu:/d\n") == 0);
  CHECK(cgroup_cpus(root / "v1", "3:memory:/c\n") == 0);
  CHECK(cgroup_cpus(root / "v1", "nonsense") == 0);

  CHECK(everface::available_cpus() >= 1);
  fs::remove_all(root);
  return everface::test::finish();
}
