// See log_read.hpp.

#include "pg/log_read.hpp"

namespace vecckpt {
namespace {

[[noreturn]] void RaiseCorrupt(Relation index, BlockNumber block) {
  ereport(ERROR,
          (errcode(ERRCODE_INDEX_CORRUPTED),
           errmsg("index \"%s\" has an unexpected page at block %u", RelationGetRelationName(index), block),
           errhint("Please REINDEX it.")));
}

// Where this process found pages in shared buffers lately, by relation and block. Only a hint: whoever uses
// it lets the buffer manager compare. A page that is found by it costs no search through the buffer table,
// which is several cache misses, but does not count as used either and would be evicted for it: so every
// fourth time it is searched for.
struct PageHint {
  uint64 page;
  Buffer buffer;
};
constexpr uint32 kLog2Hints = 13;
constexpr uint32 kSearchEvery = 4;
PageHint hints[1 << kLog2Hints];

uint64 PageNumber(const LogReader* reader, BlockNumber block) {
  return uint64{KeyOf(reader->index).relation} << 32 | block;
}

PageHint* HintOf(uint64 page) {
  return &hints[page * 0x9E3779B97F4A7C15u >> (64 - kLog2Hints)];
}

Buffer PinPage(LogReader* reader, BlockNumber block) {
  if (reader->strategy != nullptr || RelationUsesLocalBuffers(reader->index))
    return ReadBufferExtended(reader->index, MAIN_FORKNUM, block, RBM_NORMAL, reader->strategy);
  static uint32 uses = 0;
  uint64 page = PageNumber(reader, block);
  PageHint* hint = HintOf(page);
  if (hint->page == page && BufferIsValid(hint->buffer) && ++uses % kSearchEvery != 0 &&
      ReadRecent(reader->index, block, hint->buffer)) {
    pgstat_count_buffer_read(reader->index);
    pgstat_count_buffer_hit(reader->index);
    return hint->buffer;
  }
  Buffer buffer = ReadBuffer(reader->index, block);
  *hint = {page, buffer};
  return buffer;
}

// Asks for the lines of bytes [begin, end) of a page's contents, its header and its special space. The rest
// of a long run comes by the processor's own prefetching.
void PrefetchPage(const LogReader* reader, BlockNumber block, uint32 begin, uint32 end) {
  constexpr uint32 kMostFetched = 512;
  if (RelationUsesLocalBuffers(reader->index)) return;
  uint64 number = PageNumber(reader, block);
  const PageHint* hint = HintOf(number);
  if (hint->page != number || hint->buffer <= 0) return;
  Page page = BufferGetPage(hint->buffer);
  __builtin_prefetch(page);
  __builtin_prefetch(page + BLCKSZ - sizeof(PageTail));
  end = Min(end, Min(begin + kMostFetched, kPageCapacity));
  for (uint32 at = begin; at < end; at += 64) __builtin_prefetch(PageGetContents(page) + at);
}

// Share-locks a pinned page and notes its LSN. Its first and last line, which every reader looks at, and
// `wanted`, what it came for, are fetched while the lock is taken: buffers are rarely in the processor's
// cache.
void LockPage(LogReader* reader, Buffer buffer, uint32 wanted) {
  Page page = BufferGetPage(buffer);
  __builtin_prefetch(page);
  __builtin_prefetch(page + BLCKSZ - sizeof(PageTail));
  __builtin_prefetch(PageGetContents(page) + wanted);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  XLogRecPtr lsn = PageGetLSN(page);
  if (lsn > reader->max_lsn) reader->max_lsn = lsn;
}

// A pinned and share-locked buffer.
Buffer LockShared(LogReader* reader, BlockNumber block, uint32 wanted = 0) {
  Buffer buffer = PinPage(reader, block);
  LockPage(reader, buffer, wanted);
  return buffer;
}

// A directory page whose extent has not been freed or given to another sequence.
bool HoldsSequence(Page page, uint64 sequence) {
  return IsLogPage(page, kDirectoryPageKind) && DirectoryOf(page)->state == kExtentLive &&
         DirectoryOf(page)->sequence == sequence;
}

// The share-locked directory page of an extent if it holds `sequence`, else InvalidBuffer. Where `trusted`,
// the log or a validated segment says that the extent is one, and another page there is corruption.
Buffer LockDirectory(LogReader* reader, uint32 extent, uint64 sequence, bool trusted = true,
                     uint32 slot = 0) {
  BlockNumber block = DirectoryBlock(extent, reader->meta->pages_per_extent);
  if (extent >= reader->meta->extent_count || block >= reader->block_count) return InvalidBuffer;
  Buffer buffer = PinPage(reader, block);
  LockPage(reader, buffer, sizeof(DirectoryHeader) + slot * sizeof(Slot));
  Page page = BufferGetPage(buffer);
  bool sound =
      IsLogPage(page, kDirectoryPageKind) && DirectoryOf(page)->used <= reader->meta->slots_per_extent;
  if (!sound && trusted) RaiseCorrupt(reader->index, block);
  if (sound && HoldsSequence(page, sequence)) return buffer;
  UnlockReleaseBuffer(buffer);
  return InvalidBuffer;
}

// An extent that the log itself gives to a sequence has its directory page. Else the answer must not be
// "gone": somebody could take the entries for deleted. But where the meta page's copy is old, the map pages
// may have gone round their ring: then the extent is another, later sequence's, and may lie behind what the
// copy knows. False: so it is.
bool RequireDirectory(LogReader* reader, uint32 extent, uint64 sequence) {
  BlockNumber block = DirectoryBlock(extent, reader->meta->pages_per_extent);
  if (extent < reader->meta->extent_count && block < reader->block_count) return true;
  MetaPage* now = static_cast<MetaPage*>(palloc(sizeof(MetaPage)));
  ReadMeta(reader->index, now, reader->strategy);
  bool gone = sequence < now->first_sequence;
  pfree(now);
  if (!gone) RaiseCorrupt(reader->index, block);
  return false;
}

// Copies a page that LockDirectory found, and releases it.
bool CopyDirectory(Buffer buffer, ExtentCopy* copy) {
  if (!BufferIsValid(buffer)) return false;
  Page page = BufferGetPage(buffer);
  copy->header = *DirectoryOf(page);
  memcpy(copy->slots, SlotsOf(page), copy->header.used * sizeof(Slot));
  UnlockReleaseBuffer(buffer);
  return true;
}

// The slot of an ordinal if the entry is still there, under the lock of the returned buffer.
Buffer LockEntry(LogReader* reader, uint64 ordinal, uint64 sequence, Slot* slot) {
  uint32 slots_per_extent = reader->meta->slots_per_extent;
  uint64 extent = ordinal / slots_per_extent;
  if (extent >= kNoExtent) return InvalidBuffer;
  uint32 number = ordinal % slots_per_extent;
  Buffer buffer = LockDirectory(reader, static_cast<uint32>(extent), sequence, true, number);
  if (!BufferIsValid(buffer)) return InvalidBuffer;
  Page page = BufferGetPage(buffer);
  if (number < DirectoryOf(page)->used) {
    *slot = SlotsOf(page)[number];
    if (!(slot->flags & kSlotDead)) return buffer;
  }
  UnlockReleaseBuffer(buffer);
  return InvalidBuffer;
}

// Copies bytes [begin, begin + size) of an extent's stream, page by page. A page that is no vector page goes
// to *bad, and nothing more is copied; else *bad stays.
void ReadStream(LogReader* reader, uint32 extent, uint64 begin, uint64 size, char* out, BlockNumber* bad) {
  BlockNumber first = DirectoryBlock(extent, reader->meta->pages_per_extent) + 1;
  while (size > 0) {
    BlockNumber block = first + begin / kPageCapacity;
    uint32 offset = begin % kPageCapacity;
    uint32 part = Min(size, uint64{kPageCapacity} - offset);
    if (block >= reader->block_count) {
      *bad = block;
      return;
    }
    Buffer buffer = LockShared(reader, block, offset);
    Page page = BufferGetPage(buffer);
    bool sound = IsLogPage(page, kVectorPageKind);
    if (sound) memcpy(out, StreamOf(page) + offset, part);
    UnlockReleaseBuffer(buffer);
    if (!sound) {
      *bad = block;
      return;
    }
    begin += part;
    size -= part;
    out += part;
  }
}

// False while a standby replays the build of the log: its meta page comes last.
bool MetaPageIsThere(Relation index) {
  if (!RecoveryInProgress()) return true;
  Buffer buffer = ReadBuffer(index, kMetaBlock);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  bool there = !PageIsNew(BufferGetPage(buffer));
  UnlockReleaseBuffer(buffer);
  return there;
}

bool StillHolds(LogReader* reader, uint32 extent, uint64 sequence) {
  Buffer buffer = LockDirectory(reader, extent, sequence);
  if (!BufferIsValid(buffer)) return false;
  UnlockReleaseBuffer(buffer);
  return true;
}

}  // namespace

XLogRecPtr ReadMeta(Relation index, MetaPage* meta, BufferAccessStrategy strategy) {
  Buffer buffer = ReadBufferExtended(index, MAIN_FORKNUM, kMetaBlock, RBM_NORMAL, strategy);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  Page page = BufferGetPage(buffer);
  if (!IsLogPage(page, kMetaPageKind) || MetaOf(page)->magic != kLogMagic) RaiseCorrupt(index, kMetaBlock);
  if (MetaOf(page)->version != kLogVersion)
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("index \"%s\" has format version %u, this library knows version %u",
                           RelationGetRelationName(index), MetaOf(page)->version, kLogVersion),
                    errhint("Please REINDEX it.")));
  memcpy(meta, MetaOf(page), sizeof(MetaPage));
  XLogRecPtr lsn = PageGetLSN(page);
  UnlockReleaseBuffer(buffer);
  return lsn;
}

bool OpenLog(LogReader* reader, Relation index, BufferAccessStrategy strategy) {
  memset(reader, 0, sizeof(*reader));
  reader->index = index;
  reader->strategy = strategy;
  reader->context = CurrentMemoryContext;
  reader->map_first = PG_UINT64_MAX;
  if (RelationGetNumberOfBlocks(index) == 0 || !MetaPageIsThere(index)) return false;
  reader->meta = static_cast<MetaPage*>(palloc(sizeof(MetaPage)));
  reader->max_lsn = ReadMeta(index, reader->meta, strategy);
  // After the meta page: every extent it knows of has its directory page by now.
  reader->block_count = RelationGetNumberOfBlocks(index);
  return true;
}

void RefreshLog(LogReader* reader) {
  XLogRecPtr lsn = ReadMeta(reader->index, reader->meta, reader->strategy);
  if (lsn > reader->max_lsn) reader->max_lsn = lsn;
  reader->block_count = RelationGetNumberOfBlocks(reader->index);
  reader->map_first = PG_UINT64_MAX;
}

uint64 LogEnd(LogReader* reader) {
  const MetaPage* meta = reader->meta;
  if (meta->next_sequence == 0) return 0;
  uint64 tail = meta->next_sequence - 1;
  RequireDirectory(reader, meta->tail_extent, tail);
  Buffer buffer = LockDirectory(reader, meta->tail_extent, tail);
  uint32 used = meta->slots_per_extent;  // no longer the tail, and freed: it was full
  if (BufferIsValid(buffer)) {
    used = DirectoryOf(BufferGetPage(buffer))->used;
    UnlockReleaseBuffer(buffer);
    // Vector pages behind what was just published may be newer than the file size noted at opening.
    reader->block_count = RelationGetNumberOfBlocks(reader->index);
  }
  return tail * meta->slots_per_extent + used;
}

uint32 ExtentOfSequence(LogReader* reader, uint64 sequence) {
  const MetaPage* meta = reader->meta;
  if (sequence < meta->first_sequence || sequence >= meta->next_sequence) return kFreedSequence;
  uint64 first = sequence - sequence % kMapEntries;
  if (reader->map_first != first) {
    BlockNumber block = meta->map_blocks[MapRingIndex(sequence)];
    if (block == 0 || block >= reader->block_count) RaiseCorrupt(reader->index, block);
    if (reader->map == nullptr)
      reader->map = static_cast<uint32*>(MemoryContextAlloc(reader->context, kMapEntries * sizeof(uint32)));
    Buffer buffer = LockShared(reader, block);
    Page page = BufferGetPage(buffer);
    if (!IsLogPage(page, kMapPageKind)) RaiseCorrupt(reader->index, block);
    memcpy(reader->map, MapOf(page), kMapEntries * sizeof(uint32));
    UnlockReleaseBuffer(buffer);
    reader->map_first = first;
  }
  return reader->map[sequence - first];
}

void FetchDirectory(LogReader* reader, uint64 sequence) {
  uint32 extent = ExtentOfSequence(reader, sequence);
  if (extent == kFreedSequence) return;
  BlockNumber block = DirectoryBlock(extent, reader->meta->pages_per_extent);
  if (block < reader->block_count) PrefetchBuffer(reader->index, MAIN_FORKNUM, block);
}

bool ReadDirectory(LogReader* reader, uint64 sequence, ExtentCopy* copy) {
  uint32 extent = ExtentOfSequence(reader, sequence);
  if (extent == kFreedSequence) return false;
  if (!RequireDirectory(reader, extent, sequence)) return false;
  return CopyDirectory(LockDirectory(reader, extent, sequence), copy);
}

bool ReadDirectoryOf(LogReader* reader, uint32 extent, uint64 sequence, ExtentCopy* copy) {
  return CopyDirectory(LockDirectory(reader, extent, sequence, false), copy);
}

bool ReadVectors(LogReader* reader, uint32 extent, uint64 sequence, uint32 begin, uint32 end, void* out) {
  uint64 vector_bytes = reader->meta->vector_bytes;
  BlockNumber bad = InvalidBlockNumber;
  ReadStream(reader, extent, begin * vector_bytes, (end - begin) * vector_bytes, static_cast<char*>(out),
             &bad);
  bool there = StillHolds(reader, extent, sequence);
  if (there && BlockNumberIsValid(bad)) RaiseCorrupt(reader->index, bad);
  return there;
}

void PrefetchEntry(const LogReader* reader, uint64 ordinal) {
  const MetaPage* meta = reader->meta;
  uint64 extent = ordinal / meta->slots_per_extent;
  if (extent >= meta->extent_count) return;
  BlockNumber directory = DirectoryBlock(static_cast<uint32>(extent), meta->pages_per_extent);
  uint32 slot = ordinal % meta->slots_per_extent;
  uint32 slot_begin = sizeof(DirectoryHeader) + slot * sizeof(Slot);
  PrefetchPage(reader, directory, slot_begin, slot_begin + sizeof(Slot));
  uint64 begin = uint64{slot} * meta->vector_bytes;
  uint32 offset = begin % kPageCapacity;
  PrefetchPage(reader, directory + 1 + static_cast<BlockNumber>(begin / kPageCapacity), offset,
               offset + meta->vector_bytes);
}

// The directory page is looked at behind the vector. If the extent still has the sequence then, it had it all
// the time, as no sequence is given twice, and the vector was there when the segment was built.
bool ReadEntry(LogReader* reader, uint64 ordinal, uint64 sequence, void* out, ItemPointer tid) {
  const MetaPage* meta = reader->meta;
  uint64 extent = ordinal / meta->slots_per_extent;
  if (extent >= meta->extent_count) return false;
  BlockNumber bad = InvalidBlockNumber;
  ReadStream(reader, static_cast<uint32>(extent), ordinal % meta->slots_per_extent * meta->vector_bytes,
             meta->vector_bytes, static_cast<char*>(out), &bad);
  Slot slot;
  Buffer directory = LockEntry(reader, ordinal, sequence, &slot);
  if (!BufferIsValid(directory)) return false;
  UnlockReleaseBuffer(directory);
  if (BlockNumberIsValid(bad)) RaiseCorrupt(reader->index, bad);
  *tid = slot.tid;
  return true;
}

}  // namespace vecckpt
