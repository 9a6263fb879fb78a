// See log_format.hpp.

#include "pg/log_format.hpp"

#include "base/checksum.hpp"
#include "hnsw/codec.hpp"

namespace vecckpt {

void InitLogPage(Page page, PageKind kind) {
  PageInit(page, BLCKSZ, sizeof(PageTail));
  PageTail* tail = TailOf(page);
  tail->kind = kind;
  tail->page_id = kPageId;
}

bool IsLogPage(Page page, PageKind kind) {
  if (PageIsNew(page) || PageGetSpecialSize(page) != MAXALIGN(sizeof(PageTail))) return false;
  return TailOf(page)->page_id == kPageId && TailOf(page)->kind == kind;
}

void SetGeometry(MetaPage* meta, uint32 dims) {
  meta->dims = dims;
  meta->vector_bytes = dims * static_cast<uint32>(ElementBytes(static_cast<ElementType>(meta->element_type)));
  meta->slots_per_extent = Max(kMinSlots, Min(kMaxSlots, kMaxExtentBytes / meta->vector_bytes));
  meta->code_kind = static_cast<uint8>(
      Codec::KindFor(static_cast<CodeKind>(meta->code_kind), static_cast<Metric>(meta->metric), dims));
  uint32 stream = meta->slots_per_extent * meta->vector_bytes;
  meta->pages_per_extent = 1 + (stream + kPageCapacity - 1) / kPageCapacity;
}

uint32 EntryHash(const ItemPointerData& tid, const StoredVector& vector) {
  uint64 seed =
      uint64{ItemPointerGetBlockNumberNoCheck(&tid)} << 16 | ItemPointerGetOffsetNumberNoCheck(&tid);
  return static_cast<uint32>(Checksum(vector.bytes(), seed));
}

uint64 RunningHash(uint64 before, const Slot* slots, uint32 count) {
  uint32 hashes[kMaxSlots];
  for (uint32 i = 0; i < count; i++) hashes[i] = slots[i].hash;
  return Checksum(AsBytes(std::span<const uint32>(hashes, count)), before);
}

}  // namespace vecckpt
