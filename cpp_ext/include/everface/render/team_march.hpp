// One ray by a team of threads that share memory: a CUDA block, or the single thread of a CPU test. The steps are those
// of render/march.hpp and render/march_back.hpp without what those skip. A Team offers each(n, f): f(i) for i in
// 0..n-1, then a barrier; lead(f): one member runs f, then a barrier; add(to, value): to += value, whoever else adds.
#pragma once

#include <cstdint>

#include "everface/render/elements.hpp"

namespace everface::render {

// A volume whose planes are the decoder's first layer, channels last, and where its gradients go.
template <class R>
struct TeamVolume {
  long features = 0, hidden = 0, height = 0, width = 0;
  int axes[3][2] = {};
  R scale[2] = {}, farthest = 0;
  bool white_back = false;
  const R* texels = nullptr;      // [3, height, width, hidden]
  const R* first_bias = nullptr;  // [hidden]
  const R* out_weight = nullptr;  // [1 + features, hidden]
  const R* out_bias = nullptr;    // [1 + features]
  R* dtexels = nullptr;           // backward alone, as above
  R *dfirst_bias = nullptr, *dout_weight = nullptr, *dout_bias = nullptr;
};

template <class R>
struct TeamRay {
  const R *origin, *direction, *depths, *quantiles;
  long samples, importance;
  R *features, *depth, *opacity;           // forward
  const R *dfeatures, *ddepth, *dopacity;  // backward
};

// Memory that the team shares, for rays of n samples in all.
template <class R>
struct TeamWork {
  R *depth, *sigma, *by_depth, *density, *kept, *weight, *share, *sums, *dsigma;
  R *corner_weight, *hidden, *gradient, *shine, *dshine;
  int *order, *corner;
  EVERFACE_HD static long reals(long n, long features, long hidden) { return n * (9 + 12 + 2 * hidden + 2 * features); }
  EVERFACE_HD static long ints(long n) { return 13 * n; }
  EVERFACE_HD TeamWork(R* x, int* i, long n, long features, long hidden_)
      : depth(x),
        sigma(depth + n),
        by_depth(sigma + n),
        density(by_depth + n),
        kept(density + n),
        weight(kept + n),
        share(weight + n),
        sums(share + n),
        dsigma(sums + n),
        corner_weight(dsigma + n),
        hidden(corner_weight + 12 * n),
        gradient(hidden + n * hidden_),
        shine(gradient + n * hidden_),
        dshine(shine + n * features),
        order(i),
        corner(order + n) {}
};

template <class Team, class R>
class TeamMarch {
 public:
  EVERFACE_HD TeamMarch(Team& team, const TeamVolume<R>& volume, const TeamWork<R>& work)
      : team_(team), volume_(volume), at_(work) {}

  EVERFACE_HD void forward(const TeamRay<R>& ray) {
    place(ray);
    const long n = ray.samples + ray.importance;
    team_.each(volume_.features, [&](long f) {
      R total = 0;
      for (long i = 0; i < n; ++i)
        total += at_.share[i] * (R(1.002) * at_.shine[at_.order[i] * volume_.features + f] - R(0.001));
      ray.features[f] = R(2) * (total + (volume_.white_back ? R(1) - opacity(n) : R(0))) - R(1);
    });
    team_.lead([&] {
      const R all = opacity(n);
      *ray.opacity = all, *ray.depth = all > R(0) ? moment(n) / all : volume_.farthest;
    });
  }

  EVERFACE_HD void backward(const TeamRay<R>& ray) {
    place(ray);
    const long n = ray.samples + ray.importance, features = volume_.features, hidden = volume_.hidden;
    team_.each(n, [&](long i) {  // of the shares, by depth
      const R all = opacity(n);
      R total = all > R(0) ? *ray.ddepth / all * at_.by_depth[i] : R(0);
      for (long f = 0; f < features; ++f)
        total += R(2) * ray.dfeatures[f] * (R(1.002) * at_.shine[at_.order[i] * features + f] - R(0.001));
      at_.sums[i] = total;
    });
    team_.lead([&] {
      const R all = opacity(n);
      R by_opacity = *ray.dopacity;
      if (all > R(0)) by_opacity -= *ray.ddepth * moment(n) / (all * all);
      for (long f = 0; volume_.white_back && f < features; ++f) by_opacity -= R(2) * ray.dfeatures[f];
      density_gradients(at_.weight, at_.sums, at_.density, at_.by_depth, n, by_opacity, at_.kept, at_.dsigma);
    });
    // From here on by number, not by depth: sigma holds the densities' gradients, sums the shares.
    team_.each(n, [&](long i) { at_.sigma[at_.order[i]] = at_.dsigma[i], at_.sums[at_.order[i]] = at_.share[i]; });
    team_.each(n * features, [&](long k) {
      const R shine = at_.shine[k];
      at_.dshine[k] = at_.sums[k / features] * R(2) * ray.dfeatures[k % features] * R(1.002) * shine * (R(1) - shine);
    });
    team_.each(n * hidden, [&](long k) {
      const long i = k / hidden, h = k % hidden;
      R total = at_.sigma[i] * volume_.out_weight[h];
      for (long f = 0; f < features; ++f)
        total += at_.dshine[i * features + f] * volume_.out_weight[(1 + f) * hidden + h];
      total *= R(1) - ::exp(-at_.hidden[k]);  // softplus' slope is 1 - exp(-softplus)
      at_.gradient[k] = total;
      for (int c = 0; c < 12; ++c)
        team_.add(volume_.dtexels + static_cast<long>(at_.corner[12 * i + c]) * hidden + h,
                  at_.corner_weight[12 * i + c] * total);
    });
    decoder_gradients(n);
  }

 private:
  // Both passes: samples in order, their weights, shares, hidden layers and colours.
  EVERFACE_HD void place(const TeamRay<R>& ray) {
    const long coarse = ray.samples, all = coarse + ray.importance;
    team_.each(coarse, [&](long i) { at_.depth[i] = ray.depths[i], at_.order[i] = static_cast<int>(i); });
    evaluate(ray, 0, coarse);
    weigh(coarse);
    if (ray.importance > 0) {
      team_.lead([&] { cumulate(at_.weight, coarse, at_.sums); });
      team_.each(ray.importance, [&](long i) {
        std::int64_t from = 0;
        at_.depth[coarse + i] = finer_depth(at_.depth, at_.sums, coarse, ray.quantiles[i], &from);
      });
      evaluate(ray, coarse, all);
      team_.each(all, [&](long i) {
        long rank = 0;
        for (long j = 0; j < all; ++j)
          rank += at_.depth[j] < at_.depth[i] || (!(at_.depth[i] < at_.depth[j]) && j < i) ? 1 : 0;
        at_.order[rank] = static_cast<int>(i);
      });
      weigh(all);
    }
    team_.each(all, [&](long i) {
      at_.share[i] = R(0.5) * ((i > 0 ? at_.weight[i - 1] : R(0)) + (i + 1 < all ? at_.weight[i] : R(0)));
    });
    team_.each(all * volume_.features, [&](long k) {
      const long i = k / volume_.features, f = k % volume_.features;
      const R* weight = volume_.out_weight + (1 + f) * volume_.hidden;
      R total = volume_.out_bias[1 + f];
      for (long h = 0; h < volume_.hidden; ++h) total += weight[h] * at_.hidden[i * volume_.hidden + h];
      at_.shine[k] = sigmoid_of(total);
    });
  }

  // Corners, hidden layers and densities of samples first ... last - 1.
  EVERFACE_HD void evaluate(const TeamRay<R>& ray, long first, long last) {
    team_.each(3 * (last - first), [&](long k) {
      const long i = first + k / 3;
      const int plane = static_cast<int>(k % 3), *axes = volume_.axes[plane];
      R at[2];
      for (int a = 0; a < 2; ++a) at[a] = ray.origin[axes[a]] + at_.depth[i] * ray.direction[axes[a]];
      find_texels(at[0] * volume_.scale[0] + R(0.5) * R(volume_.width - 1),
                  at[1] * volume_.scale[1] + R(0.5) * R(volume_.height - 1), volume_.width, volume_.height, plane,
                  at_.corner + 12 * i + 4 * plane, at_.corner_weight + 12 * i + 4 * plane);
    });
    const long hidden = volume_.hidden;
    team_.each((last - first) * hidden, [&](long k) {
      const long i = first + k / hidden, h = k % hidden;
      R total = volume_.first_bias[h];
      for (int c = 0; c < 12; ++c)
        total += at_.corner_weight[12 * i + c] * volume_.texels[static_cast<long>(at_.corner[12 * i + c]) * hidden + h];
      at_.hidden[i * hidden + h] = softplus_of(total);
    });
    team_.each(last - first, [&](long k) {
      R total = volume_.out_bias[0];
      for (long h = 0; h < hidden; ++h) total += volume_.out_weight[h] * at_.hidden[(first + k) * hidden + h];
      at_.sigma[first + k] = total;
    });
  }

  EVERFACE_HD void weigh(long n) {
    team_.each(n, [&](long i) { at_.by_depth[i] = at_.depth[at_.order[i]], at_.density[i] = at_.sigma[at_.order[i]]; });
    team_.each(n - 1, [&](long i) {
      const R middle = R(0.5) * (at_.density[i] + at_.density[i + 1]) - R(1);
      at_.kept[i] = ::exp(-softplus_of(middle) * (at_.by_depth[i + 1] - at_.by_depth[i]));
    });
    team_.lead([&] {
      R light = 1;
      for (long i = 0; i + 1 < n; ++i) {
        const Step<R> step = pass(light, at_.kept[i]);
        at_.weight[i] = step.weight, light = step.light;
      }
    });
  }

  EVERFACE_HD R opacity(long n) const {
    R total = 0;
    for (long i = 0; i + 1 < n; ++i) total += at_.weight[i];
    return total;
  }
  EVERFACE_HD R moment(long n) const {
    R total = 0;
    for (long i = 0; i < n; ++i) total += at_.share[i] * at_.by_depth[i];
    return total;
  }

  // Summed over the ray before they meet those of others.
  EVERFACE_HD void decoder_gradients(long n) {
    const long features = volume_.features, hidden = volume_.hidden;
    team_.each((1 + features) * hidden, [&](long k) {
      const long out = k / hidden, h = k % hidden;
      R total = 0, bias = 0;
      for (long i = 0; i < n; ++i) {
        total += (out == 0 ? at_.sigma[i] : at_.dshine[i * features + out - 1]) * at_.hidden[i * hidden + h];
        if (out == 0) bias += at_.gradient[i * hidden + h];
      }
      team_.add(volume_.dout_weight + k, total);
      if (out == 0) team_.add(volume_.dfirst_bias + h, bias);
    });
    team_.each(1 + features, [&](long out) {
      R total = 0;
      for (long i = 0; i < n; ++i) total += out == 0 ? at_.sigma[i] : at_.dshine[i * features + out - 1];
      team_.add(volume_.dout_bias + out, total);
    });
  }

  Team& team_;
  const TeamVolume<R>& volume_;
  TeamWork<R> at_;
};

// A team of one.
struct SerialTeam {
  template <class F>
  EVERFACE_HD void each(long n, F f) {
    for (long i = 0; i < n; ++i) f(i);
  }
  template <class F>
  EVERFACE_HD void lead(F f) {
    f();
  }
  template <class R>
  EVERFACE_HD void add(R* to, R value) {
    *to += value;
  }
};

// Number k of the texels [3, height, width, hidden]: the first layer, a third of it for each plane.
template <class R>
EVERFACE_HD static inline R first_layer(const R* planes, const R* weight, long features, long hidden, long pixels,
                                        long k) {
  const long h = k % hidden, pixel = k / hidden % pixels, plane = k / hidden / pixels;
  R total = 0;
  for (long f = 0; f < features; ++f)
    total += weight[h * features + f] * planes[(plane * features + f) * pixels + pixel];
  return total * R(1.0 / 3.0);
}

// Number k of the gradient of the planes [3, features, height, width].
template <class R>
EVERFACE_HD static inline R first_layer_to_plane(const R* dtexels, const R* weight, long features, long hidden,
                                                 long pixels, long k) {
  const long pixel = k % pixels, f = k / pixels % features, plane = k / pixels / features;
  R total = 0;
  for (long h = 0; h < hidden; ++h) total += weight[h * features + f] * dtexels[(plane * pixels + pixel) * hidden + h];
  return total * R(1.0 / 3.0);
}

// What pixels first ... last - 1 of all three planes add to number k of the gradient of the first weight.
template <class R>
EVERFACE_HD static inline R first_layer_to_weight(const R* dtexels, const R* planes, long features, long hidden,
                                                  long pixels, long first, long last, long k) {
  const long f = k % features, h = k / features;
  R total = 0;
  for (long plane = 0; plane < 3; ++plane)
    for (long pixel = first; pixel < last; ++pixel)
      total += dtexels[(plane * pixels + pixel) * hidden + h] * planes[(plane * features + f) * pixels + pixel];
  return total * R(1.0 / 3.0);
}

}  // namespace everface::render
