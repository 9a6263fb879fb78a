// Appending entries and taking extents. See log_append.hpp for the lock order.
//
// An entry's bytes are in the log before its directory page's `used` covers them: the record that raises
// `used` carries the slot and the last of the vector's pages. Pages that do not fit it go first, in own
// records; a crash between leaves bytes behind `used` that the next insert overwrites.

#include "pg/log_append.hpp"

#include "pg/log_read.hpp"
#include "pg/options.hpp"
#include "pg/vector_input.hpp"
#include "pg/wall.hpp"

namespace vecckpt {
namespace {

// Makes the file long enough to hold `block`, and some more up to `last`. Pages stay zero until a record
// initializes them.
void ExtendTo(Relation index, BlockNumber block, BlockNumber last) {
  if (RelationGetNumberOfBlocks(index) > block) return;
  ExtendFork(index, block, last);
  VECCKPT_FAULT_POINT_RAISE(LogExtended);
}

Buffer LockExclusive(Relation index, BlockNumber block) {
  Buffer buffer = ReadBuffer(index, block);
  LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
  return buffer;
}

// Registers an exclusively locked page. A page of zeros is initialized as `kind`, and logged whole, because
// redo cannot apply a delta to a page that it has never seen.
Page RegisterPage(GenericXLogState* state, Buffer buffer, PageKind kind) {
  bool is_new = PageIsNew(BufferGetPage(buffer));
  Page page = GenericXLogRegisterBuffer(state, buffer, is_new ? GENERIC_XLOG_FULL_IMAGE : 0);
  if (is_new) InitLogPage(page, kind);
  return page;
}

BlockNumber CheckedBlock(Relation index, const MetaPage* meta, uint32 extent) {
  if (extent >= (MaxBlockNumber - kFirstExtentBlock) / meta->pages_per_extent - 1)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("index \"%s\" cannot grow further", RelationGetRelationName(index)),
                    errhint("Please REINDEX it, or partition the table.")));
  return DirectoryBlock(extent, meta->pages_per_extent);
}

// Draws an identity and fixes the dims where the meta page still lacks them.
void PrepareLog(Relation index, uint32 dims) {
  uint64 identity = DrawIdentity();
  Buffer buffer = LockExclusive(index, kMetaBlock);
  MetaPage* now = MetaOf(BufferGetPage(buffer));
  if (now->dims == 0 || now->identity == 0) {
    GenericXLogState* state = GenericXLogStart(index);
    MetaPage* meta = MetaOf(GenericXLogRegisterBuffer(state, buffer, 0));
    if (meta->identity == 0) meta->identity = identity;
    if (meta->dims == 0) SetGeometry(meta, dims);
    VECCKPT_FAULT_POINT_RAISE(LogPrepare);
    GenericXLogFinish(state);
    VECCKPT_FAULT_POINT_RAISE(LogPrepared);
  }
  UnlockReleaseBuffer(buffer);
}

constexpr uint64 kRing = uint64{kMaxMapPages} * kMapEntries;

// The map pages are a ring, so the span between the first and the last sequence is limited. Says so in good
// time, once for each map page.
void WarnOfSpan(Relation index, uint64 first_sequence, uint64 next_sequence) {
  uint64 span = next_sequence - first_sequence;
  if (next_sequence % kMapEntries != 0 || span < kRing / 4 * 3) return;
  ereport(WARNING,
          (errmsg("index \"%s\" has used %d %% of its positions", RelationGetRelationName(index),
                  static_cast<int>(100 * span / kRing)),
           errdetail("The span from its oldest extent that holds a living entry to its newest is limited."),
           errhint("REINDEX it before inserts fail.")));
}

// Where the map page of a new sequence lies, making one if needed. REQUIRES: the meta page is locked
// exclusively; it is changed in a record of its own.
BlockNumber MapBlockFor(Relation index, Buffer meta_buffer, uint64 sequence) {
  const MetaPage* now = MetaOf(BufferGetPage(meta_buffer));
  uint32 ring = MapRingIndex(sequence);
  BlockNumber block = now->map_blocks[ring];
  if (sequence % kMapEntries != 0) return block;
  // The ring's place still maps sequences that have extents: everything between first and tail must fit.
  if (sequence >= kRing && now->first_sequence + kRing < sequence + kMapEntries)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("index \"%s\" has used up its positions", RelationGetRelationName(index)),
                    errhint("Please REINDEX it.")));

  uint32 extent = now->map_extent;
  uint32 used = now->map_extent_used;
  uint32 extent_count = now->extent_count;
  if (sequence == 0) {
    block = kFirstMapBlock;
  } else if (block == 0) {
    if (extent == kNoExtent || used == now->pages_per_extent) {
      extent = extent_count++;
      used = 0;
    }
    block = CheckedBlock(index, now, extent) + used++;
  }
  ExtendTo(index, block, block);
  Buffer map_buffer = LockExclusive(index, block);
  GenericXLogState* state = GenericXLogStart(index);
  MetaPage* meta = MetaOf(GenericXLogRegisterBuffer(state, meta_buffer, 0));
  Page map = GenericXLogRegisterBuffer(state, map_buffer, GENERIC_XLOG_FULL_IMAGE);
  InitLogPage(map, kMapPageKind);
  memset(MapOf(map), 0xFF, kMapEntries * sizeof(uint32));
  SetPageUsed(map, kMapEntries * sizeof(uint32));
  meta->map_blocks[ring] = block;
  meta->map_extent = extent;
  meta->map_extent_used = used;
  meta->extent_count = extent_count;
  VECCKPT_FAULT_POINT_RAISE(MapPageMake);
  GenericXLogFinish(state);
  VECCKPT_FAULT_POINT_RAISE(MapPageMade);
  UnlockReleaseBuffer(map_buffer);
  return block;
}

// The running hash that the next sequence starts with.
uint64 HashBehindTail(Relation index, const MetaPage* meta) {
  if (meta->next_sequence == 0) return 0;
  BlockNumber block = DirectoryBlock(meta->tail_extent, meta->pages_per_extent);
  Buffer buffer = ReadBuffer(index, block);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  Page page = BufferGetPage(buffer);
  uint64 hash = RunningHash(DirectoryOf(page)->running_hash, SlotsOf(page), DirectoryOf(page)->used);
  UnlockReleaseBuffer(buffer);
  return hash;
}

// Gives the log a new tail, unless somebody did so since `next_sequence` was read.
void TakeExtent(Relation index, uint64 next_sequence) {
  Buffer meta_buffer = LockExclusive(index, kMetaBlock);
  const MetaPage* now = MetaOf(BufferGetPage(meta_buffer));
  if (now->next_sequence != next_sequence) {
    UnlockReleaseBuffer(meta_buffer);
    return;
  }
  uint64 first_sequence = now->first_sequence;
  BlockNumber map_block = MapBlockFor(index, meta_buffer, next_sequence);
  uint64 running_hash = HashBehindTail(index, now);
  bool reuse = now->free_head != kNoExtent;
  uint32 extent = reuse ? now->free_head : now->extent_count;
  BlockNumber block = CheckedBlock(index, now, extent);
  ExtendTo(index, block, block);
  Buffer map_buffer = LockExclusive(index, map_block);
  Buffer directory_buffer = LockExclusive(index, block);

  GenericXLogState* state = GenericXLogStart(index);
  MetaPage* meta = MetaOf(GenericXLogRegisterBuffer(state, meta_buffer, 0));
  uint32* map = MapOf(GenericXLogRegisterBuffer(state, map_buffer, 0));
  Page directory = GenericXLogRegisterBuffer(state, directory_buffer, GENERIC_XLOG_FULL_IMAGE);
  if (reuse)
    meta->free_head = DirectoryOf(directory)->next_free;
  else
    meta->extent_count++;
  meta->tail_extent = extent;
  meta->next_sequence++;
  map[next_sequence % kMapEntries] = extent;
  InitLogPage(directory, kDirectoryPageKind);
  *DirectoryOf(directory) = {next_sequence, running_hash, extent, kExtentLive, 0, 0, kNoExtent, 0};
  SetPageUsed(directory, sizeof(DirectoryHeader));
  VECCKPT_FAULT_POINT_RAISE(ExtentTake);
  GenericXLogFinish(state);
  VECCKPT_FAULT_POINT_RAISE(ExtentTaken);

  UnlockReleaseBuffer(directory_buffer);
  UnlockReleaseBuffer(map_buffer);
  UnlockReleaseBuffer(meta_buffer);
  WarnOfSpan(index, first_sequence, next_sequence);
}

// Copies the part of a vector that lies on one page of the stream.
void WriteStreamPart(Page page, uint64 stream_page, uint64 begin, uint64 end, const char* bytes) {
  uint64 page_begin = stream_page * kPageCapacity;
  uint64 from = Max(begin, page_begin);
  uint64 to = Min(end, page_begin + kPageCapacity);
  memcpy(StreamOf(page) + (from - page_begin), bytes + (from - begin), to - from);
  if (PageUsed(page) < to - page_begin) SetPageUsed(page, static_cast<uint32>(to - page_begin));
}

// Writes an entry into slot `directory->used`. REQUIRES: the directory page is locked exclusively.
void WriteEntry(Relation index, Buffer directory_buffer, BlockNumber directory_block, const MetaPage& meta,
                const ItemPointerData& tid, const StoredVector& vector) {
  constexpr uint64 kPagesWithDirectory = MAX_GENERIC_XLOG_PAGES - 1;
  const char* bytes = static_cast<const char*>(vector.elements);
  uint32 slot = DirectoryOf(BufferGetPage(directory_buffer))->used;
  uint64 begin = uint64{slot} * meta.vector_bytes;
  uint64 end = begin + meta.vector_bytes;
  uint64 page = begin / kPageCapacity;
  uint64 last = (end - 1) / kPageCapacity;
  // Only a vector that begins a page or runs over one can need a page that is not there yet.
  if (begin % kPageCapacity == 0 || last > page)
    ExtendTo(index, directory_block + 1 + last, directory_block + meta.pages_per_extent - 1);

  for (;;) {
    uint64 left = last - page + 1;
    bool final_record = left <= kPagesWithDirectory;
    uint64 count = final_record ? left : Min(left - kPagesWithDirectory, uint64{MAX_GENERIC_XLOG_PAGES});
    Buffer buffers[MAX_GENERIC_XLOG_PAGES];
    GenericXLogState* state = GenericXLogStart(index);
    if (final_record) {
      Page directory = GenericXLogRegisterBuffer(state, directory_buffer, 0);
      SlotsOf(directory)[slot] = {tid, 0, EntryHash(tid, vector)};
      DirectoryOf(directory)->used = slot + 1;
      DirectoryOf(directory)->live++;
      SetPageUsed(directory, sizeof(DirectoryHeader) + (slot + 1) * sizeof(Slot));
    }
    for (uint64 i = 0; i < count; i++) {
      buffers[i] = LockExclusive(index, directory_block + 1 + page + i);
      WriteStreamPart(RegisterPage(state, buffers[i], kVectorPageKind), page + i, begin, end, bytes);
    }
    if (final_record) VECCKPT_FAULT_POINT_RAISE(EntryWrite);
    GenericXLogFinish(state);
    for (uint64 i = 0; i < count; i++) UnlockReleaseBuffer(buffers[i]);
    if (final_record) return;
    VECCKPT_FAULT_POINT_RAISE(EntryPartWritten);
    page += count;
  }
}

// What option and type modifier say; 0 if they say nothing.
uint32 DimsOf(Relation index, const IndexOptions& options, const OpclassSupport& support) {
  int typmod = TupleDescAttr(RelationGetDescr(index), 0)->atttypmod;
  if (!support.typmod_is_dims || typmod < 1) return static_cast<uint32>(options.dims);
  if (options.dims != 0 && options.dims != typmod)
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             errmsg("option \"dims\" is %d, the indexed values have %d dimensions", options.dims, typmod)));
  return static_cast<uint32>(typmod);
}

}  // namespace

LogOptions LogOptionsOf(Relation index) {
  IndexOptions options = OptionsOf(index);
  const OpclassSupport* support = SupportOf(index);
  return {DimsOf(index, options, *support),
          static_cast<uint32>(options.m),
          static_cast<uint32>(options.ef_construction),
          support->metric,
          support->element_type,
          static_cast<CodeKind>(options.quantization)};
}

void InitMetaPage(Page page, const LogOptions& options, uint64 identity) {
  InitLogPage(page, kMetaPageKind);
  MetaPage* meta = MetaOf(page);
  memset(meta, 0, sizeof(MetaPage));
  meta->magic = kLogMagic;
  meta->version = kLogVersion;
  meta->identity = identity;
  meta->slot_size = sizeof(Slot);
  meta->m = options.m;
  meta->ef_construction = options.ef_construction;
  meta->metric = static_cast<uint8>(options.metric);
  meta->element_type = static_cast<uint8>(options.element_type);
  meta->code_kind = static_cast<uint8>(options.code_kind);
  meta->free_head = kNoExtent;
  meta->map_extent = kNoExtent;
  if (options.dims != 0) SetGeometry(meta, options.dims);
  SetPageUsed(page, sizeof(MetaPage));
}

uint64 DrawIdentity() {
  uint64 identity = 0;
  while (identity == 0)
    if (!pg_strong_random(&identity, sizeof(identity)))
      ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not draw a random index identity")));
  return identity;
}

uint64 AppendEntry(Relation index, const ItemPointerData& tid, const StoredVector& vector,
                   const VectorSite& site) {
  MetaPage* meta = static_cast<MetaPage*>(palloc(sizeof(MetaPage)));
  uint64 position;
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    ReadMeta(index, meta);
    if (meta->dims != 0 && meta->dims != vector.dims) RaiseWrongDims(site, meta->dims, vector.dims);
    if (meta->dims == 0 || meta->identity == 0) {
      PrepareLog(index, vector.dims);
      continue;
    }
    if (meta->next_sequence == 0) {
      TakeExtent(index, 0);
      continue;
    }
    BlockNumber block = DirectoryBlock(meta->tail_extent, meta->pages_per_extent);
    Buffer buffer = LockExclusive(index, block);
    DirectoryHeader* header = DirectoryOf(BufferGetPage(buffer));
    bool is_tail = header->state == kExtentLive && header->sequence == meta->next_sequence - 1;
    if (!is_tail || header->used >= meta->slots_per_extent) {
      UnlockReleaseBuffer(buffer);
      TakeExtent(index, meta->next_sequence);
      continue;
    }
    position = header->sequence * meta->slots_per_extent + header->used;
    WriteEntry(index, buffer, block, *meta, tid, vector);
    VECCKPT_FAULT_POINT_RAISE(EntryWritten);
    UnlockReleaseBuffer(buffer);
    break;
  }
  pfree(meta);
  return position;
}

}  // namespace vecckpt
