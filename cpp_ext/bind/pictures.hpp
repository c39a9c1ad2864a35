// Named arrays and pictures from Python, copied.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "array.hpp"
#include "everface/perceptual.hpp"

namespace everface::bind {

inline Tensors tensors_of(const py::dict& arrays) {
  Tensors tensors;
  for (const auto& item : arrays) {
    const auto name = py::cast<std::string>(item.first);
    const Array array(name, py::reinterpret_borrow<py::object>(item.second));
    const float* values = array.read<float>();
    tensors[name] = {array.shape(), {values, values + array.elements()}};
  }
  return tensors;
}

// Pictures [n, side, side, colours] as planes [n, colours, side, side].
struct Pictures {
  std::int64_t count, side, colours;
  std::vector<float> planes;

  Pictures(const char* name, const py::object& object) {
    const Array array(name, object);
    if (array.rank() != 4) array.refuse("float32 [n, side, side, colours]");
    count = array.size(0), side = array.size(1), colours = array.size(3);
    const float* from = array.read<float>({"n", side, side, "colours"});
    const std::int64_t pixels = side * side;
    planes.resize(static_cast<std::size_t>(array.elements()));
    for (std::int64_t i = 0; i < count; ++i)
      for (std::int64_t p = 0; p < pixels; ++p)
        for (std::int64_t c = 0; c < colours; ++c)
          planes[static_cast<std::size_t>((i * colours + c) * pixels + p)] = *from++;
  }
};

}  // namespace everface::bind
