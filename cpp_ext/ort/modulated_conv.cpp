// ModulatedConv (domain everface, version 1): a StyleGAN2 layer, y = clamp(gain lrelu(d (w * (s x)) + noise + bias)).
//   x       T [n or 1, height, width, cin], channels last; T is float32 or bfloat16; one image serves the whole batch
//   styles  float32 [n, cin]
//   weight  float32 [cout, cin, k, k], k = 1 or 3, a constant initializer: it is packed once
//   bias    float32 [cout]
//   noise   float32 [n or 1, H, W], its strength included; optional
//   y       T [n, H, W, cout]
// Attributes, all required: height and width of x (the order of the packed weights depends on them), up 1 or 2
// (transposed convolution and the [1,3,3,1] filter; needs k = 3), demodulate 0 or 1, slope, gain, clamp (above 0;
// infinite for none).
#include <algorithm>
#include <cmath>

#include "everface/stylegan.hpp"
#include "workspace.hpp"

namespace everface::ort {
namespace {

constexpr std::int64_t kMostSide = 8192;

template <class E>
stylegan::ModulatedConv<E> read_attributes(const Api& api, const OrtKernelInfo* info) {
  stylegan::ModulatedConv<E> conv;
  conv.large_tiles = true;
  const std::int64_t up = api.integer(info, "up"), demodulate = api.integer(info, "demodulate");
  require(up == 1 || up == 2, "ModulatedConv up", "1 or 2", std::to_string(up));
  require(demodulate == 0 || demodulate == 1, "ModulatedConv demodulate", "0 or 1", std::to_string(demodulate));
  conv.up = up == 2, conv.demodulate = demodulate == 1;
  conv.slope = api.real(info, "slope"), conv.gain = api.real(info, "gain");
  const float clamp = api.real(info, "clamp");
  require(std::isfinite(conv.slope), "ModulatedConv slope", "a finite number", std::to_string(conv.slope));
  require(std::isfinite(conv.gain), "ModulatedConv gain", "a finite number", std::to_string(conv.gain));
  require(clamp > 0, "ModulatedConv clamp", "above 0", std::to_string(clamp));
  conv.clamp = std::min(clamp, 3e38f);
  conv.height = api.integer(info, "height"), conv.width = api.integer(info, "width");
  const bool sizes = conv.height > 0 && conv.width > 0 && conv.height <= kMostSide && conv.width <= kMostSide;
  require(sizes, "ModulatedConv height, width", "1 to " + std::to_string(kMostSide), show({conv.height, conv.width}));
  return conv;
}

// The shapes of a call's inputs; the batch is that of the styles.
template <class E>
void check_inputs(const stylegan::ModulatedConv<E>& conv, const Tensor& x, const Tensor& styles, const Tensor& bias,
                  const Tensor& noise) {
  using Shape = std::vector<std::int64_t>;
  require(styles.shape.size() == 2 && styles.shape[1] == conv.cin, "ModulatedConv styles",
          "[n, " + std::to_string(conv.cin) + "]", show(styles.shape));
  const std::int64_t n = styles.shape[0];
  const bool fits =
      x.shape == Shape{n, conv.height, conv.width, conv.cin} || x.shape == Shape{1, conv.height, conv.width, conv.cin};
  require(fits, "ModulatedConv x", show({n, conv.height, conv.width, conv.cin}) + " or one image", show(x.shape));
  require(bias.shape == Shape{conv.cout}, "ModulatedConv bias", show({conv.cout}), show(bias.shape));
  const std::int64_t h = conv.out_height(), w = conv.out_width();
  const bool noisy = !noise || noise.shape == Shape{1, h, w} || noise.shape == Shape{n, h, w};
  require(noisy, "ModulatedConv noise", show({n, h, w}) + " or one image", show(noise.shape));
}

template <class E>
class ModulatedConv {
 public:
  static constexpr const char* kName = "ModulatedConv";
  using Element = E;
  using Output = E;

  ModulatedConv(Api table, const OrtKernelInfo* info);
  void compute(OrtKernelContext* context);

  const Api api;

 private:
  stylegan::ModulatedConv<E> conv_;  // what does not depend on the input
  stylegan::PackedWeights<E> packed_;
  std::shared_ptr<Workspaces> workspaces_ = Workspaces::shared();
};

template <class E>
ModulatedConv<E>::ModulatedConv(Api table, const OrtKernelInfo* info) : api(table) {
  conv_ = read_attributes<E>(api, info);
  const Tensor weight = api.constant(info, 2, "ModulatedConv weight");
  const auto& shape = weight.shape;
  const bool square = shape.size() == 4 && shape[2] == shape[3] && (shape[2] == 1 || shape[2] == 3);
  const bool fits = square && shape[0] > 0 && shape[1] > 0 && (!conv_.up || shape[2] == 3);
  require(fits, "ModulatedConv weight", conv_.up ? "[cout, cin, 3, 3]" : "[cout, cin, k, k] with k 1 or 3",
          show(shape));
  conv_.cout = shape[0], conv_.cin = shape[1], conv_.taps = static_cast<int>(shape[2]);
  conv_.weight = weight.as<float>();
  Pool pool(share_count());
  packed_ = stylegan::pack<E>(conv_, pool);
  conv_.weight = nullptr;
}

template <class E>
void ModulatedConv<E>::compute(OrtKernelContext* context) {
  constexpr auto real = type_of<float>();
  const Tensor x = api.input(context, 0, "ModulatedConv x", type_of<E>());
  const Tensor styles = api.input(context, 1, "ModulatedConv styles", real);
  const Tensor bias = api.input(context, 3, "ModulatedConv bias", real);
  const Tensor noise = api.input(context, 4, "ModulatedConv noise", real, true);
  check_inputs(conv_, x, styles, bias, noise);
  stylegan::ModulatedConv<E> conv = conv_;
  conv.batch = styles.shape[0];
  conv.x = x.as<E>(), conv.styles = styles.as<float>(), conv.bias = bias.as<float>();
  if (noise) {
    conv.noise = noise.as<float>(), conv.strength = 1;
    conv.noise_step = noise.shape[0] == 1 ? 0 : conv.out_height() * conv.out_width();
  }
  const std::vector<std::int64_t> shape{conv.batch, conv.out_height(), conv.out_width(), conv.cout};
  // Four times: the intermediate image of an upsampling layer is float32 and a little larger.
  elements({4 * conv.batch, shape[1] + 1, shape[2] + 1, conv.cout}, "ModulatedConv y");
  auto* y = static_cast<E*>(api.output(context, shape));
  if (conv.batch == 0) return;
  std::vector<E> spread;
  if (x.shape[0] != conv.batch) {
    const std::int64_t each = elements(x.shape, "ModulatedConv x");
    spread.reserve(static_cast<std::size_t>(each * conv.batch));
    for (std::int64_t i = 0; i < conv.batch; ++i) spread.insert(spread.end(), conv.x, conv.x + each);
    conv.x = spread.data();
  }
  std::vector<float> demod(static_cast<std::size_t>(conv.batch * conv.cout));
  Workspaces::Lease lease(*workspaces_, api.operator->(), context);
  stylegan::forward<E>(conv, &packed_, y, demod.data(), lease.pool());
}

}  // namespace

Operators modulated_conv_operators() {
  static const Operator<ModulatedConv<float>> plain;
  static const Operator<ModulatedConv<bf16>> narrow;
  return {&plain, &narrow};
}

}  // namespace everface::ort
