// Flagging entries dead, and freeing extents. See log_append.hpp for the lock order.

#include "pg/log_append.hpp"
#include "pg/wall.hpp"

namespace vecckpt {
namespace {

Buffer LockExclusive(Relation index, BlockNumber block) {
  Buffer buffer = ReadBuffer(index, block);
  LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
  return buffer;
}

// The first sequence from `sequence` on that its map page does not say is freed, or the page's end.
uint64 SkipFreed(Relation index, BlockNumber map_block, uint64 sequence) {
  uint64 page_end = sequence - sequence % kMapEntries + kMapEntries;
  Buffer buffer = ReadBuffer(index, map_block);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  const uint32* map = MapOf(BufferGetPage(buffer));
  while (sequence < page_end && map[sequence % kMapEntries] == kFreedSequence) sequence++;
  UnlockReleaseBuffer(buffer);
  return sequence;
}

}  // namespace

int FlagDead(Relation index, uint32 pages_per_extent, uint32 extent, uint64 sequence, const uint32* slots,
             uint32 count) {
  Buffer buffer = LockExclusive(index, DirectoryBlock(extent, pages_per_extent));
  DirectoryHeader* now = DirectoryOf(BufferGetPage(buffer));
  if (now->state != kExtentLive || now->sequence != sequence) {
    UnlockReleaseBuffer(buffer);
    return -1;
  }
  int flagged = 0;
  GenericXLogState* state = GenericXLogStart(index);
  Page page = GenericXLogRegisterBuffer(state, buffer, 0);
  for (uint32 i = 0; i < count; i++) {
    Slot* slot = &SlotsOf(page)[slots[i]];
    if (slot->flags & kSlotDead) continue;
    slot->flags |= kSlotDead;
    flagged++;
  }
  DirectoryOf(page)->live -= static_cast<uint32>(flagged);
  VECCKPT_FAULT_POINT_RAISE(DeadFlag);
  GenericXLogFinish(state);
  VECCKPT_FAULT_POINT_RAISE(DeadFlagged);
  UnlockReleaseBuffer(buffer);
  return flagged;
}

bool FreeExtent(Relation index, uint64 sequence) {
  Buffer meta_buffer = LockExclusive(index, kMetaBlock);
  const MetaPage* now = MetaOf(BufferGetPage(meta_buffer));
  if (sequence < now->first_sequence || sequence + 1 >= now->next_sequence) {
    UnlockReleaseBuffer(meta_buffer);
    return false;
  }
  Buffer map_buffer = LockExclusive(index, now->map_blocks[MapRingIndex(sequence)]);
  uint32 extent = MapOf(BufferGetPage(map_buffer))[sequence % kMapEntries];
  if (extent == kFreedSequence) {
    UnlockReleaseBuffer(map_buffer);
    UnlockReleaseBuffer(meta_buffer);
    return false;
  }
  Buffer directory_buffer = LockExclusive(index, DirectoryBlock(extent, now->pages_per_extent));
  DirectoryHeader* header = DirectoryOf(BufferGetPage(directory_buffer));
  bool freeable = header->state == kExtentLive && header->sequence == sequence && header->live == 0;
  if (freeable) {
    GenericXLogState* state = GenericXLogStart(index);
    MetaPage* meta = MetaOf(GenericXLogRegisterBuffer(state, meta_buffer, 0));
    uint32* map = MapOf(GenericXLogRegisterBuffer(state, map_buffer, 0));
    DirectoryHeader* directory = DirectoryOf(GenericXLogRegisterBuffer(state, directory_buffer, 0));
    map[sequence % kMapEntries] = kFreedSequence;
    directory->state = kExtentFree;
    directory->next_free = meta->free_head;
    meta->free_head = extent;
    VECCKPT_FAULT_POINT_RAISE(ExtentFree);
    GenericXLogFinish(state);
    VECCKPT_FAULT_POINT_RAISE(ExtentFreed);
  }
  UnlockReleaseBuffer(directory_buffer);
  UnlockReleaseBuffer(map_buffer);
  UnlockReleaseBuffer(meta_buffer);
  return freeable;
}

void AdvanceFirstSequence(Relation index) {
  Buffer meta_buffer = LockExclusive(index, kMetaBlock);
  const MetaPage* now = MetaOf(BufferGetPage(meta_buffer));
  uint64 first = now->first_sequence;
  while (first + 1 < now->next_sequence) {  // the tail is never freed
    uint64 next = Min(SkipFreed(index, now->map_blocks[MapRingIndex(first)], first), now->next_sequence - 1);
    bool page_end = next % kMapEntries == 0 && next != first;
    first = next;
    if (!page_end) break;
  }
  if (first != now->first_sequence) {
    GenericXLogState* state = GenericXLogStart(index);
    MetaOf(GenericXLogRegisterBuffer(state, meta_buffer, 0))->first_sequence = first;
    VECCKPT_FAULT_POINT_RAISE(FirstAdvance);
    GenericXLogFinish(state);
    VECCKPT_FAULT_POINT_RAISE(FirstAdvanced);
  }
  UnlockReleaseBuffer(meta_buffer);
}

}  // namespace vecckpt
