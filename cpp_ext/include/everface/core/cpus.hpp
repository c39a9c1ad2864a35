// How many cores this process may use.
#pragma once

#include <string>

namespace everface {

// At least 1: the cores of the scheduling affinity, or fewer where a control group of Linux (version 1 or 2) grants
// less processor time than that of so many cores. A part of a core counts as a whole one.
int available_cpus();

// The limit of the control groups that `membership` (the contents of /proc/self/cgroup) names, below `root`
// (/sys/fs/cgroup): the least of a group's and its parents', or 0 where there is none.
int cgroup_cpus(const std::string& root, const std::string& membership);

}  // namespace everface
