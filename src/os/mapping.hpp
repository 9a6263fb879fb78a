// A file mapped read-only and shared through the page cache.
//
// Invariants: the bytes stay valid as long as the Mapping lives, whatever happens to the file's name.
// Truncating a mapped file is out of contract.
// Thread safety: immutable after Open.

#pragma once

#include <string>

#include "base/bytes.hpp"
#include "base/status.hpp"

namespace vecckpt {

class Mapping {
 public:
  // Maps the whole file. An empty file gives an empty span.
  static Result<Mapping> Open(const std::string& path);

  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  Bytes bytes() const { return {static_cast<const std::byte*>(address_), size_}; }

 private:
  void* address_ = nullptr;
  size_t size_ = 0;
};

// Brings a part of a mapping into memory, from the disk if need be, and returns when it is there. It may be
// evicted again like anything else in the page cache.
void LoadMapped(Bytes part);

}  // namespace vecckpt
