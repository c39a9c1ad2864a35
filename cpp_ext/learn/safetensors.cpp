#include "safetensors.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace everface::learn {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("not a safetensors file: " + what); }

// The part of JSON that a header has: objects of strings, arrays of whole numbers.
class Parser {
 public:
  Parser(const char* at, const char* end) : at_(at), end_(end) {}

  // member(key) for each member of an object.
  template <class Member>
  void object(const Member& member) {
    expect('{');
    if (take('}')) return;
    do {
      const std::string key = string();
      expect(':');
      member(key);
    } while (take(','));
    expect('}');
  }

  std::string string() {
    expect('"');
    std::string text;
    while (at_ < end_ && *at_ != '"') {
      if (*at_ == '\\') {
        if (++at_ == end_) break;
        // Escapes stand in text entries alone, of which only simple ones are looked at.
        if (*at_ == 'u' && end_ - at_ > 4) at_ += 4;
      }
      text += *at_++;
    }
    if (at_ == end_) refuse("an open string");
    ++at_;
    return text;
  }

  std::vector<std::int64_t> numbers() {
    std::vector<std::int64_t> all;
    expect('[');
    if (take(']')) return all;
    do {
      space();
      std::int64_t number = 0;
      if (at_ == end_ || *at_ < '0' || *at_ > '9') refuse("a number is missing");
      for (; at_ < end_ && *at_ >= '0' && *at_ <= '9'; ++at_) {
        if (number > (std::int64_t{1} << 50)) refuse("a number is too large");
        number = number * 10 + (*at_ - '0');
      }
      all.push_back(number);
    } while (take(','));
    expect(']');
    return all;
  }

 private:
  void space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }
  bool take(char wanted) {
    space();
    if (at_ == end_ || *at_ != wanted) return false;
    ++at_;
    return true;
  }
  void expect(char wanted) {
    if (!take(wanted)) refuse(std::string("expected ") + wanted);
  }

  const char *at_, *end_;
};

std::size_t bytes_of(const std::string& type) {
  return type == "F64" || type == "I64" || type == "U64"                     ? 8
         : type == "F32" || type == "I32" || type == "U32"                   ? 4
         : type == "F16" || type == "BF16" || type == "I16" || type == "U16" ? 2
                                                                             : 1;
}

Entry entry_of(Parser& parser, std::size_t start, std::size_t size) {
  Entry entry{};
  std::vector<std::int64_t> offsets;
  parser.object([&](const std::string& key) {
    if (key == "dtype")
      entry.type = parser.string();
    else if (key == "shape")
      entry.shape = parser.numbers();
    else if (key == "data_offsets")
      offsets = parser.numbers();
    else
      refuse("an unknown property");
  });
  std::size_t count = 1;
  for (const std::int64_t side : entry.shape) {
    if (side > 0 && count > size / static_cast<std::size_t>(side)) refuse("an array larger than the file");
    count *= static_cast<std::size_t>(side);
  }
  if (offsets.size() != 2 || offsets[0] > offsets[1]) refuse("an array without a place");
  entry.begin = start + static_cast<std::size_t>(offsets[0]), entry.end = start + static_cast<std::size_t>(offsets[1]);
  if (entry.end > size || entry.end - entry.begin != count * bytes_of(entry.type)) refuse("an array outside of it");
  return entry;
}

float from_half(std::uint16_t half) {
  const int sign = half >> 15, exponent = half >> 10 & 31, fraction = half & 1023;
  float value;
  if (exponent == 31)
    value = fraction ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  else
    value = std::ldexp(static_cast<float>(exponent ? fraction + 1024 : fraction), (exponent ? exponent : 1) - 25);
  return sign ? -value : value;
}

// To the nearest, ties to even.
std::uint16_t to_half(float value) {
  const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000 : 0);
  const float size = std::fabs(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | 0x7E00);
  if (size >= 65520.0f) return static_cast<std::uint16_t>(sign | 0x7C00);
  int exponent;
  std::frexp(size, &exponent);  // size = f 2^exponent, f in [1/2, 1)
  exponent = std::max(exponent, -13);
  const auto units = static_cast<int>(std::nearbyint(std::ldexp(size, 11 - exponent)));
  // A number of 2^11 units carries into the exponent by itself.
  const int bits = units < 1024 ? units : ((exponent + 13) << 10) + units;
  return static_cast<std::uint16_t>(sign | bits);
}

}  // namespace

Header read_header(const std::byte* data, std::size_t size) {
  std::uint64_t length = 0;
  if (size < 8) refuse("too short");
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<std::uint64_t>(data[i]);
  if (length > size - 8) refuse("its header is longer than the file");
  const char* text = reinterpret_cast<const char*>(data + 8);
  Parser parser(text, text + length);
  Header header;
  parser.object([&](const std::string& name) {
    if (name == "__metadata__")
      parser.object([&](const std::string& key) { header.metadata[key] = parser.string(); });
    else
      header.entries[name] = entry_of(parser, 8 + static_cast<std::size_t>(length), size);
  });
  return header;
}

std::vector<float> read_entry(const std::byte* data, const Entry& entry) {
  std::vector<float> values((entry.end - entry.begin) / bytes_of(entry.type));
  if (entry.type == "F32") {
    std::memcpy(values.data(), data + entry.begin, entry.end - entry.begin);
  } else if (entry.type == "F16") {
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::uint16_t half;
      std::memcpy(&half, data + entry.begin + 2 * i, sizeof half);
      values[i] = from_half(half);
    }
  } else if (entry.type == "I8") {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<signed char>(data[entry.begin + i]);
  } else {
    throw std::invalid_argument("an array of type " + entry.type + ", where F32, F16 or I8 is expected");
  }
  return values;
}

void write_entry(const float* values, const Entry& entry, std::byte* data) {
  if (entry.type == "F32") {
    std::memcpy(data + entry.begin, values, entry.end - entry.begin);
    return;
  }
  if (entry.type != "F16") throw std::invalid_argument("an array of type " + entry.type);
  for (std::size_t i = 0; i < (entry.end - entry.begin) / 2; ++i) {
    const std::uint16_t half = to_half(values[i]);
    std::memcpy(data + entry.begin + 2 * i, &half, sizeof half);
  }
}

}  // namespace everface::learn
