// The memory behind a pool of latents.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "everface/hull/project.hpp"
#include "prepared.hpp"

namespace everface::hull {

class Pool {
 public:
  std::shared_ptr<const Prepared> prepared;  // its vertices are the pool's latents
  std::vector<std::int32_t> group;
  std::int32_t groups = 0;
  std::vector<double> spread;
  std::vector<std::int64_t> group_size;

  double inner(std::int64_t i, std::int64_t j) const {
    const View& v = prepared->view;
    return v.gram[i * v.ld_gram + j] - v.shift;
  }
  std::int64_t size() const { return prepared->view.m; }
};

}  // namespace everface::hull
