// Weight files of tiny networks, in memory.
#pragma once

#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace everface::test {

using Bytes = std::vector<char>;

struct Stored {
  std::string type;
  std::vector<int> shape;
  Bytes data;
};
using Weights = std::map<std::string, Stored>;

inline Bytes safetensors(const Weights& weights) {
  std::string header = "{\"__metadata__\":{\"conv_clamp\":\"256\"}";
  Bytes body;
  for (const auto& [name, stored] : weights) {
    std::string shape;
    for (const int side : stored.shape) shape += (shape.empty() ? "" : ",") + std::to_string(side);
    const auto end = body.size() + stored.data.size();
    header += ",\"" + name + "\":{\"dtype\":\"" + stored.type + "\",\"shape\":[" + shape + "],\"data_offsets\":[" +
              std::to_string(body.size()) + "," + std::to_string(end) + "]}";
    body.insert(body.end(), stored.data.begin(), stored.data.end());
  }
  header += "}";
  const std::uint64_t length = header.size();
  Bytes file(8);
  std::memcpy(file.data(), &length, 8);
  file.insert(file.end(), header.begin(), header.end());
  file.insert(file.end(), body.begin(), body.end());
  return file;
}

inline Stored floats(const std::vector<int>& shape, float spread, std::mt19937& random) {
  int count = 1;
  for (const int side : shape) count *= side;
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  Bytes data(values.size() * sizeof(float));
  std::memcpy(data.data(), values.data(), data.size());
  return {"F32", shape, data};
}

// A StyleGAN2 of 16 pixels, 8 channels and codes of 16 numbers.
inline Weights tiny_generator(std::mt19937& random) {
  Weights all;
  const auto add = [&](const std::string& name, const std::vector<int>& shape, float spread) {
    all["synthesis." + name] = floats(shape, spread, random);
  };
  const auto layer = [&](const std::string& name, int cout, int taps) {
    add(name + ".affine.weight", {8, 16}, 1), add(name + ".affine.bias", {8}, 1);
    add(name + ".weight", {cout, 8, taps, taps}, 0.3f), add(name + ".bias", {cout}, 0.1f);
  };
  add("b4.const", {8, 4, 4}, 1);
  for (int side = 4; side <= 16; side *= 2) {
    const std::string block = "b" + std::to_string(side);
    for (const char* convolution : {".conv0", ".conv1"}) {
      if (side == 4 && convolution[5] == '0') continue;
      layer(block + convolution, 8, 3);
      add(block + convolution + ".noise_strength", {}, 0.1f);
      add(block + convolution + ".noise_const", {side, side}, 1);
    }
    layer(block + ".torgb", 3, 1);
  }
  all["mapping.w_avg"] = floats({16}, 0.5f, random);
  return all;
}

// An encoder of 8 pixels for it, the last layer in int8.
inline Weights tiny_encoder(std::mt19937& random) {
  Weights all;
  const auto add = [&](const std::string& name, const std::vector<int>& shape) {
    all[name] = floats(shape, 0.3f, random);
  };
  add("stem.weight", {8, 3, 3, 3}), add("stem.bias", {8});
  for (const int block : {0, 1}) {
    const std::string name = "blocks." + std::to_string(block);
    const int cin = block == 0 ? 8 : 16;
    add(name + ".n1.weight", {cin}), add(name + ".n1.bias", {cin});
    add(name + ".c1.weight", {16, cin, 3, 3}), add(name + ".c1.bias", {16});
    add(name + ".n2.weight", {16}), add(name + ".n2.bias", {16});
    add(name + ".c2.weight", {16, 16, 3, 3}), add(name + ".c2.bias", {16});
    if (cin != 16) add(name + ".s.weight", {16, cin, 1, 1}), add(name + ".s.bias", {16});
  }
  add("norm.weight", {16}), add("norm.bias", {16}), add("fc.bias", {16}), add("w_avg", {16}), add("w_std", {16});
  add("fc.weight.scale", {16});
  Stored last{"I8", {16, 256}, Bytes(16 * 256)};
  for (char& byte : last.data) byte = static_cast<char>(random());
  all["fc.weight"] = last;
  return all;
}

inline Bytes asset(const char* name) {
  std::ifstream file(std::string(EVERFACE_ASSETS) + name, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

}  // namespace everface::test
