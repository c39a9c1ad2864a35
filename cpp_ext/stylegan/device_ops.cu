// The CUDA backend of device_ops.hpp, and the operators on it.
#include <vector>

#include "device_ops.hpp"
#include "everface/core/cuda_memory.hpp"
#include "everface/stylegan_cuda.hpp"

namespace everface::stylegan::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 64, kDepth = 16, kOwn = 4;  // of a matrix product: results of a block, and of a thread, a side
constexpr int kLanes = 32, kStripes = kThreads / kLanes;

template <class F>
__global__ void each_kernel(std::int64_t count, F f) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) f(i);
}

// A block sums 32 channels of one image: neighbouring threads read neighbouring channels, and stripes of pixels are
// joined in an order that does not vary.
template <class F>
__global__ void columns_kernel(std::int64_t pixels, std::int64_t channels, F f, float* out) {
  __shared__ float sums[kStripes][kLanes];
  const int lane = threadIdx.x % kLanes, stripe = threadIdx.x / kLanes;
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kLanes + lane;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * pixels;
  float sum = 0;
  if (c < channels)
    for (std::int64_t p = stripe; p < pixels; p += kStripes) sum += f((first + p) * channels + c);
  sums[stripe][lane] = sum;
  __syncthreads();
  if (stripe == 0 && c < channels) {
    for (int s = 1; s < kStripes; ++s) sum += sums[s][lane];
    out[static_cast<std::int64_t>(blockIdx.y) * channels + c] = sum;
  }
}

// c = a b by blocks of 64 x 64 results. Operands are gathered into shared memory, and each thread keeps 4 x 4 sums.
template <class P>
__global__ void product_kernel(std::int64_t rows, std::int64_t columns, std::int64_t depth, P p) {
  __shared__ float a[kDepth][kTile + 1], b[kDepth][kTile + 1];
  const std::int64_t row0 = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const std::int64_t column0 = static_cast<std::int64_t>(blockIdx.y) * kTile;
  const int ty = threadIdx.x / (kTile / kOwn), tx = threadIdx.x % (kTile / kOwn);
  float sums[kOwn][kOwn] = {};
  for (std::int64_t k0 = 0; k0 < depth; k0 += kDepth) {
    for (int at = threadIdx.x; at < kTile * kDepth; at += kThreads) {
      const int k = at % kDepth, i = at / kDepth;
      const bool inside = k0 + k < depth;
      a[k][i] = inside && row0 + i < rows ? p.a(row0 + i, k0 + k) : 0.0f;
      b[k][i] = inside && column0 + i < columns ? p.b(k0 + k, column0 + i) : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      float left[kOwn], right[kOwn];
      for (int i = 0; i < kOwn; ++i) left[i] = a[k][ty * kOwn + i], right[i] = b[k][tx + i * (kTile / kOwn)];
      for (int i = 0; i < kOwn; ++i)
        for (int j = 0; j < kOwn; ++j) sums[i][j] += left[i] * right[j];
    }
    __syncthreads();
  }
  for (int i = 0; i < kOwn; ++i)
    for (int j = 0; j < kOwn; ++j) {
      const std::int64_t row = row0 + ty * kOwn + i, column = column0 + tx + j * (kTile / kOwn);
      if (row < rows && column < columns) p.store(row, column, sums[i][j]);
    }
}

class CudaBackend {
 public:
  explicit CudaBackend(void* stream) : stream_(static_cast<cudaStream_t>(stream)) {}
  // Memory goes back in the stream's order: kernels that use it come before.
  ~CudaBackend() {
    for (void* one : memory_) cudaFreeAsync(one, stream_);
  }
  CudaBackend(const CudaBackend&) = delete;
  CudaBackend& operator=(const CudaBackend&) = delete;

  template <class F>
  void each(std::int64_t count, const F& f) {
    if (count == 0) return;
    const std::int64_t blocks = std::min<std::int64_t>((count + kThreads - 1) / kThreads, 1 << 20);
    each_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream_>>>(count, f);
    check(cudaGetLastError(), "starting an elementwise kernel");
  }
  template <class F>
  void columns(std::int64_t batch, std::int64_t pixels, std::int64_t channels, const F& f, float* out) {
    if (batch == 0 || channels == 0) return;
    const dim3 grid(static_cast<unsigned>((channels + kLanes - 1) / kLanes), static_cast<unsigned>(batch));
    columns_kernel<<<grid, kThreads, 0, stream_>>>(pixels, channels, f, out);
    check(cudaGetLastError(), "starting sums over pixels");
  }
  template <class P>
  void product(std::int64_t rows, std::int64_t columns, std::int64_t depth, const P& p) {
    if (rows == 0 || columns == 0) return;
    const dim3 grid(static_cast<unsigned>((rows + kTile - 1) / kTile),
                    static_cast<unsigned>((columns + kTile - 1) / kTile));
    product_kernel<<<grid, kThreads, 0, stream_>>>(rows, columns, depth, p);
    check(cudaGetLastError(), "starting a matrix product");
  }
  template <class T>
  T* take(std::int64_t count) {
    void* data = nullptr;
    check(cudaMallocAsync(&data, static_cast<std::size_t>(std::max<std::int64_t>(count, 1)) * sizeof(T), stream_),
          "allocating device memory");
    memory_.push_back(data);
    return static_cast<T*>(data);
  }

 private:
  cudaStream_t stream_;
  std::vector<void*> memory_;
};

}  // namespace

template <class E>
void forward(const ModulatedConv<E>& conv, E* y, float* demod, void* stream) {
  CudaBackend on(stream);
  forward_on<E>(on, conv, y, demod);
}

template <class E>
void backward(const ModulatedConv<E>& conv, const E* y, const float* demod, const E* dy, const Gradients<E>& grads,
              void* stream) {
  CudaBackend on(stream);
  backward_on<E>(on, conv, y, demod, dy, grads);
}

#define EVERFACE_INSTANTIATE(E)                                      \
  template void forward(const ModulatedConv<E>&, E*, float*, void*); \
  template void backward(const ModulatedConv<E>&, const E*, const float*, const E*, const Gradients<E>&, void*);
EVERFACE_INSTANTIATE(float)
EVERFACE_INSTANTIATE(bf16)

}  // namespace everface::stylegan::cuda
