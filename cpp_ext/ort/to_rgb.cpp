// ToRGB (domain everface, version 1): a modulated 1x1 convolution to a few colours, added to the upsampled image of the
// block before: image = up(skip) + clamp(weight (styles x) + bias).
//   x       T [n, h, w, cin], channels last; T is float32 or bfloat16
//   styles  float32 [n, cin], the layer's gain included
//   weight  float32 [colours, cin, 1, 1], at most 4 colours
//   bias    float32 [colours]
//   skip    float32 [n, colours, h / 2, w / 2]; optional
//   image   float32 [n, colours, h, w]
// Attribute, required: clamp (above 0; infinite for none).
#include "stylegan/synthesis_common.hpp"
#include "workspace.hpp"

namespace everface::ort {
namespace {

using Shape = std::vector<std::int64_t>;

void check_inputs(const Tensor& x, const Tensor& styles, const Tensor& weight, const Tensor& bias, const Tensor& skip) {
  require(x.shape.size() == 4 && x.shape[3] > 0, "ToRGB x", "[n, h, w, cin]", show(x.shape));
  const std::int64_t n = x.shape[0], h = x.shape[1], w = x.shape[2], cin = x.shape[3];
  const bool few = weight.shape.size() == 4 && weight.shape[0] > 0 && weight.shape[0] <= stylegan::kMaxColours;
  require(few && weight.shape == Shape{weight.shape[0], cin, 1, 1}, "ToRGB weight",
          "[1 to 4, " + std::to_string(cin) + ", 1, 1]", show(weight.shape));
  const std::int64_t colours = weight.shape[0];
  require(styles.shape == Shape{n, cin}, "ToRGB styles", show({n, cin}), show(styles.shape));
  require(bias.shape == Shape{colours}, "ToRGB bias", show({colours}), show(bias.shape));
  if (!skip) return;
  const bool half = h > 0 && w == h && h % 2 == 0 && skip.shape == Shape{n, colours, h / 2, w / 2};
  require(half, "ToRGB skip", "half of a square image " + show({n, colours, h, w}), show(skip.shape));
}

template <class E>
class ToRGB {
 public:
  static constexpr const char* kName = "ToRGB";
  using Element = E;
  using Output = float;

  ToRGB(Api table, const OrtKernelInfo* info);
  void compute(OrtKernelContext* context);

  const Api api;

 private:
  float clamp_;
  std::shared_ptr<Workspaces> workspaces_ = Workspaces::shared();
};

template <class E>
ToRGB<E>::ToRGB(Api table, const OrtKernelInfo* info) : api(table), clamp_(api.real(info, "clamp")) {
  require(clamp_ > 0, "ToRGB clamp", "above 0", std::to_string(clamp_));
  clamp_ = std::min(clamp_, 3e38f);
}

template <class E>
void ToRGB<E>::compute(OrtKernelContext* context) {
  constexpr auto real = type_of<float>();
  const Tensor x = api.input(context, 0, "ToRGB x", type_of<E>());
  const Tensor styles = api.input(context, 1, "ToRGB styles", real);
  const Tensor weight = api.input(context, 2, "ToRGB weight", real);
  const Tensor bias = api.input(context, 3, "ToRGB bias", real);
  const Tensor skip = api.input(context, 4, "ToRGB skip", real, true);
  check_inputs(x, styles, weight, bias, skip);
  const std::int64_t n = x.shape[0], side = x.shape[1], pixels = side * x.shape[2], cin = x.shape[3];
  const std::int64_t colours = weight.shape[0];
  const Shape shape{n, colours, side, x.shape[2]};
  const std::int64_t count = elements(shape, "ToRGB image");
  auto* image = static_cast<float*>(api.output(context, shape));
  if (count == 0) return;
  Workspaces::Lease lease(*workspaces_, api.operator->(), context);
  Pool& pool = lease.pool();
  std::vector<float> scaled(static_cast<std::size_t>(n * colours * cin));
  stylegan::colour_weights<float>({0, side, cin, colours, 0, false, true}, n, weight.as<float>(), styles.as<float>(),
                                  scaled.data());
  auto* rgb = skip ? reinterpret_cast<float*>(pool.scratch(static_cast<std::size_t>(count) * sizeof(float))) : image;
  const stylegan::Colours<E> job{
      n, pixels, cin, static_cast<int>(colours), x.as<E>(), scaled.data(), bias.as<float>(), clamp_, rgb};
  constexpr std::int64_t share = 512;
  pool.dynamic(ceil_div(n * pixels, share), [&](std::int64_t task, int) {
    stylegan::kernels<E>().colours(job, task * share, std::min(n * pixels, (task + 1) * share));
  });
  if (skip) stylegan::upsample_add(skip.as<float>(), rgb, n * colours, side / 2, image, pool);
}

}  // namespace

Operators to_rgb_operators() {
  static const Operator<ToRGB<float>> plain;
  static const Operator<ToRGB<bf16>> narrow;
  return {&plain, &narrow};
}

}  // namespace everface::ort
