// The memory layout of DLPack's capsules (https://dmlc.github.io/dlpack), as far as it is read here.
#pragma once

#include <cstdint>

namespace everface::bind::dlpack {

enum DeviceType : std::int32_t { kHost = 1, kCuda = 2, kCudaHost = 3 };
enum TypeCode : std::uint8_t { kInt = 0, kUnsigned = 1, kFloat = 2, kBfloat = 4 };

struct Tensor {
  void* data;
  std::int32_t device_type, device_id;
  std::int32_t rank;
  std::uint8_t type_code, bits;
  std::uint16_t lanes;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null for C order
  std::uint64_t byte_offset;
};

// In capsules named "dltensor".
struct Managed {
  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);
};

// In capsules named "dltensor_versioned".
struct Versioned {
  static constexpr std::uint64_t kReadOnly = 1;
  std::uint32_t major, minor;
  void* context;
  void (*deleter)(Versioned*);
  std::uint64_t flags;
  Tensor tensor;
};

}  // namespace everface::bind::dlpack
