// ambulkdelete and amvacuumcleanup: dead entries get a flag, wholly dead extents go to the free list. Only
// directory pages are read.
//
// The slots of an extent are copied under a share lock, the callback runs unlocked (it may raise), and the
// page is locked again to flag. Entries are never moved, so a slot number stays good between.

#include "pg/access_method.hpp"
#include "pg/build_horizon.hpp"
#include "pg/log_append.hpp"
#include "pg/log_read.hpp"
#include "pg/private_segments.hpp"
#include "pg/shared_state.hpp"
#include "pg/wall.hpp"

extern "C" {
#include "commands/vacuum.h"
}

namespace vecckpt {
namespace {

void TellBuilder(Relation index) {
  if (shared == nullptr) return;
  if (HasPrivateSegments(index)) return NotePrivateVacuum(index);
  IndexKey key = KeyOf(index);
  if (MarkVacuumed(key)) WakeBuilder(key.database);
}

struct Flagging {
  Relation index;
  double flagged;  // entries, so far
};

// Runs for ERROR and FATAL alike: the next vacuum does not flag them again.
void TellOfFlagged(int code, Datum argument) {
  (void)code;
  auto* flagging = reinterpret_cast<Flagging*>(DatumGetPointer(argument));
  if (flagging->flagged > 0) TellBuilder(flagging->index);
}

IndexBulkDeleteResult* NewStats() {
  return static_cast<IndexBulkDeleteResult*>(palloc0(sizeof(IndexBulkDeleteResult)));
}

void FlagAll(LogReader* reader, IndexBulkDeleteCallback callback, void* callback_state, Flagging* flagging) {
  ExtentCopy* copy = static_cast<ExtentCopy*>(palloc(sizeof(ExtentCopy)));
  uint32* dead = static_cast<uint32*>(palloc(sizeof(uint32) * kMaxSlots));
  for (uint64 sequence = reader->meta->first_sequence; sequence < reader->meta->next_sequence; sequence++) {
    DelayVacuum();
    if (!ReadDirectory(reader, sequence, copy)) continue;
    uint32 count = 0;
    for (uint32 i = 0; i < copy->header.used; i++)
      if (!(copy->slots[i].flags & kSlotDead) && callback(&copy->slots[i].tid, callback_state))
        dead[count++] = i;
    if (count == 0) continue;
    VECCKPT_FAULT_POINT_RAISE(VacuumExtent);
    int now =
        FlagDead(reader->index, reader->meta->pages_per_extent, copy->header.extent, sequence, dead, count);
    if (now > 0) flagging->flagged += now;
  }
  pfree(dead);
  pfree(copy);
}

// FlagAll, and tells the builder. Returns how many.
double FlagAndTell(LogReader* reader, IndexBulkDeleteCallback callback, void* callback_state) {
  Flagging flagging = {reader->index, 0};
  PG_ENSURE_ERROR_CLEANUP(TellOfFlagged, PointerGetDatum(&flagging));
  { FlagAll(reader, callback, callback_state, &flagging); }
  PG_END_ENSURE_ERROR_CLEANUP(TellOfFlagged, PointerGetDatum(&flagging));
  TellOfFlagged(0, PointerGetDatum(&flagging));
  return flagging.flagged;
}

// Extents that hold map pages.
uint32 CountMapExtents(const MetaPage& meta) {
  uint32 pages = 0;
  for (BlockNumber block : meta.map_blocks) pages += block != 0 && block != kFirstMapBlock;
  return (pages + meta.pages_per_extent - 1) / meta.pages_per_extent;
}

// Pages of extents on the free list, where `live` extents hold a sequence. What others have taken or freed
// meanwhile may be missed.
BlockNumber CountFreePages(const MetaPage& meta, uint64 live) {
  if (meta.free_head == kNoExtent) return 0;
  uint64 used = live + CountMapExtents(meta);
  return meta.extent_count <= used
             ? 0
             : static_cast<BlockNumber>(meta.extent_count - used) * meta.pages_per_extent;
}

}  // namespace

IndexBulkDeleteResult* vhnswbulkdelete(IndexVacuumInfo* info, IndexBulkDeleteResult* stats,
                                       IndexBulkDeleteCallback callback, void* callback_state) {
  if (stats == nullptr) stats = NewStats();
  LogReader reader;
  if (!OpenLog(&reader, info->index, info->strategy)) return stats;
  NoteValidation(info->index);
  stats->tuples_removed += FlagAndTell(&reader, callback, callback_state);
  return stats;
}

IndexBulkDeleteResult* vhnswvacuumcleanup(IndexVacuumInfo* info, IndexBulkDeleteResult* stats) {
  if (info->analyze_only) return stats;
  VECCKPT_FAULT_POINT_RAISE(VacuumCleanup);
  if (stats == nullptr) stats = NewStats();
  LogReader reader;
  if (!OpenLog(&reader, info->index, info->strategy)) return stats;
  ExtentCopy* copy = static_cast<ExtentCopy*>(palloc(sizeof(ExtentCopy)));
  double live = 0;
  uint64 live_extents = 0;
  bool freed = false;
  for (uint64 sequence = reader.meta->first_sequence; sequence < reader.meta->next_sequence; sequence++) {
    DelayVacuum();
    if (!ReadDirectory(&reader, sequence, copy)) continue;
    live += copy->header.live;
    live_extents++;
    bool full = copy->header.used == reader.meta->slots_per_extent;
    if (full && copy->header.live == 0 && FreeExtent(info->index, sequence)) {
      freed = true;
      live_extents--;
      stats->pages_deleted += reader.meta->pages_per_extent;
      stats->pages_newly_deleted += reader.meta->pages_per_extent;
    }
  }
  if (freed) AdvanceFirstSequence(info->index);
  stats->num_pages = RelationGetNumberOfBlocks(info->index);
  stats->num_index_tuples = live;
  stats->estimated_count = false;
  ReadMeta(info->index, reader.meta);
  stats->pages_free = CountFreePages(*reader.meta, live_extents);
  pfree(copy);
  return stats;
}

}  // namespace vecckpt
