// XXH3 through the xxHash library, compiled into this file only.

#include "base/checksum.hpp"

#include <sys/random.h>

#include <cerrno>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace vecckpt {

uint64_t Checksum(Bytes bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

struct StreamingChecksum::State {
  XXH3_state_t xxh3;
};

StreamingChecksum::StreamingChecksum() : state_(std::make_unique<State>()) {
  Reset();
}
StreamingChecksum::~StreamingChecksum() = default;
StreamingChecksum::StreamingChecksum(StreamingChecksum&&) noexcept = default;
StreamingChecksum& StreamingChecksum::operator=(StreamingChecksum&&) noexcept = default;

void StreamingChecksum::Reset() {
  XXH3_64bits_reset(&state_->xxh3);
}

void StreamingChecksum::Update(Bytes bytes) {
  // xxHash takes a null pointer, which an empty view may be, for an error.
  if (!bytes.empty()) XXH3_64bits_update(&state_->xxh3, bytes.data(), bytes.size());
}

uint64_t StreamingChecksum::Digest() const {
  return XXH3_64bits_digest(&state_->xxh3);
}

Result<uint64_t> RandomId() {
  uint64_t id = 0;
  while (id == 0) {
    // Up to 256 bytes come whole or not at all.
    if (getrandom(&id, sizeof(id), 0) != static_cast<ssize_t>(sizeof(id))) {
      if (errno != EINTR) return Status::FromErrno(errno, "read random bits from", "getrandom", "function");
      id = 0;
    }
  }
  return id;
}

}  // namespace vecckpt
