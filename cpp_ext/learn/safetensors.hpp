// Weight files: a JSON header that names arrays and text, and their numbers. Nothing in a file can run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace everface::learn {

// Where an array lies in a file.
struct Entry {
  std::string type;  // "F32", "F16" and others
  std::vector<std::int64_t> shape;
  std::size_t begin, end;  // bytes from the start of the file
};

struct Header {
  std::map<std::string, Entry> entries;
  std::map<std::string, std::string> metadata;
};

// Throws std::invalid_argument: not a whole safetensors file.
Header read_header(const std::byte* data, std::size_t size);

// The numbers of an F32, F16 or I8 entry as float32, and those of the first two back in their type. Throws
// std::invalid_argument: another type.
std::vector<float> read_entry(const std::byte* data, const Entry& entry);
void write_entry(const float* values, const Entry& entry, std::byte* data);

}  // namespace everface::learn
