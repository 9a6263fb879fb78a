// vec_recall and vec_suggest_ef: see recall.hpp for what is measured.
//
// Locks: AccessShareLock on the table, then on the index. They read only, on standbys too, and tell nothing
// of the rows; but they take time, so they are for the index's owner and for members of pg_stat_scan_tables.

#include "pg/catalog.hpp"
#include "pg/recall.hpp"

extern "C" {
#include "catalog/pg_authid_d.h"
#include "common/pg_prng.h"
}

#include <cmath>
#include <span>

#include "index/recall_interval.hpp"

namespace vecckpt {
namespace {

constexpr int32 kMaxK = 10000;
constexpr int32 kMaxSamples = 100000;
constexpr int32 kMaxEfSearch = 10000;  // of vhnsw.ef_search
constexpr char kPartitions[] = "Measure the indexes of its partitions.";

int32 IntArgument(FunctionCallInfo fcinfo, int number, const char* name, int32 most) {
  if (PG_ARGISNULL(number))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name),
                    errhint("Give a value of 1 to %d, or leave it out for the default.", most)));
  int32 value = PG_GETARG_INT32(number);
  if (value < 1 || value > most)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("%s is %d, which is outside the range of 1 to %d", name, value, most),
                    errhint("Give a value of 1 to %d, or leave it out for the default.", most)));
  return value;
}

double TargetArgument(FunctionCallInfo fcinfo, int number) {
  const char* hint = "Give a value above 0 and up to 1, such as 0.95.";
  if (PG_ARGISNULL(number))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("target_recall must not be null"),
                    errhint("%s", hint)));
  double target = PG_GETARG_FLOAT8(number);
  if (!(target > 0 && target <= 1))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("target_recall is %g, which is no recall", target), errhint("%s", hint)));
  return target;
}

uint64 SeedArgument(FunctionCallInfo fcinfo, int number) {
  if (PG_ARGISNULL(number)) return pg_prng_uint64(&pg_global_prng_state);
  return static_cast<uint64>(PG_GETARG_INT64(number));
}

Oid IndexArgument(FunctionCallInfo fcinfo, int number) {
  if (PG_ARGISNULL(number))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("index must not be null"),
                    errhint("Give the name of a vhnsw index.")));
  return PG_GETARG_OID(number);
}

Relation OpenForMeasuring(Oid oid) {
  Relation index = OpenForReading(oid, kPartitions);
  Oid user = GetUserId();
  if (!OwnsRelation(RelationGetRelid(index), user) && !has_privs_of_role(user, ROLE_PG_STAT_SCAN_TABLES))
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                    errmsg("permission denied to measure index \"%s\"", RelationGetRelationName(index)),
                    errhint("Its owner may, and members of pg_stat_scan_tables (such as pg_monitor).")));
  return index;
}

// A mean without its last bits, which are those of its sums: 0.999, not 0.9990000000000001.
double Rounded(double share) {
  return std::rint(share * 1e9) / 1e9;
}

double MeanAt(const RecallTest* test, int ef_search, double* recalls) {
  double search_ms;
  uint32 measured = MeasureRecalls(test, ef_search, recalls, &search_ms);
  return MeanRecall(std::span<const double>(recalls, measured)).mean;
}

// The smallest ef_search that reaches the target, 0 if none does. *reached: the recall at the largest tried.
int FindEfSearch(const RecallTest* test, double target, double* recalls, double* reached) {
  int fails = 0;
  int suffices = 1;
  while ((*reached = MeanAt(test, suffices, recalls)) < target) {
    if (suffices == kMaxEfSearch) return 0;
    fails = suffices;
    suffices = Min(2 * suffices, kMaxEfSearch);
  }
  while (suffices - fails > 1) {
    int middle = fails + (suffices - fails) / 2;
    if (MeanAt(test, middle, recalls) < target)
      fails = middle;
    else
      suffices = middle;
  }
  return suffices;
}

// Whether some query has other entries to find.
bool CanMeasure(const RecallTest* test) {
  for (uint32 i = 0; i < test->count; i++)
    if (test->queries[i].wanted > 0) return true;
  return false;
}

double* NewRecalls(const RecallTest* test) {
  return static_cast<double*>(palloc(sizeof(double) * (test->count + 1)));
}

}  // namespace
}  // namespace vecckpt

extern "C" {

PG_FUNCTION_INFO_V1(vec_recall);
PGDLLEXPORT Datum vec_recall(PG_FUNCTION_ARGS) {
  using namespace vecckpt;
  Oid oid = IndexArgument(fcinfo, 0);
  int32 k = IntArgument(fcinfo, 1, "k", kMaxK);
  int32 samples = IntArgument(fcinfo, 2, "samples", kMaxSamples);
  int32 ef = PG_ARGISNULL(3) ? 0 : IntArgument(fcinfo, 3, "ef_search", kMaxEfSearch);
  uint64 seed = SeedArgument(fcinfo, 4);
  TupleDesc columns;
  if (get_call_result_type(fcinfo, nullptr, &columns) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "return type must be a row type");

  Relation index = OpenForMeasuring(oid);
  RecallTest test;
  DrawQueries(&test, index, static_cast<uint32>(k), static_cast<uint32>(samples), seed);
  FindTrueAnswers(&test);
  double* recalls = NewRecalls(&test);
  double search_ms = 0;
  uint32 measured = MeasureRecalls(&test, ef, recalls, &search_ms);
  relation_close(index, NoLock);

  RecallInterval interval = MeanRecall(std::span<const double>(recalls, measured));
  Datum values[] = {Float8GetDatum(Rounded(interval.mean)),
                    Float8GetDatum(Rounded(interval.low)),
                    Float8GetDatum(Rounded(interval.high)),
                    Int32GetDatum(static_cast<int32>(measured)),
                    Int64GetDatum(static_cast<int64>(test.entries)),
                    Float8GetDatum(search_ms),
                    Float8GetDatum(test.exact_ms)};
  bool none = measured == 0;
  bool nulls[] = {none, none, none, false, false, none, none};
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), values, nulls)));
}

PG_FUNCTION_INFO_V1(vec_suggest_ef);
PGDLLEXPORT Datum vec_suggest_ef(PG_FUNCTION_ARGS) {
  using namespace vecckpt;
  Oid oid = IndexArgument(fcinfo, 0);
  int32 k = IntArgument(fcinfo, 1, "k", kMaxK);
  double target = TargetArgument(fcinfo, 2);
  int32 samples = IntArgument(fcinfo, 3, "samples", kMaxSamples);
  uint64 seed = SeedArgument(fcinfo, 4);

  Relation index = OpenForMeasuring(oid);
  RecallTest test;
  DrawQueries(&test, index, static_cast<uint32>(k), static_cast<uint32>(samples), seed);
  FindTrueAnswers(&test);
  int suggested = 0;
  if (!CanMeasure(&test)) {
    ereport(NOTICE, (errmsg("index \"%s\" has too few entries to measure", RelationGetRelationName(index))));
  } else {
    double reached;
    suggested = FindEfSearch(&test, target, NewRecalls(&test), &reached);
    if (suggested == 0)
      ereport(NOTICE, (errmsg("index \"%s\" has recall %.4f at vhnsw.ef_search = %d, below %g",
                              RelationGetRelationName(index), reached, kMaxEfSearch, target),
                       errhint("Build it with larger m and ef_construction, or with quantization = none.")));
  }
  relation_close(index, NoLock);
  if (suggested == 0) PG_RETURN_NULL();
  PG_RETURN_INT32(suggested);
}
}
