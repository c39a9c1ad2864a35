// Hull geometry on NVIDIA GPUs: one block a query, one block a candidate subset, and a Gram matrix by tensor cores.
#include <cuda_runtime.h>
#include <mma.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "everface/hull/cuda.hpp"
#include "everface/hull/small_qp.hpp"
#include "everface/hull/team_qp.hpp"

namespace everface::hull::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = 16;

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

// Device memory, filled from the host where a source is given.
template <class T>
class Buffer {
 public:
  explicit Buffer(std::int64_t count, const T* from = nullptr)
      : count_(static_cast<std::size_t>(std::max<std::int64_t>(count, 1))) {
    check(cudaMalloc(&data_, count_ * sizeof(T)), "allocating device memory");
    if (from && count > 0) {
      check(cudaMemcpy(data_, from, static_cast<std::size_t>(count) * sizeof(T), cudaMemcpyHostToDevice), "copying in");
    }
  }
  ~Buffer() { cudaFree(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  T* get() const { return data_; }
  void read(T* to, std::int64_t count) const {
    check(cudaMemcpy(to, data_, static_cast<std::size_t>(count) * sizeof(T), cudaMemcpyDeviceToHost), "copying out");
  }

 private:
  std::size_t count_;
  T* data_ = nullptr;
};

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
  double tolerance;
  const double* queries;
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
    team.each(hull.d, [&](int c) { memory.q[c] = arguments.queries[i * hull.d + c]; });
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

// One warp a 16 x 16 tile of X X^T. rows are padded with zeros to multiples of 16 rows and 8 columns.
__global__ void gram_kernel(const float* rows, int n, int d, float* gram) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  using namespace nvcuda;
  wmma::fragment<wmma::accumulator, kTile, kTile, 8, float> sum;
  wmma::fill_fragment(sum, 0.0f);
  for (int k = 0; k < d; k += 8) {
    wmma::fragment<wmma::matrix_a, kTile, kTile, 8, wmma::precision::tf32, wmma::row_major> a, a_low;
    wmma::fragment<wmma::matrix_b, kTile, kTile, 8, wmma::precision::tf32, wmma::col_major> b, b_low;
    wmma::load_matrix_sync(a, rows + static_cast<long>(blockIdx.y) * kTile * d + k, d);
    wmma::load_matrix_sync(b, rows + static_cast<long>(blockIdx.x) * kTile * d + k, d);
    for (int i = 0; i < a.num_elements; ++i) {
      const float whole = a.x[i];
      a.x[i] = wmma::__float_to_tf32(whole);
      a_low.x[i] = wmma::__float_to_tf32(whole - a.x[i]);
    }
    for (int i = 0; i < b.num_elements; ++i) {
      const float whole = b.x[i];
      b.x[i] = wmma::__float_to_tf32(whole);
      b_low.x[i] = wmma::__float_to_tf32(whole - b.x[i]);
    }
    wmma::mma_sync(sum, a_low, b, sum);
    wmma::mma_sync(sum, a, b_low, sum);
    wmma::mma_sync(sum, a, b, sum);
  }
  wmma::store_matrix_sync(gram + static_cast<long>(blockIdx.y) * kTile * n + blockIdx.x * kTile, sum, n,
                          wmma::mem_row_major);
#else
  for (int at = threadIdx.x; at < kTile * kTile; at += blockDim.x) {
    const int i = blockIdx.y * kTile + at / kTile, j = blockIdx.x * kTile + at % kTile;
    float total = 0.0f;
    for (int k = 0; k < d; ++k) total += rows[static_cast<long>(i) * d + k] * rows[static_cast<long>(j) * d + k];
    gram[static_cast<long>(i) * n + j] = total;
  }
#endif
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
  Buffer<double> vertices(call.m * call.d, call.vertices), gram(call.m * call.m, call.gram);
  Buffer<double> workspace(blocks * TeamMemory::doubles(m, d));
  Buffer<int> ints(blocks * TeamMemory::ints(m));
  // Queries go in parts, so that any number of them fits.
  const std::int64_t part = std::max<std::int64_t>(1, std::min<std::int64_t>(call.n, (1L << 25) / (call.d + call.m)));
  Buffer<double> queries(part * call.d), weights(part * call.m), distance2(part), gap(part);
  for (std::int64_t first = 0; first < call.n; first += part) {
    const std::int64_t n = std::min(part, call.n - first);
    check(cudaMemcpy(queries.get(), call.queries + first * call.d,
                     static_cast<std::size_t>(n * call.d) * sizeof(double), cudaMemcpyHostToDevice),
          "copying queries");
    ProjectArguments arguments{};
    arguments.n = static_cast<long>(n);
    arguments.hull.m = m, arguments.hull.d = d;
    arguments.hull.vertices = vertices.get(), arguments.hull.gram = gram.get();
    arguments.hull.shift = call.shift, arguments.hull.radius2 = call.radius2;
    arguments.hull.touching2 = call.touching2;
    arguments.tolerance = call.tolerance;
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
  Buffer<double> gram(call.n * call.n, call.gram), spread(call.n, call.spread), score(call.c);
  Buffer<std::int32_t> group(call.n, call.group);
  Buffer<std::int64_t> subsets(call.c * call.b, call.subsets);
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

void gram_f32(const float* rows, std::int64_t n, std::int64_t d, float* gram) {
  const std::int64_t tall = (n + kTile - 1) / kTile * kTile, wide = (d + 7) / 8 * 8;
  Buffer<float> in(tall * wide), out(tall * tall);
  check(cudaMemset(in.get(), 0, static_cast<std::size_t>(tall * wide) * sizeof(float)), "clearing");
  check(cudaMemcpy2D(in.get(), static_cast<std::size_t>(wide) * sizeof(float), rows,
                     static_cast<std::size_t>(d) * sizeof(float), static_cast<std::size_t>(d) * sizeof(float),
                     static_cast<std::size_t>(n), cudaMemcpyHostToDevice),
        "copying rows");
  const dim3 grid(static_cast<unsigned>(tall / kTile), static_cast<unsigned>(tall / kTile));
  gram_kernel<<<grid, 32>>>(in.get(), static_cast<int>(tall), static_cast<int>(wide), out.get());
  check(cudaGetLastError(), "starting the Gram matrix");
  check(cudaMemcpy2D(gram, static_cast<std::size_t>(n) * sizeof(float), out.get(),
                     static_cast<std::size_t>(tall) * sizeof(float), static_cast<std::size_t>(n) * sizeof(float),
                     static_cast<std::size_t>(n), cudaMemcpyDeviceToHost),
        "copying out");
}

}  // namespace everface::hull::cuda
