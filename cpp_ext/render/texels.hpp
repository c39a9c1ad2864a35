// The decoder's first layer on the texels of a field, and its adjoint.
#pragma once

#include "everface/core/gemm.hpp"
#include "kernels.hpp"
#include "math.hpp"

namespace everface::render {
namespace EVERFACE_ISA {

// Rows of a field's planes, added up: where number (feature, column) of row `row` is, and how far features are apart.
template <class R>
struct PlaneRows {
  const R* at;
  std::int64_t feature_step, row_step;
};

template <class R>
inline PlaneRows<R> gather_rows(const Scene<R>& scene, const Field<R>& field, std::int64_t first, std::int64_t last,
                                R* buffer) {
  const std::int64_t size = scene.height * scene.width, top = field.top + first;
  if (field.count == 1 && !field.transposed[0]) {
    const R* plane = scene.planes + field.sources[0] * scene.features * size;
    return {plane + top * scene.width + field.left, size, scene.width};
  }
  const std::int64_t row_step = scene.features * field.columns;
  for (int source = 0; source < field.count; ++source) {
    for (std::int64_t f = 0; f < scene.features; ++f) {
      const R* plane = scene.planes + (field.sources[source] * scene.features + f) * size;
      const bool turned = field.transposed[source];
      const std::int64_t along = turned ? scene.width : 1, across = turned ? 1 : scene.width;
      const R* from = plane + top * across + field.left * along;
      for (std::int64_t x = 0; x < field.columns; ++x) {
        for (std::int64_t y = 0; y < last - first; ++y) {
          R& to = buffer[y * row_step + f * field.columns + x];
          const R value = from[y * across + x * along];
          to = source == 0 ? value : to + value;
        }
      }
    }
  }
  return {buffer, field.columns, row_step};
}

template <class R>
void texels(const Scene<R>& scene, const Field<R>& field, std::int64_t first, std::int64_t last, R* buffer) {
  const PlaneRows<R> rows = gather_rows(scene, field, first, last, buffer);
  for (std::int64_t y = first; y < last; ++y) {
    multiply<R>(rows.at + (y - first) * rows.row_step, 1, rows.feature_step, field.columns, scene.first, scene.hpad,
                scene.features, scene.hpad, nullptr, 0, field.texels + y * field.columns * scene.hpad, scene.hpad);
  }
}

// Writes the gradient of one row of texels [columns, fpad] to all planes of the field.
template <class R>
inline void spread_row(const Scene<R>& scene, const Field<R>& field, std::int64_t y, const R* row, R* planes) {
  const std::int64_t size = scene.height * scene.width;
  for (int source = 0; source < field.count; ++source) {
    const bool turned = field.transposed[source];
    const std::int64_t along = turned ? scene.width : 1, across = turned ? 1 : scene.width;
    R* to = planes + field.sources[source] * scene.features * size + (field.top + y) * across + field.left * along;
    for (std::int64_t f = 0; f < scene.features; ++f)
      for (std::int64_t x = 0; x < field.columns; ++x) to[f * size + x * along] = row[x * scene.fpad + f];
  }
}

template <class R>
void texels_back(const Scene<R>& scene, const Field<R>& field, std::int64_t first, std::int64_t last, R* buffer,
                 R* planes, Sums<R>* sums) {
  R* const row = buffer + kRows * scene.features * field.columns;
  const PlaneRows<R> rows = gather_rows(scene, field, first, last, buffer);
  for (std::int64_t y = first; y < last; ++y) {
    const R* gradient = field.gradient + y * field.columns * scene.hpad;
    multiply<R>(rows.at + (y - first) * rows.row_step, rows.feature_step, 1, scene.features, gradient, scene.hpad,
                field.columns, scene.hpad, sums->first, scene.hpad, sums->first, scene.hpad);
    if (planes == nullptr) continue;
    multiply<R>(gradient, scene.hpad, 1, field.columns, scene.first_back, scene.fpad, scene.hidden, scene.fpad, nullptr,
                0, row, scene.fpad);
    spread_row(scene, field, y, row, planes);
  }
}

}  // namespace EVERFACE_ISA
}  // namespace everface::render
