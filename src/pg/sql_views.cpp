// The set-returning functions behind vec_indexes and vec_segments (vec_stat's is in sql_stat). An index that
// is locked by somebody else is shown from shared memory alone, never waited for; one whose log cannot be
// read likewise, with the error, so that it does not hide all others.

#include "pg/catalog.hpp"
#include "pg/folder_owner.hpp"
#include "pg/generation.hpp"
#include "pg/log_read.hpp"
#include "pg/subtransaction.hpp"

extern "C" {
#include "commands/dbcommands.h"
#include "utils/pg_lsn.h"
}

namespace vecckpt {
namespace {

constexpr int kManySegments = 8;      // more than this slow searches down
constexpr uint64 kLargeLog = 10000;   // entries; a smaller log is no trouble however much of it is dead
constexpr uint64 kMostDeadTimes = 4;  // as many entries as live ones

const char* MetricName(uint8 metric) {
  switch (static_cast<Metric>(metric)) {
    case Metric::kL2:
      return "l2";
    case Metric::kInnerProduct:
      return "inner_product";
    case Metric::kCosine:
      return "cosine";
    case Metric::kL1:
      return "l1";
  }
  return "unknown";
}

const char* QuantizationName(uint8 code_kind) {
  switch (static_cast<CodeKind>(code_kind)) {
    case CodeKind::kNone:
      return "none";
    case CodeKind::kSq8:
      return "sq8";
    case CodeKind::kSq4:
      return "sq4";
  }
  return "unknown";
}

// What of a generation's manifest the views show. Trivially destructible: the array is palloc'd.
struct ManifestFacts {
  uint64 coverage_end;
  uint64 bytes;
  uint64 covered;  // positions from `first` on that are covered
  int count;
  ManifestSegment* segments;
};

Status ReadFacts(const IndexKey& key, const Generation& generation, uint64 first, ManifestFacts* facts,
                 ManifestSegment* room, int room_size) {
  *facts = {0, 0, 0, 0, room};
  if (generation.manifest_id == 0) return Status::Ok();
  auto manifest = LoadGeneration(key, generation);
  if (!manifest.ok()) return manifest.status();
  facts->coverage_end = manifest->coverage_end();
  for (const ManifestSegment& segment : manifest->segments) {
    facts->bytes += segment.file_size;
    if (segment.range.end > first) facts->covered += segment.range.end - Max(segment.range.begin, first);
    if (facts->count < room_size) room[facts->count] = segment;
    facts->count++;
  }
  return Status::Ok();
}

// The facts of an index's current generation, with up to room_size segments. `first`: the log's first
// position.
ManifestFacts FactsOf(const IndexKey& key, const IndexFields& fields, uint64 identity, uint64 first,
                      int room_size) {
  ManifestFacts facts = {};
  auto* room = static_cast<ManifestSegment*>(palloc(sizeof(ManifestSegment) * (room_size + 1)));
  Generation generation = fields.identity == identity ? fields.current : Generation{0, 0};
  Failure failure = Guard([&] { return ReadFacts(key, generation, first, &facts, room, room_size); });
  if (failure.failed()) facts = {0, 0, 0, 0, room};  // replaced meanwhile, or about to be set aside
  return facts;
}

struct LogFacts {
  uint64 entries;
  uint64 live;
  uint64 end;
};

LogFacts CountLog(LogReader* reader) {
  LogFacts facts = {};
  if (reader->meta->next_sequence == 0) return facts;
  facts.end = LogEnd(reader);
  ExtentCopy* copy = static_cast<ExtentCopy*>(palloc(sizeof(ExtentCopy)));
  for (uint64 sequence = reader->meta->first_sequence; sequence < reader->meta->next_sequence; sequence++) {
    CHECK_FOR_INTERRUPTS();
    if (!ReadDirectory(reader, sequence, copy)) continue;
    facts.entries += copy->header.used;
    facts.live += copy->header.live;
  }
  pfree(copy);
  return facts;
}

enum IndexColumn {
  kIndex,
  kDatabase,
  kIdentity,
  kMetric,
  kDims,
  kM,
  kEfConstruction,
  kQuantization,
  kEntries,
  kLiveEntries,
  kCoverage,
  kTailLength,
  kSegments,
  kFileBytes,
  kGeneration,
  kDurableGeneration,
  kState,
  kLastError,
  kLastCheckpoint,
  kLastCheckpointLsn,
  kWarning,
  kIndexColumns
};

struct Row {
  Datum values[kIndexColumns];
  bool nulls[kIndexColumns];
  void Set(IndexColumn column, Datum value) {
    values[column] = value;
    nulls[column] = false;
  }
};

void FillFromLog(Row* row, LogReader* reader, const IndexFields& fields, const IndexKey& key, bool known) {
  const MetaPage* meta = reader->meta;
  LogFacts log = CountLog(reader);
  uint64 first = meta->first_sequence * meta->slots_per_extent;
  ManifestFacts facts = FactsOf(key, fields, known ? meta->identity : 0, first, 0);
  uint64 length = log.end > first ? log.end - first : 0;
  uint64 tail = length - Min(facts.covered, length);
  row->Set(kIdentity,
           CStringGetTextDatum(psprintf("%016llx", static_cast<unsigned long long>(meta->identity))));
  row->Set(kMetric, CStringGetTextDatum(MetricName(meta->metric)));
  row->Set(kDims, Int32GetDatum(static_cast<int32>(meta->dims)));
  row->Set(kM, Int32GetDatum(static_cast<int32>(meta->m)));
  row->Set(kEfConstruction, Int32GetDatum(static_cast<int32>(meta->ef_construction)));
  row->Set(kQuantization, CStringGetTextDatum(QuantizationName(meta->code_kind)));
  row->Set(kEntries, Int64GetDatum(static_cast<int64>(log.entries)));
  row->Set(kLiveEntries, Int64GetDatum(static_cast<int64>(log.live)));
  row->Set(kCoverage, Int64GetDatum(static_cast<int64>(facts.coverage_end)));
  row->Set(kTailLength, Int64GetDatum(static_cast<int64>(tail)));
  row->Set(kSegments, Int32GetDatum(facts.count));
  row->Set(kFileBytes, Int64GetDatum(static_cast<int64>(facts.bytes)));
  if (facts.count > kManySegments)
    row->Set(kWarning, CStringGetTextDatum("many segments slow searches down: raise vecckpt.build_memory, or "
                                           "maintenance_work_mem and REINDEX"));
  if (log.entries >= kLargeLog && log.entries > kMostDeadTimes * log.live)
    row->Set(kWarning,
             CStringGetTextDatum("most entries of the log are dead: REINDEX gives their space back"));
}

void FillFromEntry(Row* row, const IndexKey& key, const IndexFields& fields) {
  char* database = ShowDatabaseName(key.database);
  if (database != nullptr) row->Set(kDatabase, DirectFunctionCall1(namein, CStringGetDatum(database)));
  row->Set(kGeneration, Int64GetDatum(static_cast<int64>(fields.current.number)));
  row->Set(kDurableGeneration, Int64GetDatum(static_cast<int64>(fields.durable.number)));
  if (!FolderIsOurs())
    row->Set(kWarning, CStringGetTextDatum("no segments: their folder is in use by another server, see the "
                                           "server log"));
  row->Set(kState, CStringGetTextDatum(fields.state[0] != '\0' ? fields.state
                                       : fields.validated      ? "idle"
                                                               : "not yet validated"));
  if (!fields.last_error.empty()) row->Set(kLastError, CStringGetTextDatum(ShowKept(fields.last_error)));
  if (fields.durable_time != 0) row->Set(kLastCheckpoint, TimestampTzGetDatum(fields.durable_time));
  if (fields.durable_lsn != InvalidXLogRecPtr) row->Set(kLastCheckpointLsn, LSNGetDatum(fields.durable_lsn));
}

Row EmptyRow() {
  Row row;
  memset(row.nulls, true, sizeof(row.nulls));
  memset(row.values, 0, sizeof(row.values));
  return row;
}

void PutRow(ReturnSetInfo* result, Datum* values, bool* nulls) {
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

// That this log cannot be read: damaged, without its file, or of another version.
bool IsOfTheLog(int sqlstate) {
  return sqlstate == ERRCODE_DATA_CORRUPTED || sqlstate == ERRCODE_INDEX_CORRUPTED ||
         sqlstate == ERRCODE_IO_ERROR || sqlstate == ERRCODE_UNDEFINED_FILE ||
         sqlstate == ERRCODE_FEATURE_NOT_SUPPORTED;
}

void PutIndex(ReturnSetInfo* result, Oid oid) {
  Row row = EmptyRow();
  row.Set(kIndex, ObjectIdGetDatum(oid));
  Relation index = OpenForLooking(oid);
  if (index == nullptr) {
    row.Set(kState, CStringGetTextDatum("locked or not readable"));
    row.Set(kDatabase, DirectFunctionCall1(namein, CStringGetDatum(get_database_name(MyDatabaseId))));
    return PutRow(result, row.values, row.nulls);
  }
  IndexKey key = KeyOf(index);
  IndexFields fields = {};
  bool known = shared != nullptr && SnapshotEntry(key, &fields);
  char* unreadable = TryInSubtransaction(IsOfTheLog, [&] {
    LogReader reader;
    if (OpenLog(&reader, index, GetAccessStrategy(BAS_BULKREAD)))
      FillFromLog(&row, &reader, fields, key, known);
  });
  FillFromEntry(&row, key, fields);
  if (unreadable != nullptr) row.Set(kLastError, CStringGetTextDatum(unreadable));
  if (shared == nullptr)
    row.Set(kState, CStringGetTextDatum("vecckpt is not preloaded"));
  else if (!index->rd_index->indisready && fields.claim == 0)
    row.Set(kState, CStringGetTextDatum("not ready"));
  else if (!known)
    row.Set(kState, CStringGetTextDatum("not in shared memory"));
  relation_close(index, AccessShareLock);
  PutRow(result, row.values, row.nulls);
}

void PutSegments(ReturnSetInfo* result, Oid oid, const IndexKey& key, const IndexFields& fields) {
  ManifestFacts facts = FactsOf(key, fields, fields.identity, 0, 0);
  facts = FactsOf(key, fields, fields.identity, 0, facts.count);
  for (int i = 0; i < facts.count; i++) {
    const ManifestSegment& segment = facts.segments[i];
    Datum values[] = {ObjectIdGetDatum(oid),
                      CStringGetTextDatum(psprintf("%016llx", static_cast<unsigned long long>(segment.id))),
                      CStringGetTextDatum(segment.kind == SegmentKind::kGraph ? "graph" : "flat"),
                      Int64GetDatum(static_cast<int64>(segment.range.begin)),
                      Int64GetDatum(static_cast<int64>(segment.range.end)),
                      Int64GetDatum(segment.node_count),
                      Int64GetDatum(static_cast<int64>(segment.entry_count)),
                      Int64GetDatum(segment.orphan_count),
                      Int64GetDatum(segment.repaired),
                      Int64GetDatum(static_cast<int64>(segment.file_size))};
    bool nulls[lengthof(values)] = {};
    PutRow(result, values, nulls);
  }
}

}  // namespace
}  // namespace vecckpt

extern "C" {

PG_FUNCTION_INFO_V1(vec_index_info);
PGDLLEXPORT Datum vec_index_info(PG_FUNCTION_ARGS) {
  using namespace vecckpt;
  InitMaterializedSRF(fcinfo, 0);
  auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  Oid* oids;
  int count = ListVhnswIndexes(&oids);
  for (int i = 0; i < count; i++) PutIndex(result, oids[i]);
  // Indexes of other databases: what shared memory knows.
  IndexKey* keys = nullptr;
  int entries = shared == nullptr ? 0 : ListEntries(InvalidOid, &keys);
  for (int i = 0; i < entries; i++) {
    IndexFields fields;
    if (keys[i].database == MyDatabaseId || !SnapshotEntry(keys[i], &fields)) continue;
    Row row = EmptyRow();
    FillFromEntry(&row, keys[i], fields);
    row.Set(kIdentity,
            CStringGetTextDatum(psprintf("%016llx", static_cast<unsigned long long>(fields.identity))));
    PutRow(result, row.values, row.nulls);
  }
  return static_cast<Datum>(0);
}

PG_FUNCTION_INFO_V1(vec_segment_info);
PGDLLEXPORT Datum vec_segment_info(PG_FUNCTION_ARGS) {
  using namespace vecckpt;
  InitMaterializedSRF(fcinfo, 0);
  auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  ForEachIndex([result](Relation index) {
    IndexFields fields;
    IndexKey key = KeyOf(index);
    if (shared != nullptr && SnapshotEntry(key, &fields))
      PutSegments(result, RelationGetRelid(index), key, fields);
  });
  return static_cast<Datum>(0);
}
}
