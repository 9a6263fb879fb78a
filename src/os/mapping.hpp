// A file mapped read-only and shared through the page cache.
//
// Invariants: the bytes stay valid as long as the Mapping lives, whatever happens to the file's name. They do
// not change, unless somebody writes to the file, or a page of it cannot be read: then all are zeros, and the
// mapping is damaged (mapping_guard.hpp).
// Thread safety: immutable after Open.

#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.hpp"
#include "base/status.hpp"
#include "os/mapping_guard.hpp"

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
  // Whether some read so far has met a page that cannot be read. Asked after reading, before believing.
  bool damaged() const { return MappingDamaged(place_); }

 private:
  void Unmap();

  void* address_ = nullptr;
  size_t size_ = 0;
  GuardPlace place_ = kUnguarded;
};

// Brings a part of a mapping into memory, from the disk if need be, and returns when it is there. It may be
// evicted again like anything else in the page cache.
void LoadMapped(Bytes part);

// Asks for a part of a mapping and does not wait for it: several parts asked for are read at once.
void PrefetchMapped(Bytes part);

// What is read of a part from now on is read page by page, for lookups here and there; or with what lies
// beside it, as at first.
void ExpectLookups(Bytes part);
void ExpectScans(Bytes part);

// Whether some of `samples` pages of a part are not in memory. They are spread over it evenly; another `seed`
// looks at others.
bool SomeMissing(Bytes part, uint32_t samples, uint32_t seed);

}  // namespace vecckpt
