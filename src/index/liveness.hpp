// Which entries were alive when the main thread looked: the advice by which a rewritten segment leaves dead
// entries out. Built by the main thread from directory pages, then read by a job.
//
// Thread safety: immutable while jobs read it.

#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vecckpt {

class Liveness {
 public:
  explicit Liveness(uint32_t slots_per_extent) : slots_per_extent_(slots_per_extent) {}

  // `dead_bits`: one bit a slot, lowest first; slots at or past `used` are dead. A later call replaces an
  // earlier one for the same extent.
  void SetExtent(uint32_t extent, uint64_t sequence, uint32_t used, std::vector<uint64_t> dead_bits);

  // The same from the flags of a directory page's slots: `dead(slot)` for each of the `used`.
  template <typename Dead>
  void SetExtent(uint32_t extent, uint64_t sequence, uint32_t used, const Dead& dead) {
    std::vector<uint64_t> bits((used + 63) / 64);
    for (uint32_t slot = 0; slot < used; ++slot) bits[slot / 64] |= uint64_t{dead(slot)} << (slot % 64);
    SetExtent(extent, sequence, used, std::move(bits));
  }

  // True if the extent still holds `sequence` and the slot of this ordinal is used and not dead.
  // An extent never set holds nothing alive.
  bool Alive(uint64_t ordinal, uint64_t sequence) const;

 private:
  struct Extent {
    uint64_t sequence;
    uint32_t used;
    std::vector<uint64_t> dead_bits;
  };
  uint32_t slots_per_extent_;
  std::unordered_map<uint32_t, Extent> extents_;
};

}  // namespace vecckpt
