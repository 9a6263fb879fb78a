// See slot_set.hpp.

#include "segment/slot_set.hpp"

#include <string>

namespace vecckpt {

namespace {

constexpr uint32_t kCancelInterval = 4096;  // nodes between looks at the cancel flag

}  // namespace

Result<SlotSet> SlotSet::Of(const Segment& segment, const std::atomic<bool>* cancel) {
  const uint32_t slots = segment.header().slots_per_extent;
  const PositionRange range = segment.range();
  const std::span<const ExtentRecord> extents = segment.extents();
  SlotSet set;
  set.words_per_extent_ = (size_t{slots} + 63) / 64;
  set.words_.resize(extents.size() * set.words_per_extent_);
  const ExtentRecord* record = nullptr;  // neighbouring ordinals mostly share an extent
  for (uint32_t node = 0; node < segment.node_count(); ++node) {
    if (node % kCancelInterval == 0 && cancel != nullptr && *cancel) return Status::Cancelled();
    const auto ordinals = segment.OrdinalsOf(node);
    if (!ordinals) return Status::Corruption("segment \"" + segment.path() + "\" has bad entries");
    for (const uint64_t ordinal : *ordinals) {
      if (record == nullptr || ordinal / slots != record->extent) record = segment.ExtentOf(ordinal);
      if (record == nullptr) {
        return Status::Corruption("segment \"" + segment.path() + "\" has bad entries");
      }
      const uint32_t slot = static_cast<uint32_t>(ordinal % slots);
      const uint64_t position = record->sequence * slots + slot;
      set.misplaced_ += position < range.begin || position >= range.end;
      const size_t extent = static_cast<size_t>(record - extents.data());
      uint64_t& word = set.words_[extent * set.words_per_extent_ + slot / 64];
      const uint64_t bit = uint64_t{1} << (slot % 64);
      set.repeated_ += (word & bit) != 0;
      word |= bit;
    }
  }
  return set;
}

}  // namespace vecckpt
