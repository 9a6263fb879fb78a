// The callbacks of access method vhnsw, one file a duty: am_build, am_insert, am_scan, am_vacuum, am_cost,
// am_handler (with validation).

#pragma once

#include "pg/pg.hpp"

extern "C" {
#include "nodes/pathnodes.h"
}

namespace vecckpt {

extern "C" {
IndexBuildResult* vhnswbuild(Relation heap, Relation index, IndexInfo* index_info);
void vhnswbuildempty(Relation index);
bool vhnswinsert(Relation index, Datum* values, bool* isnull, ItemPointer heap_tid, Relation heap,
                 IndexUniqueCheck check_unique, bool index_unchanged, IndexInfo* index_info);
IndexBulkDeleteResult* vhnswbulkdelete(IndexVacuumInfo* info, IndexBulkDeleteResult* stats,
                                       IndexBulkDeleteCallback callback, void* callback_state);
IndexBulkDeleteResult* vhnswvacuumcleanup(IndexVacuumInfo* info, IndexBulkDeleteResult* stats);
void vhnswcostestimate(PlannerInfo* root, IndexPath* path, double loop_count, Cost* startup_cost,
                       Cost* total_cost, Selectivity* selectivity, double* correlation, double* pages);
IndexScanDesc vhnswbeginscan(Relation index, int key_count, int orderby_count);
void vhnswrescan(IndexScanDesc scan, ScanKey keys, int key_count, ScanKey orderbys, int orderby_count);
bool vhnswgettuple(IndexScanDesc scan, ScanDirection direction);
void vhnswendscan(IndexScanDesc scan);
bool vhnswvalidate(Oid opclass);
}

// A flag of a scan's ORDER BY key, for callers within the library: its argument points to a StoredVector that
// is indexable, not to an SQL value. (Bits 16 to 31 of sk_flags are the access method's.)
constexpr int kVectorArgument = 1 << 16;

// What a progress view shows while an index is built.
constexpr int64 kPhaseLoad = 2;      // reading the table, writing the log
constexpr int64 kPhaseLogPages = 3;  // WAL-logging the log's pages
constexpr int64 kPhaseEncode = 4;    // from here on once for each segment
constexpr int64 kPhaseGraph = 5;
constexpr int64 kPhaseRepair = 6;
constexpr int64 kPhaseWrite = 7;
extern "C" char* vhnswbuildphasename(int64 phase);

}  // namespace vecckpt
