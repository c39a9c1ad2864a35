// Hull geometry on NVIDIA GPUs: one block a query, one block a candidate subset, and Gram matrices by tensor cores.
#include <mma.h>

#include "everface/core/cuda_memory.hpp"
#include "everface/hull/cuda.hpp"
#include "everface/hull/small_qp.hpp"
#include "everface/hull/team_qp.hpp"

namespace everface::hull::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = 8, kStep = 4;  // of the float64 tensor cores

// The threads of a block as a team.
class BlockTeam {
 public:
  __device__ explicit BlockTeam(double* scratch) : scratch_(scratch) {}
  template <class F>
  __device__ void each(int n, F f) {
    for (int i = threadIdx.x; i < n; i += blockDim.x) f(i);
    __syncthreads();
  }
  template <class F>
  __device__ double sum(int n, F f) {
    double mine = 0.0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) mine += f(i);
    return reduce(mine, [](double a, double b) { return a + b; });
  }
  template <class F>
  __device__ double least(int n, F f) {
    double mine = 1e300;
    for (int i = threadIdx.x; i < n; i += blockDim.x) mine = fmin(mine, f(i));
    return reduce(mine, [](double a, double b) { return fmin(a, b); });
  }
  template <class F>
  __device__ void lead(F f) {
    if (threadIdx.x == 0) f();
    __syncthreads();
  }
  __device__ void barrier() { __syncthreads(); }

 private:
  template <class Join>
  __device__ double reduce(double mine, Join join) {
    __syncthreads();
    scratch_[threadIdx.x] = mine;
    __syncthreads();
    for (int half = kThreads / 2; half > 0; half /= 2) {
      if (threadIdx.x < half) scratch_[threadIdx.x] = join(scratch_[threadIdx.x], scratch_[threadIdx.x + half]);
      __syncthreads();
    }
    const double all = scratch_[0];
    __syncthreads();
    return all;
  }
  double* scratch_;
};

struct ProjectArguments {
  long n;
  TeamHull hull;
  double tolerance, query_scale;
  const double *queries, *centre;
  double *workspace, *weights, *distance2, *gap;
  int* ints;
};

__global__ void project_kernel(ProjectArguments arguments) {
  __shared__ double scratch[kThreads];
  const TeamHull hull = arguments.hull;
  BlockTeam team(scratch);
  const TeamMemory memory(arguments.workspace + blockIdx.x * TeamMemory::doubles(hull.m, hull.d),
                          arguments.ints + blockIdx.x * TeamMemory::ints(hull.m), hull.m, hull.d);
  for (long i = blockIdx.x; i < arguments.n; i += gridDim.x) {
    team.each(hull.d, [&](int c) {
      memory.q[c] = to_ours(arguments.queries[i * hull.d + c], arguments.centre[c], arguments.query_scale);
    });
    TeamSolver<BlockTeam> solver(team, hull, memory);
    double distance2 = 0.0, gap = 0.0;
    solver.project(arguments.tolerance, distance2, gap);
    double* to = arguments.weights + i * hull.m;
    team.each(hull.m, [&](int j) { to[j] = 0.0; });
    team.each(solver.count(), [&](int a) { to[memory.S[a]] = memory.w[a]; });
    team.lead([&] { arguments.distance2[i] = distance2, arguments.gap[i] = gap; });
  }
}

struct ScoreArguments {
  int n, b, groups;
  long c;
  double shift;
  const double *gram, *spread;
  const std::int32_t* group;
  const std::int64_t* subsets;
  double* score;
};

// A block scores one subset; each thread takes pool items in turn.
__global__ void score_kernel(ScoreArguments arguments) {
  extern __shared__ double shared[];
  double* sum = shared;                                        // [groups]
  double* gram = sum + arguments.groups;                       // [b, b]
  int* open = reinterpret_cast<int*>(gram + kSmall * kSmall);  // [groups]
  int* all = open + arguments.groups;                          // [groups]
  int* subset = all + arguments.groups;                        // [b]
  __shared__ SmallFactor factor;
  const int b = arguments.b;
  for (long s = blockIdx.x; s < arguments.c; s += gridDim.x) {
    __syncthreads();
    for (int g = threadIdx.x; g < arguments.groups; g += blockDim.x) sum[g] = 0.0, open[g] = 0, all[g] = 0;
    if (threadIdx.x < b) subset[threadIdx.x] = static_cast<int>(arguments.subsets[s * b + threadIdx.x]);
    __syncthreads();
    for (int i = threadIdx.x; i < b * b; i += blockDim.x) {
      gram[i / b * kSmall + i % b] = arguments.gram[static_cast<long>(subset[i / b]) * arguments.n + subset[i % b]];
    }
    for (int p = threadIdx.x; p < arguments.n; p += blockDim.x) {
      atomicAdd(&open[arguments.group[p]], 1);
      atomicAdd(&all[arguments.group[p]], 1);
    }
    __syncthreads();
    if (threadIdx.x < b) atomicSub(&open[arguments.group[subset[threadIdx.x]]], 1);
    if (threadIdx.x == 0) {
      int pick[kSmall];
      double largest = 0.0;
      for (int i = 0; i < b; ++i) pick[i] = i, largest = fmax(largest, gram[i * kSmall + i]);
      small_factor(gram, kSmall, pick, b, 2e-14 * largest, factor);
    }
    __syncthreads();
    for (int p = threadIdx.x; p < arguments.n; p += blockDim.x) {
      const int g = arguments.group[p];
      bool chosen = false;
      double h[kSmall];
      for (int i = 0; i < b; ++i) {
        chosen = chosen || subset[i] == p;
        h[i] = arguments.gram[static_cast<long>(p) * arguments.n + subset[i]] - arguments.shift;
      }
      const double own = arguments.gram[static_cast<long>(p) * arguments.n + p] - arguments.shift;
      if (open[g] == 0) {
        atomicAdd(&sum[g], arguments.spread[p]);
      } else if (!chosen) {
        atomicAdd(&sum[g], sqrt(small_distance2(gram, kSmall, b, factor, h, own, arguments.shift)));
      }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      double total = 0.0;
      for (int g = 0; g < arguments.groups; ++g) total += sum[g] / (open[g] ? open[g] : all[g]);
      arguments.score[s] = total / arguments.groups;
    }
  }
}

// One warp an 8 x 8 tile of X X^T + shift. rows are padded with zeros to multiples of 8 rows and 4 columns.
__global__ void gram_kernel(const double* rows, int n, int d, double shift, double* gram) {
  const long i = static_cast<long>(blockIdx.y) * kTile, j = static_cast<long>(blockIdx.x) * kTile;
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  using namespace nvcuda;
  wmma::fragment<wmma::accumulator, kTile, kTile, kStep, double> sum;
  wmma::fill_fragment(sum, shift);
  for (int k = 0; k < d; k += kStep) {
    wmma::fragment<wmma::matrix_a, kTile, kTile, kStep, double, wmma::row_major> a;
    wmma::fragment<wmma::matrix_b, kTile, kTile, kStep, double, wmma::col_major> b;
    wmma::load_matrix_sync(a, rows + i * d + k, d);
    wmma::load_matrix_sync(b, rows + j * d + k, d);
    wmma::mma_sync(sum, a, b, sum);
  }
  wmma::store_matrix_sync(gram + i * n + j, sum, n, wmma::mem_row_major);
#else
  for (int at = threadIdx.x; at < kTile * kTile; at += blockDim.x) {
    gram[(i + at / kTile) * n + j + at % kTile] = gram_entry(rows, d, i + at / kTile, j + at % kTile, shift);
  }
#endif
}

// gram [n, n] := X X^T + shift of device rows [n, d].
void make_gram(const DeviceBuffer<double>& rows, std::int64_t n, std::int64_t d, double shift,
               const DeviceBuffer<double>& gram) {
  const std::int64_t tall = (n + kTile - 1) / kTile * kTile, wide = (d + kStep - 1) / kStep * kStep;
  DeviceBuffer<double> in(tall * wide), out(tall * tall);
  const auto bytes = [](std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(double); };
  check(cudaMemset(in.get(), 0, bytes(tall * wide)), "clearing");
  check(cudaMemcpy2D(in.get(), bytes(wide), rows.get(), bytes(d), bytes(d), static_cast<std::size_t>(n),
                     cudaMemcpyDeviceToDevice),
        "copying rows");
  const dim3 grid(static_cast<unsigned>(tall / kTile), static_cast<unsigned>(tall / kTile));
  gram_kernel<<<grid, 32>>>(in.get(), static_cast<int>(tall), static_cast<int>(wide), shift, out.get());
  check(cudaGetLastError(), "starting the Gram matrix");
  check(cudaMemcpy2D(gram.get(), bytes(n), out.get(), bytes(tall), bytes(n), static_cast<std::size_t>(n),
                     cudaMemcpyDeviceToDevice),
        "copying the Gram matrix");
}

int block_count(std::int64_t work) {
  int device = 0, processors = 1;
  check(cudaGetDevice(&device), "choosing a device");
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "asking the device");
  return static_cast<int>(std::max<std::int64_t>(1, std::min<std::int64_t>(work, 4L * processors)));
}

}  // namespace

void project(const ProjectCall& call) {
  const int m = static_cast<int>(call.m), d = static_cast<int>(call.d), blocks = block_count(call.n);
  DeviceBuffer<double> vertices(call.m * call.d, call.vertices), gram(call.m * call.m), centre(call.d, call.centre);
  make_gram(vertices, call.m, call.d, call.shift, gram);
  DeviceBuffer<double> workspace(blocks * TeamMemory::doubles(m, d));
  DeviceBuffer<int> ints(blocks * TeamMemory::ints(m));
  // Queries go in parts, so that any number of them fits.
  const std::int64_t part = std::max<std::int64_t>(1, std::min<std::int64_t>(call.n, (1L << 25) / (call.d + call.m)));
  DeviceBuffer<double> queries(part * call.d), weights(part * call.m), distance2(part), gap(part);
  for (std::int64_t first = 0; first < call.n; first += part) {
    const std::int64_t n = std::min(part, call.n - first);
    queries.read_from(call.queries + first * call.d, n * call.d);
    ProjectArguments arguments{};
    arguments.n = static_cast<long>(n);
    arguments.hull.m = m, arguments.hull.d = d;
    arguments.hull.vertices = vertices.get(), arguments.hull.gram = gram.get();
    arguments.hull.shift = call.shift, arguments.hull.radius2 = call.radius2;
    arguments.hull.touching2 = call.touching2;
    arguments.tolerance = call.tolerance, arguments.query_scale = call.query_scale;
    arguments.centre = centre.get();
    arguments.queries = queries.get(), arguments.workspace = workspace.get(), arguments.ints = ints.get();
    arguments.weights = weights.get(), arguments.distance2 = distance2.get(), arguments.gap = gap.get();
    project_kernel<<<blocks, kThreads>>>(arguments);
    check(cudaGetLastError(), "starting the projection");
    weights.read(call.weights + first * call.m, n * call.m);
    distance2.read(call.distance2 + first, n);
    gap.read(call.gap + first, n);
  }
}

void hull_scores(const ScoreCall& call) {
  if (call.c == 0) return;
  DeviceBuffer<double> pool(call.n * call.d, call.pool), gram(call.n * call.n), spread(call.n, call.spread),
      score(call.c);
  make_gram(pool, call.n, call.d, call.shift, gram);
  DeviceBuffer<std::int32_t> group(call.n, call.group);
  DeviceBuffer<std::int64_t> subsets(call.c * call.b, call.subsets);
  ScoreArguments arguments{};
  arguments.n = static_cast<int>(call.n), arguments.b = static_cast<int>(call.b);
  arguments.groups = static_cast<int>(call.groups), arguments.c = static_cast<long>(call.c);
  arguments.shift = call.shift;
  arguments.gram = gram.get(), arguments.spread = spread.get(), arguments.group = group.get();
  arguments.subsets = subsets.get(), arguments.score = score.get();
  const std::size_t shared = static_cast<std::size_t>(call.groups + kSmall * kSmall) * sizeof(double) +
                             static_cast<std::size_t>(2 * call.groups + kSmall) * sizeof(int);
  score_kernel<<<block_count(call.c), kThreads, shared>>>(arguments);
  check(cudaGetLastError(), "starting the scores");
  score.read(call.score, call.c);
}

}  // namespace everface::hull::cuda
