// ambuild and ambuildempty. CREATE INDEX has two phases: the table's rows are written to the log in bulk
// (log_bulk.cpp), then segments are built over the whole log (index_build.cpp) and published.

#include "pg/access_method.hpp"
#include "pg/build_horizon.hpp"
#include "pg/folder_owner.hpp"
#include "pg/index_build.hpp"
#include "pg/log_append.hpp"
#include "pg/private_segments.hpp"
#include "pg/shared_state.hpp"
#include "pg/vector_input.hpp"
#include "pg/wall.hpp"

extern "C" {
#include "commands/progress.h"
}

#include "hnsw/codec.hpp"

namespace vecckpt {
namespace {

struct LoadState {
  BulkWriter writer;
  const OpclassSupport* support;
  VectorStatistics statistics;
  MemoryContext row_context;
  uint64 rows;
};

void LoadRow(Relation index, ItemPointer tid, Datum* values, bool* isnull, bool tuple_is_alive,
             void* argument) {
  (void)tuple_is_alive;
  auto* state = static_cast<LoadState*>(argument);
  if (isnull[0]) return;
  VectorSite site = {index, tid, true, state->support->count_dims};
  MemoryContext caller = MemoryContextSwitchTo(state->row_context);
  StoredVector vector = state->support->to_vector(values[0], site);
  const float* floats = FloatsOf(vector);
  MemoryContextSwitchTo(caller);
  if (IsIndexable(state->support->metric, vector)) {
    BulkAdd(&state->writer, *tid, vector, site);
    state->statistics.Add(floats, vector.dims);
    pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, static_cast<int64>(++state->rows));
  }
  MemoryContextReset(state->row_context);
}

void CheckBuildable(Relation heap, Relation index) {
  // An empty table needs no segments: TRUNCATE and a restored schema work without the library preloaded.
  if (shared == nullptr && !IsBinaryUpgrade && RelationGetNumberOfBlocks(heap) > 0)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("vecckpt must be preloaded to build a vhnsw index"),
                    errhint("Add vecckpt to shared_preload_libraries and restart the server.")));
  if (RelationGetNumberOfBlocks(index) != 0)
    elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(index));
}

// The same for an index on a temporary table.
void BuildPrivateSegments(Relation index) {
  LogReader reader;
  OpenLog(&reader, index, nullptr);
  pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, kPhaseGraph);
  BuildPrivate(&reader, true);
}

}  // namespace

IndexBuildResult* vhnswbuild(Relation heap, Relation index, IndexInfo* index_info) {
  CheckBuildable(heap, index);
  LoadState* state = static_cast<LoadState*>(palloc0(sizeof(LoadState)));
  state->support = SupportOf(index);
  state->row_context = AllocSetContextCreate(CurrentMemoryContext, "vhnsw build row", ALLOCSET_DEFAULT_SIZES);
  pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, kPhaseLoad);
  VECCKPT_FAULT_POINT_RAISE(CreateIndexLoad);
  BulkBegin(&state->writer, index);
  double heap_tuples = table_index_build_scan(heap, index, index_info, true, true, LoadRow, state, nullptr);
  pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, kPhaseLogPages);
  if (!index_info->ii_Concurrent && RelationNeedsWAL(index)) NoteBuild(state->writer.meta, heap);
  uint64 entries = BulkFinish(&state->writer);
  VECCKPT_FAULT_POINT_RAISE(CreateIndexLoaded);
  MemoryContextDelete(state->row_context);
  bool build = entries > 0 && FolderIsOurs();
  if (entries > 0 && !build)
    ereport(WARNING, (errcode(ERRCODE_OBJECT_IN_USE),
                      errmsg("index \"%s\" gets no segments, their folder is in use by another server",
                             RelationGetRelationName(index)),
                      errdetail("Searches are exact and slow."), FolderHint()));
  if (shared != nullptr && HasPrivateSegments(index)) {
    ForgetPrivate(index);  // ON COMMIT DELETE ROWS builds anew in the same file
    if (build) BuildPrivateSegments(index);
  } else if (shared != nullptr) {
    if (build)
      BuildSegments(index, state->statistics.max_magnitude);
    else  // no room is no error yet: an insert tries again
      EnsureEntry(KeyOf(index), state->writer.meta->identity, RelationGetRelid(index),
                  index->rd_rel->relpersistence);
  }

  IndexBuildResult* result = static_cast<IndexBuildResult*>(palloc(sizeof(IndexBuildResult)));
  result->heap_tuples = heap_tuples;
  result->index_tuples = static_cast<double>(entries);
  return result;
}

void vhnswbuildempty(Relation index) {
  LogOptions options = LogOptionsOf(index);  // may raise, so before the critical section
  Buffer buffer = ReadBufferExtended(index, INIT_FORKNUM, P_NEW, RBM_ZERO_AND_LOCK, nullptr);
  START_CRIT_SECTION();
  InitMetaPage(BufferGetPage(buffer), options, 0);
  MarkBufferDirty(buffer);
  log_newpage_buffer(buffer, true);
  END_CRIT_SECTION();
  UnlockReleaseBuffer(buffer);
}

}  // namespace vecckpt
