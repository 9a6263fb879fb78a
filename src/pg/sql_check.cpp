// vec_index_check(index, heapallindexed): proves that an index is whole, or says where it is not, one row a
// finding. See sql_check.hpp for how it does so beside readers and writers.
//
// Locks: AccessShareLock on the table, then on the index. Works on a standby, and without the library
// preloaded (the log alone). What it evaluates of the table's owner, expressions and predicates, runs as the
// owner.

#include "pg/sql_check.hpp"

#include "pg/build_horizon.hpp"
#include "pg/catalog.hpp"
#include "pg/shared_state.hpp"

extern "C" {
#include "common/pg_prng.h"
}

namespace vecckpt {
namespace {

void RequireCheckable(Relation index) {
  if (!index->rd_index->indisvalid)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("index \"%s\" is not valid and cannot be checked", RelationGetRelationName(index)),
                    errhint("Please REINDEX or drop it.")));
  if (RELATION_IS_OTHER_TEMP(index))
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("cannot check an index on a temporary table of another session")));
}

// An unlogged index has no contents during recovery.
bool HasContents(Relation index) {
  if (index->rd_rel->relpersistence != RELPERSISTENCE_UNLOGGED || !RecoveryInProgress()) return true;
  ereport(NOTICE, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
                   errmsg("unlogged index \"%s\" has no contents during recovery, nothing was checked",
                          RelationGetRelationName(index))));
  return false;
}

// Rows that a snapshot sees need not be in an index that was built after it, or on broken HOT chains.
void RequireComparable(Relation index, const MetaPage& meta, Snapshot snapshot) {
  bool broken = IsolationUsesXactSnapshot() && index->rd_index->indcheckxmin &&
                !TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data), snapshot->xmin);
  if (broken || MayLackRows(meta, snapshot))
    ereport(ERROR,
            (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
             errmsg("index \"%s\" cannot be compared with its table by this transaction's snapshot",
                    RelationGetRelationName(index)),
             errhint("Use a transaction of isolation level read committed, or one that starts later.")));
}

void MakeFilter(IndexCheck* check) {
  uint64 sequences = check->meta.next_sequence - check->meta.first_sequence;
  int64 entries = static_cast<int64>(Max(sequences * check->meta.slots_per_extent, uint64{1}));
  check->entries = bloom_create(entries, maintenance_work_mem, pg_prng_uint64(&pg_global_prng_state));
}

void NoticeNotPreloaded(Relation index) {
  ereport(NOTICE, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                   errmsg("vecckpt is not preloaded, only the log of index \"%s\" was checked",
                          RelationGetRelationName(index)),
                   errhint("Add vecckpt to shared_preload_libraries and restart the server.")));
}

void CheckIndex(IndexCheck* check, bool heap_too) {
  // What the heap is compared with; before the log is read.
  Snapshot snapshot = heap_too ? RegisterSnapshot(GetTransactionSnapshot()) : nullptr;
  LogState log = CheckMetaPage(check);
  if (heap_too && log != LogState::kUnknown) RequireComparable(check->index, check->meta, snapshot);
  if (heap_too && log != LogState::kUnknown) MakeFilter(check);
  if (log == LogState::kThere) {
    CheckMapPages(check);
    CheckLiveExtents(check);
    CheckOtherExtents(check);
    if (shared != nullptr) CheckSegments(check, check->errors == 0);
  }
  if (shared == nullptr) NoticeNotPreloaded(check->index);
  if (check->entries != nullptr) {
    CheckHeapRows(check, snapshot);
    bloom_free(check->entries);
  }
  if (snapshot != nullptr) UnregisterSnapshot(snapshot);
  ReportLeftOut(check);
}

}  // namespace
}  // namespace vecckpt

extern "C" {

PG_FUNCTION_INFO_V1(vec_index_check);
PGDLLEXPORT Datum vec_index_check(PG_FUNCTION_ARGS) {
  using namespace vecckpt;
  Oid index_oid = PG_GETARG_OID(0);
  bool heap_too = PG_GETARG_BOOL(1);
  InitMaterializedSRF(fcinfo, 0);
  RequireVhnswIndex(index_oid, "Check the indexes of its partitions.");
  auto* check = static_cast<IndexCheck*>(palloc0(sizeof(IndexCheck)));
  check->result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  // The table first, as every statement locks them.
  check->heap = table_open(TableOf(index_oid), AccessShareLock);
  Oid user;
  int security;
  GetUserIdAndSecContext(&user, &security);
  SetUserIdAndSecContext(check->heap->rd_rel->relowner, security | SECURITY_RESTRICTED_OPERATION);
  int nesting = NewGUCNestLevel();
  ProtectSearchPath();
  check->index = OpenNow(index_oid);
  RequireCheckable(check->index);
  if (HasContents(check->index)) {
    check->strategy = GetAccessStrategy(BAS_BULKREAD);
    check->context = AllocSetContextCreate(CurrentMemoryContext, "vec_index_check", ALLOCSET_DEFAULT_SIZES);
    CheckIndex(check, heap_too);
  }
  AtEOXact_GUC(false, nesting);
  SetUserIdAndSecContext(user, security);
  index_close(check->index, AccessShareLock);
  table_close(check->heap, AccessShareLock);
  return static_cast<Datum>(0);
}
}
