// See everface/render/cuda.hpp: compiled, never run yet.
#include <vector>

#include "everface/core/cuda_memory.hpp"
#include "everface/render/cuda.hpp"
#include "everface/render/team_march.hpp"

namespace everface::render::cuda {
namespace {

constexpr int kThreads = 128;
constexpr long kPixels = 4096;  // of one block that sums the first layer's gradient

// The threads of a block as a team.
struct BlockTeam {
  template <class F>
  __device__ void each(long n, F f) {
    for (long i = threadIdx.x; i < n; i += blockDim.x) f(i);
    __syncthreads();
  }
  template <class F>
  __device__ void lead(F f) {
    if (threadIdx.x == 0) f();
    __syncthreads();
  }
  __device__ void add(float* to, float value) { atomicAdd(to, value); }
};

struct Launch {
  TeamVolume<float> volume;
  RayBundle<float> rays;
  long image;
  March<float> out;
  March<const float> dout;
  bool backward;
  float* reals;
  int* ints;
};

__global__ void march_kernel(Launch launch) {
  const TeamVolume<float>& volume = launch.volume;
  const RayBundle<float>& rays = launch.rays;
  const long n = rays.samples + rays.importance;
  const TeamWork<float> work(launch.reals + blockIdx.x * TeamWork<float>::reals(n, volume.features, volume.hidden),
                             launch.ints + blockIdx.x * TeamWork<float>::ints(n), n, volume.features, volume.hidden);
  BlockTeam team;
  TeamMarch<BlockTeam, float> march(team, volume, work);
  for (long j = blockIdx.x; j < rays.rays; j += gridDim.x) {
    const long at = launch.image * rays.rays + j;
    TeamRay<float> ray{};
    ray.origin = rays.origins + 3 * at, ray.direction = rays.directions + 3 * at;
    ray.depths = rays.depths + launch.image * rays.depth_image + j * rays.depth_ray;
    ray.quantiles = rays.quantiles + launch.image * rays.quantile_image + j * rays.quantile_ray;
    ray.samples = rays.samples, ray.importance = rays.importance;
    if (launch.backward) {
      ray.dfeatures = launch.dout.features + at * volume.features;
      ray.ddepth = launch.dout.depth + at, ray.dopacity = launch.dout.opacity + at;
      march.backward(ray);
    } else {
      ray.features = launch.out.features + at * volume.features;
      ray.depth = launch.out.depth + at, ray.opacity = launch.out.opacity + at;
      march.forward(ray);
    }
  }
}

__global__ void texel_kernel(const float* planes, const float* weight, long features, long hidden, long pixels,
                             float* texels) {
  const long all = 3 * pixels * hidden, step = static_cast<long>(gridDim.x) * blockDim.x;
  for (long k = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x; k < all; k += step)
    texels[k] = first_layer(planes, weight, features, hidden, pixels, k);
}

__global__ void plane_kernel(const float* dtexels, const float* weight, long features, long hidden, long pixels,
                             float* dplanes) {
  const long all = 3 * pixels * features, step = static_cast<long>(gridDim.x) * blockDim.x;
  for (long k = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x; k < all; k += step)
    dplanes[k] = first_layer_to_plane(dtexels, weight, features, hidden, pixels, k);
}

__global__ void weight_kernel(const float* dtexels, const float* planes, long features, long hidden, long pixels,
                              float* dweight) {
  const long first = blockIdx.x * kPixels, last = first + kPixels < pixels ? first + kPixels : pixels;
  for (long k = threadIdx.x; k < features * hidden; k += blockDim.x)
    atomicAdd(dweight + k, first_layer_to_weight(dtexels, planes, features, hidden, pixels, first, last, k));
}

unsigned blocks_for(long work) {
  int device = 0, processors = 1;
  check(cudaGetDevice(&device), "choosing a device");
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "asking the device");
  return static_cast<unsigned>(std::max(1L, std::min(work, 8L * processors)));
}

void clear(float* at, long count) {
  if (at) check(cudaMemset(at, 0, static_cast<std::size_t>(count) * sizeof(float)), "clearing");
}

// The largest depth of the first pass: few numbers where all rays share them, and all of them otherwise.
float farthest(const Volume<float>& volume, const RayBundle<float>& rays) {
  const std::int64_t images = rays.depth_image == 0 ? 1 : volume.batch, lines = rays.depth_ray == 0 ? 1 : rays.rays;
  std::vector<float> depths(static_cast<std::size_t>(images * lines * rays.samples));
  check(cudaMemcpy(depths.data(), rays.depths, depths.size() * sizeof(float), cudaMemcpyDeviceToHost),
        "reading depths");
  return *std::max_element(depths.begin(), depths.end());
}

TeamVolume<float> team_volume(const Volume<float>& volume, const RayBundle<float>& rays, const Options& options,
                              float* texels) {
  TeamVolume<float> v;
  v.features = volume.features, v.hidden = volume.hidden, v.height = volume.height, v.width = volume.width;
  std::copy(&volume.axes[0][0], &volume.axes[0][0] + 6, &v.axes[0][0]);
  v.scale[0] = static_cast<float>(static_cast<double>(volume.width) / volume.box_warp);
  v.scale[1] = static_cast<float>(static_cast<double>(volume.height) / volume.box_warp);
  v.farthest = farthest(volume, rays), v.white_back = options.white_back;
  v.texels = texels, v.first_bias = volume.hidden_bias;
  v.out_weight = volume.out_weight, v.out_bias = volume.out_bias;
  return v;
}

// Runs all images; `after` is told of each once its rays are done.
template <class After>
void run(const Volume<float>& volume, const RayBundle<float>& rays, Launch launch, float* texels, After after) {
  const long n = rays.samples + rays.importance, pixels = volume.height * volume.width;
  const unsigned blocks = blocks_for(rays.rays);
  DeviceBuffer<float> reals(blocks * TeamWork<float>::reals(n, volume.features, volume.hidden));
  DeviceBuffer<int> ints(blocks * TeamWork<float>::ints(n));
  launch.rays = rays, launch.reals = reals.get(), launch.ints = ints.get();
  for (long image = 0; image < volume.batch; ++image) {
    const float* planes = volume.planes + image * 3 * volume.features * pixels;
    texel_kernel<<<blocks_for(3 * pixels), kThreads>>>(planes, volume.hidden_weight, volume.features, volume.hidden,
                                                       pixels, texels);
    check(cudaGetLastError(), "starting the texels");
    launch.image = image;
    march_kernel<<<blocks, kThreads>>>(launch);
    check(cudaGetLastError(), "starting the rays");
    after(image, planes);
  }
  check(cudaDeviceSynchronize(), "rendering");
}

}  // namespace

void forward(const Volume<float>& volume, const RayBundle<float>& rays, const Options& options,
             const March<float>& out) {
  if (volume.batch == 0 || rays.rays == 0) return;
  DeviceBuffer<float> texels(3 * volume.height * volume.width * volume.hidden);
  Launch launch{};
  launch.volume = team_volume(volume, rays, options, texels.get()), launch.out = out;
  run(volume, rays, launch, texels.get(), [](long, const float*) {});
}

void backward(const Volume<float>& volume, const RayBundle<float>& rays, const Options& options,
              const March<const float>& dout, const Gradients<float>& grads) {
  const long features = volume.features, hidden = volume.hidden, pixels = volume.height * volume.width;
  const long texel_count = 3 * pixels * hidden;
  clear(grads.planes, volume.batch * 3 * features * pixels), clear(grads.hidden_weight, hidden * features);
  clear(grads.hidden_bias, hidden), clear(grads.out_weight, (1 + features) * hidden);
  clear(grads.out_bias, 1 + features);
  if (volume.batch == 0 || rays.rays == 0) return;
  DeviceBuffer<float> texels(texel_count), dtexels(texel_count);
  DeviceBuffer<float> unwanted((1 + features) * hidden + hidden + 1 +
                               features);  // where gradients go that nobody wants
  Launch launch{};
  launch.volume = team_volume(volume, rays, options, texels.get()), launch.dout = dout, launch.backward = true;
  TeamVolume<float>& v = launch.volume;
  v.dtexels = dtexels.get();
  v.dout_weight = grads.out_weight ? grads.out_weight : unwanted.get();
  v.dfirst_bias = grads.hidden_bias ? grads.hidden_bias : unwanted.get() + (1 + features) * hidden;
  v.dout_bias = grads.out_bias ? grads.out_bias : unwanted.get() + (1 + features) * hidden + hidden;
  clear(dtexels.get(), texel_count);
  run(volume, rays, launch, texels.get(), [&](long image, const float* planes) {
    if (grads.planes) {
      plane_kernel<<<blocks_for(3 * pixels), kThreads>>>(dtexels.get(), volume.hidden_weight, features, hidden, pixels,
                                                         grads.planes + image * 3 * features * pixels);
    }
    if (grads.hidden_weight) {
      const auto parts = static_cast<unsigned>((pixels + kPixels - 1) / kPixels);
      weight_kernel<<<parts, kThreads>>>(dtexels.get(), planes, features, hidden, pixels, grads.hidden_weight);
    }
    check(cudaGetLastError(), "starting the planes' gradients");
    clear(dtexels.get(), texel_count);
  });
}

}  // namespace everface::render::cuda
