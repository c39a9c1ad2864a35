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

Buffer::~Buffer() { std::free(data_); }

std::byte* Buffer::reserve(std::size_t bytes) {
  if (bytes <= size_) return data_;
  std::free(data_);
  data_ = nullptr, size_ = 0;
  const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  data_ = static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded));
  if (data_ == nullptr) throw std::bad_alloc();
  size_ = rounded;
  prefer_huge_pages(data_, size_);
  return data_;
}

}  // namespace everface
