// vec_progress_info: the jobs that builders run now, of all databases. An index has a name here if it is of
// this database.

#include "pg/pg.hpp"

#include "pg/shared_state.hpp"

namespace vecckpt {
namespace {

struct Shown {
  pid_t pid;
  Oid database;
  ShownJob job;
};

// Copies what the slots show; returns how many jobs.
int CopyJobs(Shown* out) {
  int count = 0;
  LWLockAcquire(shared->lock, LW_SHARED);
  for (const BuilderSlot& slot : shared->builders)
    for (const ShownJob& job : slot.jobs)
      if (slot.database != InvalidOid && job.job[0] != '\0') out[count++] = {slot.pid, slot.database, job};
  LWLockRelease(shared->lock);
  return count;
}

enum Column {
  kPid,
  kDatabase,
  kIndex,
  kJob,
  kPhase,
  kDone,
  kTotal,
  kUnit,
  kStarted,
  kPhaseStarted,
  kRate,
  kEstimatedEnd,
  kColumns
};

struct Row {
  Datum values[kColumns] = {};
  bool nulls[kColumns];
  Row() { memset(nulls, true, sizeof(nulls)); }
  void Set(Column column, Datum value) {
    values[column] = value;
    nulls[column] = false;
  }
};

void PutJob(ReturnSetInfo* result, const Shown& shown) {
  const ShownJob& job = shown.job;
  Row row;
  row.Set(kPid, Int32GetDatum(shown.pid));
  char* database = ShowDatabaseName(shown.database);
  if (database != nullptr) row.Set(kDatabase, DirectFunctionCall1(namein, CStringGetDatum(database)));
  if (shown.database == MyDatabaseId) row.Set(kIndex, ObjectIdGetDatum(job.index_oid));
  row.Set(kJob, CStringGetTextDatum(job.job));
  row.Set(kPhase, CStringGetTextDatum(job.phase));
  row.Set(kStarted, TimestampTzGetDatum(job.started));
  row.Set(kPhaseStarted, TimestampTzGetDatum(job.phase_started));
  if (job.unit[0] != '\0') {
    row.Set(kDone, Int64GetDatum(static_cast<int64>(job.done)));
    row.Set(kTotal, Int64GetDatum(static_cast<int64>(job.total)));
    row.Set(kUnit, CStringGetTextDatum(job.unit));
    double seconds = static_cast<double>(job.seen - job.phase_started) / USECS_PER_SEC;
    if (job.done > 0 && seconds > 0) {
      double rate = static_cast<double>(job.done) / seconds;
      double left = static_cast<double>(job.total - job.done) / rate * USECS_PER_SEC;
      row.Set(kRate, Float8GetDatum(rate));
      row.Set(kEstimatedEnd, TimestampTzGetDatum(job.seen + static_cast<int64>(left)));
    }
  }
  tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
}

}  // namespace
}  // namespace vecckpt

extern "C" {

PG_FUNCTION_INFO_V1(vec_progress_info);
PGDLLEXPORT Datum vec_progress_info(PG_FUNCTION_ARGS) {
  using namespace vecckpt;
  InitMaterializedSRF(fcinfo, 0);
  if (shared == nullptr) return static_cast<Datum>(0);
  auto* shown = static_cast<Shown*>(palloc(sizeof(Shown) * kMaxBuilders * kMaxShownJobs));
  int count = CopyJobs(shown);
  for (int i = 0; i < count; i++) PutJob(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo), shown[i]);
  return static_cast<Datum>(0);
}
}
