// vec_stat_info and vec_stat_reset: the counters of this database's indexes. See IndexCounters. They are read
// one by one while searches add to them, so they need not fit together to the last one.

#include "pg/catalog.hpp"
#include "pg/shared_state.hpp"

namespace vecckpt {
namespace {

constexpr int kCounters = sizeof(IndexCounters) / sizeof(pg_atomic_uint64);

void PutCounters(ReturnSetInfo* result, Oid oid, const IndexKey& key) {
  Datum values[1 + kCounters + 1] = {ObjectIdGetDatum(oid)};
  bool nulls[lengthof(values)] = {};
  TimestampTz since = 0;
  LWLockAcquire(shared->lock, LW_SHARED);
  IndexEntry* entry = FindEntry(key);
  if (entry != nullptr) {
    auto* counters = reinterpret_cast<pg_atomic_uint64*>(&entry->counters);
    for (int i = 0; i < kCounters; i++)
      values[1 + i] = Int64GetDatum(static_cast<int64>(pg_atomic_read_u64(&counters[i])));
    SpinLockAcquire(&entry->mutex);
    since = entry->f.stats_reset;
    SpinLockRelease(&entry->mutex);
  }
  LWLockRelease(shared->lock);
  if (entry == nullptr) return;
  values[1 + kCounters] = TimestampTzGetDatum(since);
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

void RequirePreloaded() {
  if (shared != nullptr) return;
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                  errmsg("vecckpt must be preloaded to count what vhnsw indexes do"),
                  errhint("Add vecckpt to shared_preload_libraries and restart the server.")));
}

}  // namespace
}  // namespace vecckpt

extern "C" {

PG_FUNCTION_INFO_V1(vec_stat_info);
PGDLLEXPORT Datum vec_stat_info(PG_FUNCTION_ARGS) {
  using namespace vecckpt;
  InitMaterializedSRF(fcinfo, 0);
  auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  if (shared != nullptr)
    ForEachIndex([result](Relation index) { PutCounters(result, RelationGetRelid(index), KeyOf(index)); });
  return static_cast<Datum>(0);
}

PG_FUNCTION_INFO_V1(vec_stat_reset_all);
PGDLLEXPORT Datum vec_stat_reset_all(PG_FUNCTION_ARGS) {
  using namespace vecckpt;
  (void)fcinfo;
  RequirePreloaded();
  // By shared memory: an index that somebody holds has its counters there too.
  IndexKey* keys;
  int count = ListEntries(MyDatabaseId, &keys);
  for (int i = 0; i < count; i++) ResetCounters(keys[i]);
  PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(vec_stat_reset_one);
PGDLLEXPORT Datum vec_stat_reset_one(PG_FUNCTION_ARGS) {
  using namespace vecckpt;
  Oid oid = PG_GETARG_OID(0);
  RequirePreloaded();
  RequireVhnswIndex(oid, "Reset the counters of its partitions' indexes.");
  Relation index = OpenNow(oid);
  // Its key may be that of a permanent one.
  if (index->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
    ereport(ERROR,
            (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
             errmsg("index \"%s\" on a temporary table has no counters", RelationGetRelationName(index))));
  ResetCounters(KeyOf(index));
  relation_close(index, AccessShareLock);
  PG_RETURN_VOID();
}
}
