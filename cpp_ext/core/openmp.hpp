// The threads of OpenMP, where this process already has some.
#pragma once

#include "everface/core/pool.hpp"

namespace everface {

// Runs shares on libgomp's threads if a library such as PyTorch has loaded it; empty otherwise. Its threads go on
// turning for milliseconds after each of PyTorch's operators, in case more work comes: threads of our own would have to
// share the cores with them.
Pool::Launcher openmp_launcher();

}  // namespace everface
