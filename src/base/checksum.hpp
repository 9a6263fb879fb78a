// Checksums and random identifiers. XXH3 (64 bits) guards every byte this project writes to its own files.

#pragma once

#include <cstdint>
#include <memory>

#include "base/bytes.hpp"
#include "base/status.hpp"

namespace vecckpt {

// XXH3, 64 bits, of `bytes` with `seed`.
uint64_t Checksum(Bytes bytes, uint64_t seed = 0);

// The same value as Checksum over the concatenation of all bytes given to Update.
// Thread safety: one thread at a time.
class StreamingChecksum {
 public:
  StreamingChecksum();
  ~StreamingChecksum();
  StreamingChecksum(StreamingChecksum&&) noexcept;
  StreamingChecksum& operator=(StreamingChecksum&&) noexcept;
  void Reset();
  void Update(Bytes bytes);
  uint64_t Digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// 64 random bits from the operating system, never 0.
Result<uint64_t> RandomId();

}  // namespace vecckpt
