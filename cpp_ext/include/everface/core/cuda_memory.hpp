// What the CUDA sources of every room need of the runtime: errors as exceptions, and memory that goes with its owner.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace everface {

inline void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(std::int64_t count) {
    const auto bytes = static_cast<std::size_t>(std::max<std::int64_t>(count, 1)) * sizeof(T);
    check(cudaMalloc(&data_, bytes), "allocating device memory");
  }
  // Filled from host or device memory.
  DeviceBuffer(std::int64_t count, const T* from) : DeviceBuffer(count) { read_from(from, count); }
  ~DeviceBuffer() { cudaFree(data_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  T* get() const { return data_; }
  void read_from(const T* from, std::int64_t count) {
    check(cudaMemcpy(data_, from, static_cast<std::size_t>(count) * sizeof(T), cudaMemcpyDefault), "copying in");
  }
  void read(T* to, std::int64_t count) const {
    check(cudaMemcpy(to, data_, static_cast<std::size_t>(count) * sizeof(T), cudaMemcpyDefault), "copying out");
  }

 private:
  T* data_ = nullptr;
};

}  // namespace everface
