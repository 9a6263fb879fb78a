// What the fuzzers share: promises that are checked in every build, an input taken apart, files in memory.

#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/bytes.hpp"

#define EXPECT(condition)                                                            \
  do {                                                                               \
    if (!(condition)) {                                                              \
      std::fprintf(stderr, "failed at %s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                  \
    }                                                                                \
  } while (0)

namespace vecckpt {

// An input, from which values are taken one behind the other. What it lacks is zeros.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  void Fill(void* out, size_t size) {
    std::memset(out, 0, size);
    const size_t given = std::min(size, size_);
    if (given > 0) std::memcpy(out, data_, given);
    data_ += given;
    size_ -= given;
  }
  template <typename T>
  T Take() {
    T value;
    Fill(&value, sizeof(value));
    return value;
  }
  std::vector<float> TakeFinite(size_t count) {
    std::vector<float> values(count);
    Fill(values.data(), count * sizeof(float));
    for (float& value : values) {
      if (!std::isfinite(value)) value = std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xBFFFFFFFu);
    }
    return values;
  }
  Bytes rest() const { return {reinterpret_cast<const std::byte*>(data_), size_}; }

 private:
  const uint8_t* data_;
  size_t size_;
};

// A file that is nowhere on disk and can be opened by its path.
class MemoryFile {
 public:
  explicit MemoryFile(Bytes bytes) : fd_(memfd_create("fuzz", 0)) {
    EXPECT(fd_ >= 0);
    EXPECT(write(fd_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { close(fd_); }

  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

}  // namespace vecckpt
