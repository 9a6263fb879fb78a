// See sql_check.hpp: the meta page and the map pages.

#include "pg/sql_check.hpp"

#include "pg/options.hpp"
#include "pg/vector_input.hpp"
#include "pg/wall.hpp"

#include "hnsw/codec.hpp"

namespace vecckpt {
namespace {

constexpr char kMetaPageName[] = "meta page";

bool IsMetric(uint8 metric) {
  return metric >= static_cast<uint8>(Metric::kL2) && metric <= static_cast<uint8>(Metric::kL1);
}

void ReportMeta(IndexCheck* check, const char* message) {
  Report(check, Severity::kError, BlockPlace(kMetaBlock, kMetaPageName), "%s", message);
}

// That it is a meta page, of this format. Without it nothing else can be checked.
bool CheckFormat(IndexCheck* check, Page page) {
  const MetaPage* meta = &check->meta;
  if (!IsLogPage(page, kMetaPageKind) || meta->magic != kLogMagic) {
    ReportMeta(check, PageIsNew(page) ? "is empty" : "is not a meta page");
    return false;
  }
  if (meta->version != kLogVersion) {
    Report(check, Severity::kError, BlockPlace(kMetaBlock, kMetaPageName),
           "has format version %u, this library knows version %u", meta->version, kLogVersion);
    return false;
  }
  if (PageUsed(page) != sizeof(MetaPage) && PageUsed(page) != kShortMetaPage)
    ReportMeta(check, "has a wrong length");
  return true;
}

// What the index was created with.
bool CheckOptions(IndexCheck* check) {
  const MetaPage* meta = &check->meta;
  const OpclassSupport* support = SupportOf(check->index);
  if (!IsMetric(meta->metric) || !IsElementType(meta->element_type) || !IsCodeKind(meta->code_kind) ||
      meta->dims > kMaxDims || meta->slot_size != sizeof(Slot)) {
    ReportMeta(check,
               "has a metric, element type, code kind, slot size or number of dimensions that there is not");
    return false;
  }
  if (meta->metric != static_cast<uint8>(support->metric) ||
      meta->element_type != static_cast<uint8>(support->element_type))
    ReportMeta(check, "has a metric or element type other than the operator class");
  if (meta->m < kMinM || meta->m > kMaxM || meta->ef_construction < kMinEfConstruction ||
      meta->ef_construction > kMaxEfConstruction)
    ReportMeta(check, "has m or ef_construction out of range");
  if (meta->reserved != 0 || meta->reserved2 != 0) ReportMeta(check, "has values in reserved fields");

  MetaPage expected = *meta;
  expected.slots_per_extent = expected.pages_per_extent = expected.vector_bytes = 0;
  if (meta->dims != 0) SetGeometry(&expected, meta->dims);
  if (meta->slots_per_extent == expected.slots_per_extent &&
      meta->pages_per_extent == expected.pages_per_extent && meta->vector_bytes == expected.vector_bytes &&
      meta->code_kind == expected.code_kind)
    return true;
  ReportMeta(check, "has a geometry that does not fit its dimensions");
  return false;
}

// Sequences and extents.
LogState CheckNumbers(IndexCheck* check) {
  const MetaPage* meta = &check->meta;
  bool unlogged = check->index->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED;
  if (meta->identity == 0 && (!unlogged || meta->next_sequence != 0)) ReportMeta(check, "has no identity");
  if (meta->next_sequence == 0) {
    if (meta->first_sequence != 0 || meta->extent_count != 0 || meta->free_head != kNoExtent ||
        meta->map_extent != kNoExtent)
      ReportMeta(check, "has extents, but no sequence");
    return LogState::kEmpty;
  }
  constexpr uint64 kRing = uint64{kMaxMapPages} * kMapEntries;
  if (meta->dims == 0 || meta->first_sequence >= meta->next_sequence ||
      meta->next_sequence - meta->first_sequence > kRing) {
    Report(check, Severity::kError, BlockPlace(kMetaBlock, kMetaPageName),
           "has sequences " UINT64_FORMAT " to " UINT64_FORMAT ", which cannot be", meta->first_sequence,
           meta->next_sequence);
    return LogState::kUnknown;
  }
  if (meta->extent_count != check->extent_count)
    Report(check, Severity::kError, BlockPlace(kMetaBlock, kMetaPageName),
           "has %u extents, the file has room for %u", meta->extent_count, check->extent_count);
  if (meta->tail_extent >= meta->extent_count)
    Report(check, Severity::kError, BlockPlace(kMetaBlock, kMetaPageName), "has extent %u as its tail, of %u",
           meta->tail_extent, meta->extent_count);
  if (meta->map_extent != kNoExtent &&
      (meta->map_extent >= meta->extent_count || meta->map_extent_used > meta->pages_per_extent))
    Report(check, Severity::kError, BlockPlace(kMetaBlock, kMetaPageName),
           "puts the next map page into page %u of extent %u, of %u", meta->map_extent_used, meta->map_extent,
           meta->extent_count);
  return LogState::kThere;
}

// Notes the extents that are taken for map pages.
void NoteMapExtents(IndexCheck* check) {
  const MetaPage* meta = &check->meta;
  if (meta->map_extent < check->extent_count) SetBit(check->map_extents, meta->map_extent);
  for (uint32 ring = 0; ring < kMaxMapPages; ring++) {
    BlockNumber block = meta->map_blocks[ring];
    if (block < kFirstExtentBlock) continue;
    uint32 extent = (block - kFirstExtentBlock) / meta->pages_per_extent;
    if (extent < check->extent_count) SetBit(check->map_extents, extent);
  }
}

int CompareBlocks(const void* a, const void* b) {
  BlockNumber x = *static_cast<const BlockNumber*>(a), y = *static_cast<const BlockNumber*>(b);
  return x < y ? -1 : x > y;
}

void CheckNoBlockTwice(IndexCheck* check) {
  BlockNumber blocks[kMaxMapPages];
  memcpy(blocks, check->meta.map_blocks, sizeof(blocks));
  qsort(blocks, kMaxMapPages, sizeof(BlockNumber), CompareBlocks);
  for (uint32 i = 1; i < kMaxMapPages; i++)
    if (blocks[i] != 0 && blocks[i] == blocks[i - 1] && (i == 1 || blocks[i] != blocks[i - 2]))
      Report(check, Severity::kError, BlockPlace(kMetaBlock, kMetaPageName),
             "names block %u as two map pages", blocks[i]);
}

// The entries of a map page that no sequence has: before the first and from the next one on.
void CheckUnusedEntries(IndexCheck* check, Page page, BlockNumber block, uint64 first) {
  const uint32* map = MapOf(page);
  for (uint32 i = 0; i < kMapEntries; i++) {
    uint64 sequence = first + i;
    bool before = sequence < check->meta.first_sequence;
    if ((!before && sequence < check->meta.next_sequence) || map[i] == kFreedSequence) continue;
    // Given out since the meta page was read, or the page serves other sequences by now.
    MetaPage now;
    if (!CopyMetaNow(check, &now)) return;
    if (before ? now.first_sequence >= first + kMapEntries : sequence < now.next_sequence) continue;
    Report(check, Severity::kError, BlockPlace(block, "map page"),
           "gives extent %u to sequence " UINT64_FORMAT ", which %s", map[i], sequence,
           before ? "is before the first" : "is not in use yet");
  }
}

// A map page that serves sequences of [first, next), or none of them.
void CheckMapPage(IndexCheck* check, uint32 ring, uint64 first, bool serves) {
  BlockNumber block = check->meta.map_blocks[ring];
  PGAlignedBlock page;
  if (!CopyPage(check, block, page.data)) return;
  if (!IsLogPage(page.data, kMapPageKind)) {
    Report(check, Severity::kError, BlockPlace(block, "map page"),
           PageIsNew(page.data) ? "is empty" : "is not a map page");
    return;
  }
  if (PageUsed(page.data) != kMapEntries * sizeof(uint32))
    Report(check, Severity::kError, BlockPlace(block, "map page"), "has a wrong length");
  if (serves) CheckUnusedEntries(check, page.data, block, first);
}

// False if the meta page puts a map page where it cannot be.
bool CheckMapBlock(IndexCheck* check, uint32 ring, bool serves) {
  BlockNumber block = check->meta.map_blocks[ring];
  if (block == 0 && !serves) return false;
  bool in_place = ring == 0
                      ? block == kFirstMapBlock
                      : block >= kFirstExtentBlock &&
                            (block - kFirstExtentBlock) / check->meta.pages_per_extent < check->extent_count;
  if (in_place && block < RelationGetNumberOfBlocks(check->index)) return true;
  Report(check, Severity::kError, BlockPlace(kMetaBlock, kMetaPageName), "has block %u for map page %u",
         block, ring);
  return false;
}

}  // namespace

LogState CheckMetaPage(IndexCheck* check) {
  BlockNumber blocks = RelationGetNumberOfBlocks(check->index);
  PGAlignedBlock page;
  if (blocks == 0) {
    Report(check, Severity::kError, MakePlace("file"), "is empty");
    return LogState::kUnknown;
  }
  if (!CopyPage(check, kMetaBlock, page.data)) return LogState::kUnknown;
  memcpy(&check->meta, MetaOf(page.data), sizeof(MetaPage));
  if (!CheckFormat(check, page.data) || !CheckOptions(check)) return LogState::kUnknown;
  const MetaPage* meta = &check->meta;
  VECCKPT_FAULT_POINT_RAISE(CheckStep, "meta page");
  // Every extent that was given out has its first page in the file. (The page was read before the size.)
  blocks = RelationGetNumberOfBlocks(check->index);
  uint64 room =
      meta->dims == 0 || blocks <= kFirstExtentBlock
          ? 0
          : (uint64{blocks} - kFirstExtentBlock + meta->pages_per_extent - 1) / meta->pages_per_extent;
  check->extent_count = static_cast<uint32>(Min(uint64{meta->extent_count}, room));
  LogState state = CheckNumbers(check);
  if (state != LogState::kThere) return state;
  check->map_extents = NewBits(check->extent_count);
  check->live_extents = NewBits(check->extent_count);
  NoteMapExtents(check);
  return LogState::kThere;
}

void CheckMapPages(IndexCheck* check) {
  const MetaPage* meta = &check->meta;
  CheckNoBlockTwice(check);
  uint64 first_page = meta->first_sequence / kMapEntries;
  uint64 last_page = (meta->next_sequence - 1) / kMapEntries;
  for (uint32 ring = 0; ring < kMaxMapPages; ring++) {
    // The one page of [first_page, last_page] that has this place in the ring, if there is one.
    uint64 number = first_page + (ring + kMaxMapPages - first_page % kMaxMapPages) % kMaxMapPages;
    bool serves = number <= last_page;
    if (CheckMapBlock(check, ring, serves)) CheckMapPage(check, ring, number * kMapEntries, serves);
  }
}

}  // namespace vecckpt
