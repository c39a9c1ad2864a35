// Large memory: aligned, and on huge pages where the system grants them.
#pragma once

#include <cstddef>
#include <utility>

namespace everface {

// The matrix products read megabytes at steps of kilobytes: with pages of 4 KiB they would wait for address
// translations about as long as for the data.
class Buffer {
 public:
  static constexpr std::size_t kAlignment = 64;

  Buffer() = default;
  ~Buffer();
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_), std::swap(size_, other.size_);
    return *this;
  }

  // At least that many bytes, kept until a larger request; what they held is lost then, and they are not set to zero.
  // Throws std::bad_alloc.
  std::byte* reserve(std::size_t bytes);
  std::byte* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// For vectors of megabytes: the same memory as a Buffer's.
std::byte* allocate_large(std::size_t bytes);
void free_large(std::byte* data) noexcept;
template <class T>
struct LargeAllocator {
  using value_type = T;
  LargeAllocator() = default;
  template <class Other>
  LargeAllocator(const LargeAllocator<Other>&) {}  // NOLINT: containers rebind it
  T* allocate(std::size_t count) { return reinterpret_cast<T*>(allocate_large(count * sizeof(T))); }
  void deallocate(T* data, std::size_t) noexcept { free_large(reinterpret_cast<std::byte*>(data)); }
  bool operator==(const LargeAllocator&) const { return true; }
  bool operator!=(const LargeAllocator&) const { return false; }
};

}  // namespace everface
