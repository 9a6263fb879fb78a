// The bulk path of CREATE INDEX: see BulkWriter in log_append.hpp. One extent at a time is filled in local
// memory and written through the buffer manager; the relation is new and nobody else can see it. All pages
// are WAL-logged at the end, by log_newpage_range, and only if the relation needs WAL.

#include "pg/log_append.hpp"
#include "pg/vector_input.hpp"
#include "pg/wall.hpp"

namespace vecckpt {
namespace {

void AppendPage(Relation index, const char* image) {
  Buffer buffer = ReadBufferExtended(index, MAIN_FORKNUM, P_NEW, RBM_ZERO_AND_LOCK, nullptr);
  if (image != nullptr) memcpy(BufferGetPage(buffer), image, BLCKSZ);
  MarkBufferDirty(buffer);
  UnlockReleaseBuffer(buffer);
}

void OverwritePage(Relation index, BlockNumber block, const char* image) {
  Buffer buffer = ReadBufferExtended(index, MAIN_FORKNUM, block, RBM_ZERO_AND_LOCK, nullptr);
  memcpy(BufferGetPage(buffer), image, BLCKSZ);
  MarkBufferDirty(buffer);
  UnlockReleaseBuffer(buffer);
}

char* PageOf(BulkWriter* writer, uint32 number) {
  return writer->extent + uint64{number} * BLCKSZ;
}

// Gives out the next extent number, as a run of zero pages if it is for map pages.
void ReserveMapPage(BulkWriter* writer, uint64 sequence) {
  MetaPage* meta = writer->meta;
  if (meta->map_extent == kNoExtent || meta->map_extent_used == meta->pages_per_extent) {
    meta->map_extent = meta->extent_count++;
    meta->map_extent_used = 0;
    for (uint32 i = 0; i < meta->pages_per_extent; i++) AppendPage(writer->index, nullptr);
  }
  meta->map_blocks[MapRingIndex(sequence)] =
      DirectoryBlock(meta->map_extent, meta->pages_per_extent) + meta->map_extent_used++;
}

void StartExtent(BulkWriter* writer) {
  MetaPage* meta = writer->meta;
  uint64 sequence = meta->next_sequence;
  if (sequence >= uint64{kMaxMapPages} * kMapEntries)
    ereport(ERROR,
            (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
             errmsg("index \"%s\" cannot hold this many entries", RelationGetRelationName(writer->index)),
             errhint("Partition the table.")));
  if (sequence == 0) {
    meta->map_blocks[0] = kFirstMapBlock;
    AppendPage(writer->index, nullptr);
  } else if (sequence % kMapEntries == 0) {
    ReserveMapPage(writer, sequence);
  }
  if (sequence >= writer->map_size) {
    writer->map_size = Max(writer->map_size * 2, uint64{1024});
    uint64 bytes = writer->map_size * sizeof(uint32);
    writer->map = static_cast<uint32*>(writer->map == nullptr ? palloc_extended(bytes, MCXT_ALLOC_HUGE)
                                                              : repalloc_huge(writer->map, bytes));
  }
  writer->extent_number = meta->extent_count++;
  writer->map[sequence] = writer->extent_number;
  meta->next_sequence++;
  meta->tail_extent = writer->extent_number;
  writer->used = 0;
  memset(writer->extent, 0, uint64{meta->pages_per_extent} * BLCKSZ);
  Page directory = PageOf(writer, 0);
  InitLogPage(directory, kDirectoryPageKind);
  *DirectoryOf(directory) = {
      sequence, writer->running_hash, writer->extent_number, kExtentLive, 0, 0, kNoExtent, 0};
}

// Writes the extent's pages: all of them if it is full, else those in use.
void WriteExtent(BulkWriter* writer) {
  MetaPage* meta = writer->meta;
  Page directory = PageOf(writer, 0);
  DirectoryOf(directory)->used = writer->used;
  DirectoryOf(directory)->live = writer->used;
  SetPageUsed(directory, sizeof(DirectoryHeader) + writer->used * sizeof(Slot));
  writer->running_hash = RunningHash(writer->running_hash, SlotsOf(directory), writer->used);
  uint64 stream = uint64{writer->used} * meta->vector_bytes;
  uint32 pages = 1 + static_cast<uint32>((stream + kPageCapacity - 1) / kPageCapacity);
  for (uint32 i = 0; i < pages; i++) AppendPage(writer->index, PageOf(writer, i));
}

void WriteMapPages(BulkWriter* writer) {
  char image[BLCKSZ] pg_attribute_aligned(MAXIMUM_ALIGNOF);
  for (uint64 first = 0; first < writer->meta->next_sequence; first += kMapEntries) {
    uint64 count = Min(writer->meta->next_sequence - first, uint64{kMapEntries});
    InitLogPage(image, kMapPageKind);
    memset(MapOf(image), 0xFF, kMapEntries * sizeof(uint32));
    memcpy(MapOf(image), writer->map + first, count * sizeof(uint32));
    SetPageUsed(image, kMapEntries * sizeof(uint32));
    OverwritePage(writer->index, writer->meta->map_blocks[MapRingIndex(first)], image);
  }
}

}  // namespace

void BulkBegin(BulkWriter* writer, Relation index) {
  memset(writer, 0, sizeof(*writer));
  writer->index = index;
  char* page = static_cast<char*>(palloc(BLCKSZ));
  InitMetaPage(page, LogOptionsOf(index), DrawIdentity());
  writer->meta = MetaOf(page);
  AppendPage(index, page);
}

void BulkAdd(BulkWriter* writer, const ItemPointerData& tid, const StoredVector& vector,
             const VectorSite& site) {
  MetaPage* meta = writer->meta;
  if (meta->dims == 0) SetGeometry(meta, vector.dims);
  if (meta->dims != vector.dims) RaiseWrongDims(site, meta->dims, vector.dims);
  if (writer->extent == nullptr) {
    writer->extent = static_cast<char*>(palloc(uint64{meta->pages_per_extent} * BLCKSZ));
    StartExtent(writer);
  } else if (writer->used == meta->slots_per_extent) {
    WriteExtent(writer);
    StartExtent(writer);
  }
  uint64 begin = uint64{writer->used} * meta->vector_bytes;
  const char* bytes = static_cast<const char*>(vector.elements);
  for (uint64 done = 0; done < meta->vector_bytes;) {
    uint64 at = begin + done;
    Page page = PageOf(writer, 1 + static_cast<uint32>(at / kPageCapacity));
    if (PageIsNew(page)) InitLogPage(page, kVectorPageKind);
    uint32 offset = at % kPageCapacity;
    uint64 part = Min(meta->vector_bytes - done, uint64{kPageCapacity} - offset);
    memcpy(StreamOf(page) + offset, bytes + done, part);
    SetPageUsed(page, static_cast<uint32>(offset + part));
    done += part;
  }
  SlotsOf(PageOf(writer, 0))[writer->used++] = {tid, 0, EntryHash(tid, vector)};
}

uint64 BulkFinish(BulkWriter* writer) {
  MetaPage* meta = writer->meta;
  uint64 entries = 0;
  if (writer->extent != nullptr) {
    entries = (meta->next_sequence - 1) * meta->slots_per_extent + writer->used;
    WriteExtent(writer);
    WriteMapPages(writer);
  }
  // The meta page's image lies right around `meta`.
  OverwritePage(writer->index, kMetaBlock, reinterpret_cast<char*>(meta) - MAXALIGN(SizeOfPageHeaderData));
  VECCKPT_FAULT_POINT_RAISE(BulkLog);
  if (RelationNeedsWAL(writer->index)) {
    // The meta page last: a standby that replays this sees an empty file or a whole log.
    BlockNumber count = RelationGetNumberOfBlocks(writer->index);
    if (count > 1) log_newpage_range(writer->index, MAIN_FORKNUM, 1, count, true);
    VECCKPT_FAULT_POINT_RAISE(BulkPagesLogged);
    log_newpage_range(writer->index, MAIN_FORKNUM, 0, 1, true);
    VECCKPT_FAULT_POINT_RAISE(BulkLogged);
  }
  return entries;
}

}  // namespace vecckpt
