#include "everface/core/buffer.hpp"

#include <cstdint>
#include <cstdlib>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace everface {
namespace {

// Only whole huge pages inside of the memory: what shares a page with its ends is not ours to ask for.
void prefer_huge_pages(std::byte* data, std::size_t bytes) {
#if defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t page = std::uintptr_t{2} << 20;
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  const std::uintptr_t begin = (address + page - 1) / page * page, end = (address + bytes) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // advice: may be refused
#else
  (void)data, (void)bytes;
#endif
}

}  // namespace

std::byte* allocate_large(std::size_t bytes) {
  const std::size_t rounded = (bytes + Buffer::kAlignment - 1) / Buffer::kAlignment * Buffer::kAlignment;
  auto* data = static_cast<std::byte*>(std::aligned_alloc(Buffer::kAlignment, rounded));
  if (data == nullptr && rounded > 0) throw std::bad_alloc();
  prefer_huge_pages(data, rounded);
  return data;
}

void free_large(std::byte* data) noexcept { std::free(data); }

Buffer::~Buffer() { free_large(data_); }

std::byte* Buffer::reserve(std::size_t bytes) {
  if (bytes <= size_) return data_;
  free_large(data_);
  data_ = nullptr, size_ = 0;
  data_ = allocate_large(bytes);
  size_ = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  return data_;
}

}  // namespace everface
