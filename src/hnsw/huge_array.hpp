// A fixed-size array of plain values, zeroed, in huge pages where the system gives any: what is read all over
// by a graph being built would otherwise miss the translation cache at nearly every access.
//
// Thread safety: as a plain array.

#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <type_traits>

namespace vecckpt {

template <typename T>
class HugeArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  HugeArray() = default;
  // Throws std::bad_alloc.
  explicit HugeArray(size_t size) : size_(size) {
    if (size > SIZE_MAX / 2 / sizeof(T)) throw std::bad_alloc();
    bytes_ = (size * sizeof(T) + kPage - 1) / kPage * kPage;
    if (bytes_ == 0) return;
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<T*>(memory);
    madvise(memory, bytes_, MADV_HUGEPAGE);  // advice: it works without
  }
  ~HugeArray() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  HugeArray(HugeArray&& other) noexcept { Swap(other); }
  HugeArray& operator=(HugeArray&& other) noexcept {
    Swap(other);
    return *this;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }

 private:
  static constexpr size_t kPage = size_t{2} << 20;

  void Swap(HugeArray& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(bytes_, other.bytes_);
  }

  T* data_ = nullptr;
  size_t size_ = 0;
  size_t bytes_ = 0;
};

}  // namespace vecckpt
