// The checksum of a segment's header page, shared by writer and reader.

#include "segment/segment_format.hpp"

#include <array>
#include <cstddef>
#include <cstring>

#include "base/checksum.hpp"

namespace vecckpt {

uint64_t HeaderPageChecksum(Bytes page) {
  std::array<std::byte, kSegmentHeaderSize> copy;
  std::memcpy(copy.data(), page.data(), copy.size());
  std::memset(copy.data() + offsetof(SegmentHeader, checksum), 0, sizeof(uint64_t));
  return Checksum(copy);
}

}  // namespace vecckpt
