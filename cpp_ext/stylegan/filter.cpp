#include "everface/filter.hpp"

#include <algorithm>
#include <cstring>

#include "filter_kernels.hpp"
#include "layer.hpp"

namespace everface::stylegan {

#define EVERFACE_DECLARE(isa)           \
  namespace isa {                       \
  FilterKernels<float> float_filters(); \
  FilterKernels<bf16> bf16_filters();   \
  }
EVERFACE_DECLARE(base)
namespace base {
FilterKernels<double> double_filters();
}
#if defined(EVERFACE_X86_KERNELS)
EVERFACE_DECLARE(avx2)
EVERFACE_DECLARE(avx512)
#endif

// The sets that have more instructions for products only (avx512bf16, amx) have no filters of their own.
template <>
const FilterKernels<float>& filter_kernels<float>() {
  static const auto table = choose_kernels<FilterKernels<float>>({
      {Isa::kBase, base::float_filters},
#if defined(EVERFACE_X86_KERNELS)
      {Isa::kAvx2, avx2::float_filters},
      {Isa::kAvx512, avx512::float_filters},
#endif
  });
  return table;
}

template <>
const FilterKernels<bf16>& filter_kernels<bf16>() {
  static const auto table = choose_kernels<FilterKernels<bf16>>({
      {Isa::kBase, base::bf16_filters},
#if defined(EVERFACE_X86_KERNELS)
      {Isa::kAvx2, avx2::bf16_filters},
      {Isa::kAvx512, avx512::bf16_filters},
#endif
  });
  return table;
}

template <>
const FilterKernels<double>& filter_kernels<double>() {
  static const FilterKernels<double> table = base::double_filters();
  return table;
}

namespace {

constexpr std::int64_t kShare = 1 << 14;  // elements of a task

std::int64_t tasks_of(std::int64_t count, std::int64_t each) { return (count + each - 1) / each; }

}  // namespace

template <class E>
void upfirdn(const Resampling& job, const E* x, const Real<E>* taps, E* y, Pool& pool) {
  const std::int64_t planes = job.batch * (job.channels_last ? 1 : job.channels), rows = planes * job.rows.out;
  const std::int64_t inner = job.channels_last ? job.channels : 1;
  const std::int64_t line = job.columns.in * inner + 64;
  auto* lines =
      reinterpret_cast<Real<E>*>(pool.scratch(static_cast<std::size_t>(line * pool.threads()) * sizeof(Real<E>)));
  const std::int64_t share = std::max<std::int64_t>(1, kShare / std::max<std::int64_t>(1, job.columns.out * inner));
  pool.dynamic(tasks_of(rows, share), [&](std::int64_t task, int thread) {
    filter_kernels<E>().rows(job, x, taps, y, lines + thread * line, task * share, std::min(rows, (task + 1) * share));
  });
}

template <class E>
void bias_act(const BiasAct<E>& job, const E* x, const Real<E>* bias, E* y, Pool& pool) {
  const bool last = job.inner == 1;
  const std::int64_t runs = last ? job.outer : job.outer * job.channels, length = last ? job.channels : job.inner;
  const std::int64_t share = std::max<std::int64_t>(1, kShare / std::max<std::int64_t>(1, length));
  pool.dynamic(tasks_of(runs, share), [&](std::int64_t task, int) {
    filter_kernels<E>().bias_act(job, x, bias, y, task * share, std::min(runs, (task + 1) * share));
  });
}

template <class E>
void bias_act_grad(const BiasAct<E>& job, const E* dy, const E* y, E* dx, Pool& pool) {
  const std::int64_t count = job.outer * job.channels * job.inner;
  pool.dynamic(tasks_of(count, kShare), [&](std::int64_t task, int) {
    filter_kernels<E>().bias_act_grad(job, dy, y, dx, task * kShare, std::min(count, (task + 1) * kShare));
  });
}

#define EVERFACE_INSTANTIATE(E)                                                   \
  template void upfirdn(const Resampling&, const E*, const Real<E>*, E*, Pool&);  \
  template void bias_act(const BiasAct<E>&, const E*, const Real<E>*, E*, Pool&); \
  template void bias_act_grad(const BiasAct<E>&, const E*, const E*, E*, Pool&);
EVERFACE_INSTANTIATE(float)
EVERFACE_INSTANTIATE(bf16)
EVERFACE_INSTANTIATE(double)

}  // namespace everface::stylegan
