// vec_prewarm(index, log): reads an index's segments into the page cache, and if wanted its log too, so that
// the first searches after a start need not wait for the disk.
//
// Segments are read through this session's mapping of them: what it brings into the page cache serves every
// process. Locks: AccessShareLock on the table, then on the index.

#include "pg/catalog.hpp"
#include "pg/private_segments.hpp"
#include "pg/validation.hpp"

#include <memory>

namespace vecckpt {
namespace {

constexpr uint64 kChunk = 4 << 20;   // between looks for interrupts
constexpr BlockNumber kBlocks = 64;  // likewise

enum class LogMode { kNone, kPrefetch, kBuffer };

LogMode ModeOf(const char* name) {
  if (pg_strcasecmp(name, "none") == 0) return LogMode::kNone;
  if (pg_strcasecmp(name, "prefetch") == 0) return LogMode::kPrefetch;
  if (pg_strcasecmp(name, "buffer") == 0) return LogMode::kBuffer;
  ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid log mode \"%s\"", name),
                  errhint("Valid values are \"none\", \"prefetch\" and \"buffer\".")));
}

// As the server asks of whoever reads an index's pages.
void RequireSelect(Relation index) {
  Oid table = index->rd_index->indrelid;
  AclResult allowed = pg_class_aclcheck(table, GetUserId(), ACL_SELECT);
  if (allowed != ACLCHECK_OK) aclcheck_error(allowed, OBJECT_TABLE, get_rel_name(table));
}

// What has a destructor.
struct Held {
  std::shared_ptr<const IndexMapping> mapping;
};

void Destroy(void* argument) {
  delete static_cast<Held*>(argument);
}

// Lives as long as the current memory context.
Held* NewHeld() {
  auto* callback = static_cast<MemoryContextCallback*>(palloc0(sizeof(MemoryContextCallback)));
  Held* held = nullptr;
  ThrowIfFailed(Guard([&] {
    held = new Held;
    return Status::Ok();
  }));
  callback->func = Destroy;
  callback->arg = held;
  MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
  return held;
}

// The segments as they are; null where there are none, or replay has not got as far as they have.
void TakeMapping(Relation index, LogReader* reader, Held* held) {
  if (!HasPrivateSegments(index)) {
    MapValidated(index, reader, &held->mapping);
    return;
  }
  ThrowIfFailed(Guard([&] {
    held->mapping = FindPrivate(KeyOf(index), reader->meta->identity);
    return Status::Ok();
  }));
}

// Returns how many bytes there are.
uint64 LoadSegment(const Segment& segment) {
  Bytes file = segment.file();
  for (uint64 at = 0; at < file.size(); at += kChunk) {
    CHECK_FOR_INTERRUPTS();
    LoadMapped(file.subspan(at, Min(kChunk, file.size() - at)));
  }
  ThrowIfFailed(Guard([&] { return segment.CheckReadable(); }));
  return file.size();
}

int64 LoadLog(Relation index, LogMode mode) {
  if (mode == LogMode::kNone) return 0;
  BlockNumber count = RelationGetNumberOfBlocks(index);
  for (BlockNumber block = 0; block < count; block++) {
    if (block % kBlocks == 0) CHECK_FOR_INTERRUPTS();
    if (mode == LogMode::kPrefetch)
      PrefetchBuffer(index, MAIN_FORKNUM, block);
    else
      ReleaseBuffer(ReadBufferExtended(index, MAIN_FORKNUM, block, RBM_NORMAL, nullptr));
  }
  return count;
}

}  // namespace
}  // namespace vecckpt

extern "C" {

PG_FUNCTION_INFO_V1(vec_prewarm);
PGDLLEXPORT Datum vec_prewarm(PG_FUNCTION_ARGS) {
  using namespace vecckpt;
  LogMode mode = ModeOf(text_to_cstring(PG_GETARG_TEXT_PP(1)));
  TupleDesc columns;
  if (get_call_result_type(fcinfo, nullptr, &columns) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "return type must be a row type");
  Relation index = OpenForReading(PG_GETARG_OID(0), "Prewarm the indexes of its partitions.");
  RequireSelect(index);

  int32 segments = 0;
  uint64 bytes = 0;
  LogReader reader;
  Held* held = NewHeld();
  if (OpenLog(&reader, index, nullptr) && reader.meta->next_sequence > 0) TakeMapping(index, &reader, held);
  if (held->mapping != nullptr) {
    segments = static_cast<int32>(held->mapping->segments.size());
    for (int32 i = 0; i < segments; i++) bytes += LoadSegment(*held->mapping->segments[i]);
  }
  int64 pages = LoadLog(index, mode);
  relation_close(index, NoLock);

  Datum values[] = {Int32GetDatum(segments), Int64GetDatum(static_cast<int64>(bytes)), Int64GetDatum(pages)};
  bool nulls[lengthof(values)] = {};
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), values, nulls)));
}
}
