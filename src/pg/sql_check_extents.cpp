// See sql_check.hpp: every extent that the map gives to a sequence, in the order of sequences.
//
// An extent is read as searches read it: directory page, vector pages, directory page again. Only if the
// extent then still holds its sequence does what the vector pages said count.

#include "pg/sql_check.hpp"

#include "pg/wall.hpp"

namespace vecckpt {
namespace {

// What one walk through the extents needs; allocated once.
struct Walk {
  IndexCheck* check;
  BlockNumber block_count;  // as last asked
  // The map page of the sequences from map_first on.
  uint64 map_first;
  bool map_sound;
  PGAlignedBlock map;
  // The extent being checked.
  uint64 sequence;
  uint32 extent;
  PGAlignedBlock directory;
  char* pages;  // its vector pages, pages_per_extent - 1 of them
  bool* readable;
  bool* sound;       // vector pages that hold what they should
  char* vector;      // room for one
  uint32* suspects;  // slots whose entry does not fit its hash
  // The running hash behind the extent before, if that one was the sequence before.
  bool hash_known;
  uint64 hash;
};

Walk* NewWalk(IndexCheck* check) {
  uint32 pages = check->meta.pages_per_extent - 1;
  auto* walk = static_cast<Walk*>(palloc0(sizeof(Walk)));
  walk->check = check;
  walk->map_first = PG_UINT64_MAX;
  walk->pages = static_cast<char*>(palloc(uint64{pages} * BLCKSZ));
  walk->readable = static_cast<bool*>(palloc(pages));
  walk->sound = static_cast<bool*>(palloc(pages));
  walk->vector = static_cast<char*>(palloc(check->meta.vector_bytes));
  walk->suspects = static_cast<uint32*>(palloc(kMaxSlots * sizeof(uint32)));
  return walk;
}

// Copies the map page of the walk's sequence, unless it is there. A damaged one has been reported.
bool HaveMapPage(Walk* walk) {
  uint64 first = walk->sequence - walk->sequence % kMapEntries;
  if (walk->map_first == first) return walk->map_sound;
  walk->map_first = first;
  BlockNumber block = walk->check->meta.map_blocks[MapRingIndex(first)];
  walk->map_sound = block != 0 && block < RelationGetNumberOfBlocks(walk->check->index) &&
                    CopyPage(walk->check, block, walk->map.data) && IsLogPage(walk->map.data, kMapPageKind);
  return walk->map_sound;
}

// The map's word on the walk's extent, looked at again: whether it still gives it to the sequence.
bool StillMapped(Walk* walk) {
  uint32 extent;
  return MapEntryNow(walk->check, walk->sequence, &extent) == Mapped::kExtent && extent == walk->extent;
}

Place MapPlace(const Walk* walk) {
  return BlockPlace(walk->check->meta.map_blocks[MapRingIndex(walk->sequence)], "map page");
}

// Copies the directory page. False if the extent does not hold the sequence (any more).
bool TakeDirectory(Walk* walk) {
  IndexCheck* check = walk->check;
  if (walk->extent >= check->extent_count || HasBit(check->map_extents, walk->extent)) {
    if (StillMapped(walk))
      Report(check, Severity::kError, MapPlace(walk), "gives sequence " UINT64_FORMAT " extent %u, which %s",
             walk->sequence, walk->extent,
             walk->extent < check->extent_count        ? "is taken for map pages"
             : walk->extent < check->meta.extent_count ? "lies beyond the end of the file"
                                                       : "there is not");
    return false;
  }
  if (!CopyDirectory(check, walk->extent, walk->directory.data)) {
    SetBit(check->live_extents, walk->extent);  // reported; not once more as another extent
    return false;
  }
  const DirectoryHeader* header = DirectoryOf(walk->directory.data);
  if (header->state == kExtentLive && header->sequence == walk->sequence) return true;
  if (!StillMapped(walk)) return false;  // freed meanwhile
  Report(check, Severity::kError, MapPlace(walk),
         "gives sequence " UINT64_FORMAT " extent %u, which %s sequence " UINT64_FORMAT, walk->sequence,
         walk->extent, header->state == kExtentFree ? "is free and held" : "holds", header->sequence);
  return false;
}

// Counts, flags and hashes of the directory page.
void CheckDirectory(Walk* walk) {
  IndexCheck* check = walk->check;
  Page page = walk->directory.data;
  const DirectoryHeader* header = DirectoryOf(page);
  const Slot* slots = SlotsOf(page);
  Place place = ExtentPlace(check, walk->extent);
  if (PageUsed(page) != sizeof(DirectoryHeader) + header->used * sizeof(Slot))
    Report(check, Severity::kError, place, "has a length that does not fit its %u used slots", header->used);
  if (header->used < check->meta.slots_per_extent && walk->sequence + 1 < check->meta.next_sequence)
    Report(check, Severity::kError, place, "has %u slots used, of %u, and is not the tail", header->used,
           check->meta.slots_per_extent);
  if (header->reserved != 0) Report(check, Severity::kError, place, "has a value in a reserved field");
  uint32 live = 0;
  for (uint32 i = 0; i < header->used; i++) {
    if (!(slots[i].flags & kSlotDead)) live++;
    if (slots[i].flags & ~kSlotDead)
      Report(check, Severity::kError, place, "has unknown flags %x at slot %u", slots[i].flags, i);
    if (ItemPointerGetOffsetNumberNoCheck(&slots[i].tid) == InvalidOffsetNumber ||
        !BlockNumberIsValid(ItemPointerGetBlockNumberNoCheck(&slots[i].tid)))
      Report(check, Severity::kError, place, "has no valid TID at slot %u", i);
  }
  if (live != header->live)
    Report(check, Severity::kError, place, "counts %u live entries, its flags %u", header->live, live);

  if (walk->sequence == 0) {
    walk->hash_known = true;
    walk->hash = 0;
  }
  if (walk->hash_known && header->running_hash != walk->hash)
    Report(check, Severity::kError, place, "has a running hash other than that of the entries before it");
  walk->hash_known = true;
  walk->hash = RunningHash(header->running_hash, slots, header->used);
}

// Copies the vector pages that the file has and judges each. The stream of entries below `used` must be
// there; pages behind it may be missing or empty.
void TakeVectorPages(Walk* walk) {
  IndexCheck* check = walk->check;
  BlockNumber first = DirectoryBlock(walk->extent, check->meta.pages_per_extent) + 1;
  uint32 pages = check->meta.pages_per_extent - 1;
  // After the directory page was read: what it publishes is in the file.
  if (walk->block_count < first + pages) walk->block_count = RelationGetNumberOfBlocks(check->index);
  uint32 there = walk->block_count <= first ? 0 : Min(pages, walk->block_count - first);
  memset(walk->sound, false, pages);
  if (there > 0) CopyPages(check, first, there, walk->pages, walk->readable);

  uint64 stream = uint64{DirectoryOf(walk->directory.data)->used} * check->meta.vector_bytes;
  for (uint32 i = 0; i < pages; i++) {
    uint64 begin = uint64{i} * kPageCapacity;
    uint32 needed = begin >= stream ? 0 : static_cast<uint32>(Min(stream - begin, uint64{kPageCapacity}));
    Page page = walk->pages + uint64{i} * BLCKSZ;
    const char* wrong = nullptr;
    if (i >= there) {
      if (needed > 0) wrong = "is beyond the end of the file";
    } else if (!walk->readable[i]) {
      continue;
    } else if (PageIsNew(page)) {
      if (needed > 0) wrong = "is empty";
    } else if (!IsLogPage(page, kVectorPageKind)) {
      wrong = "is not a vector page";
    } else if (PageUsed(page) < needed || PageUsed(page) > kPageCapacity) {
      wrong = "has a wrong length";
    } else {
      walk->sound[i] = true;
    }
    if (wrong != nullptr)
      Report(check, Severity::kError,
             MakePlace("block %u (vector page %u of extent %u)", first + i, i, walk->extent), "%s", wrong);
  }
}

// The slot's vector, or false if one of its pages is not sound.
bool AssembleVector(Walk* walk, uint32 slot) {
  uint64 size = walk->check->meta.vector_bytes;
  uint64 begin = slot * size;
  char* out = walk->vector;
  while (size > 0) {
    uint64 page = begin / kPageCapacity;
    uint32 offset = begin % kPageCapacity;
    uint64 part = Min(size, uint64{kPageCapacity} - offset);
    if (!walk->sound[page]) return false;
    memcpy(out, StreamOf(walk->pages + page * BLCKSZ) + offset, part);
    begin += part;
    out += part;
    size -= part;
  }
  return true;
}

void ReportSuspect(Walk* walk, uint32 slot) {
  IndexCheck* check = walk->check;
  const ItemPointerData* tid = &SlotsOf(walk->directory.data)[slot].tid;
  BlockNumber directory = DirectoryBlock(walk->extent, check->meta.pages_per_extent);
  uint64 byte = uint64{slot} * check->meta.vector_bytes;
  BlockNumber first = directory + 1 + static_cast<BlockNumber>(byte / kPageCapacity);
  BlockNumber last =
      directory + 1 + static_cast<BlockNumber>((byte + check->meta.vector_bytes - 1) / kPageCapacity);
  char blocks[64];
  if (first == last)
    snprintf(blocks, sizeof(blocks), "block %u", first);
  else
    snprintf(blocks, sizeof(blocks), "blocks %u %s %u", first, last == first + 1 ? "and" : "to", last);
  Report(check, Severity::kError, MakePlace("slot %u of extent %u", slot, walk->extent),
         "TID (%u,%u) and the vector in %s do not fit the hash in block %u",
         ItemPointerGetBlockNumberNoCheck(tid), ItemPointerGetOffsetNumberNoCheck(tid), blocks, directory);
}

// Every used slot, the dead ones too: TID and vector against the slot's hash.
void CheckEntries(Walk* walk) {
  IndexCheck* check = walk->check;
  const DirectoryHeader* header = DirectoryOf(walk->directory.data);
  const Slot* slots = SlotsOf(walk->directory.data);
  uint32 count = 0;
  for (uint32 i = 0; i < header->used; i++)
    if (AssembleVector(walk, i) &&
        EntryHash(slots[i].tid, VectorIn(check->meta, walk->vector)) != slots[i].hash)
      walk->suspects[count++] = i;
  if (count == 0) return;
  PGAlignedBlock again;
  if (!CopyDirectory(check, walk->extent, again.data) || DirectoryOf(again.data)->state != kExtentLive ||
      DirectoryOf(again.data)->sequence != walk->sequence)
    return;  // freed meanwhile, and perhaps written anew
  for (uint32 n = 0; n < count; n++) ReportSuspect(walk, walk->suspects[n]);
}

// Remembers the live entries for the comparison with the heap.
void NoteEntries(Walk* walk) {
  if (walk->check->entries == nullptr) return;
  const DirectoryHeader* header = DirectoryOf(walk->directory.data);
  const Slot* slots = SlotsOf(walk->directory.data);
  for (uint32 i = 0; i < header->used; i++) {
    if (slots[i].flags & kSlotDead) continue;
    EntryKey key = EntryKeyOf(slots[i].tid, slots[i].hash);
    bloom_add_element(walk->check->entries, reinterpret_cast<unsigned char*>(&key), sizeof(key));
  }
}

// False if the sequence has no extent (any more) whose entries could be looked at.
bool CheckSequence(Walk* walk) {
  if (!HaveMapPage(walk)) return false;
  walk->extent = MapOf(walk->map.data)[walk->sequence % kMapEntries];
  VECCKPT_FAULT_POINT_RAISE(CheckStep, MakePlace("map of sequence " UINT64_FORMAT, walk->sequence).text);
  if (walk->extent == kFreedSequence || !TakeDirectory(walk)) return false;
  VECCKPT_FAULT_POINT_RAISE(CheckStep,
                            MakePlace("directory of sequence " UINT64_FORMAT, walk->sequence).text);
  SetBit(walk->check->live_extents, walk->extent);
  CheckDirectory(walk);
  TakeVectorPages(walk);
  VECCKPT_FAULT_POINT_RAISE(CheckStep, MakePlace("vectors of sequence " UINT64_FORMAT, walk->sequence).text);
  CheckEntries(walk);
  NoteEntries(walk);
  return true;
}

// The last sequence's extent is the one the meta page calls the tail.
void CheckTail(Walk* walk) {
  IndexCheck* check = walk->check;
  const MetaPage* meta = &check->meta;
  walk->sequence = meta->next_sequence - 1;
  uint32 extent;
  Mapped mapped = MapEntryNow(check, walk->sequence, &extent);
  if (mapped == Mapped::kDamaged || (mapped == Mapped::kExtent && extent == meta->tail_extent)) return;
  MetaPage now;
  if (mapped == Mapped::kFreed && CopyMetaNow(check, &now) && now.next_sequence > meta->next_sequence) return;
  Report(check, Severity::kError, BlockPlace(kMetaBlock, "meta page"),
         "has extent %u as its tail, which the map does not give sequence " UINT64_FORMAT, meta->tail_extent,
         walk->sequence);
}

}  // namespace

void CheckLiveExtents(IndexCheck* check) {
  Walk* walk = NewWalk(check);
  MemoryContext caller = MemoryContextSwitchTo(check->context);
  const MetaPage* meta = &check->meta;
  for (walk->sequence = meta->first_sequence; walk->sequence < meta->next_sequence; walk->sequence++) {
    CHECK_FOR_INTERRUPTS();
    if (!CheckSequence(walk)) walk->hash_known = false;
    MemoryContextReset(check->context);
  }
  CheckTail(walk);
  MemoryContextSwitchTo(caller);
}

}  // namespace vecckpt
