// See liveness.hpp.

#include "index/liveness.hpp"

#include <utility>

namespace vecckpt {

void Liveness::SetExtent(uint32_t extent, uint64_t sequence, uint32_t used, std::vector<uint64_t> dead_bits) {
  extents_[extent] = Extent{sequence, used, std::move(dead_bits)};
}

bool Liveness::Alive(uint64_t ordinal, uint64_t sequence) const {
  const uint64_t extent_number = ordinal / slots_per_extent_;
  const uint32_t slot = static_cast<uint32_t>(ordinal % slots_per_extent_);
  if (extent_number > UINT32_MAX) return false;
  auto found = extents_.find(static_cast<uint32_t>(extent_number));
  if (found == extents_.end()) return false;
  const Extent& extent = found->second;
  if (extent.sequence != sequence || slot >= extent.used) return false;
  // Bits that were not given are not set.
  if (slot / 64 >= extent.dead_bits.size()) return true;
  return (extent.dead_bits[slot / 64] >> (slot % 64) & 1) == 0;
}

}  // namespace vecckpt
