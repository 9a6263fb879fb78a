// Which slots of which extents a segment has entries for: one bit a slot of each of its extents.
//
// Thread safety: immutable once made.

#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/status.hpp"
#include "segment/segment.hpp"

namespace vecckpt {

class SlotSet {
 public:
  SlotSet() = default;
  // kCorruption, naming the segment, if an ordinal is out of range; kCancelled if `cancel` is seen set.
  static Result<SlotSet> Of(const Segment& segment, const std::atomic<bool>* cancel = nullptr);

  // Whether the segment has an entry for this slot of its extent number `extent` (of segment.extents(), in
  // order). REQUIRES: slot < slots_per_extent.
  bool Has(size_t extent, uint32_t slot) const {
    return words_[extent * words_per_extent_ + slot / 64] >> (slot % 64) & 1;
  }
  // Entries whose slot had one already, and entries whose position is not in the segment's range: none in a
  // sound segment.
  uint64_t repeated() const { return repeated_; }
  uint64_t misplaced() const { return misplaced_; }

 private:
  std::vector<uint64_t> words_;
  size_t words_per_extent_ = 0;
  uint64_t repeated_ = 0;
  uint64_t misplaced_ = 0;
};

}  // namespace vecckpt
