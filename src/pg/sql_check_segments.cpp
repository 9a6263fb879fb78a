// See sql_check.hpp: the current generation, compared with the log.
//
// The segment files are opened anew, past what this process has mapped, and stay mapped until the end, so
// that a later generation changes nothing for this check: segments are immutable, and what they lack now was
// dead in the log before they were written. Each segment is first checked for itself, in a compute thread,
// while this thread waits and can be interrupted; then this thread compares it with the log.
//
// A generation that was loaded at start and not used yet may describe another history of the log. Its first
// use will find out and set it aside; so will this check, and call it a warning.

#include "pg/sql_check.hpp"

#include "pg/private_segments.hpp"
#include "pg/validation.hpp"
#include "pg/wait_events.hpp"

#include <algorithm>
#include <memory>
#include <string>

#include "hnsw/code_check.hpp"
#include "index/thread_pool.hpp"
#include "segment/segment_check.hpp"

namespace vecckpt {
namespace {

// Generations that come and go while their files are being opened.
constexpr int kMostAttempts = 100;
constexpr long kLookMilliseconds = 100;  // between looks at a running job
constexpr uint32 kNodesAPiece = 256;     // between looks for an interrupt

// A file that cannot be used.
struct Problem {
  std::string path;  // empty: the manifest, which the message names
  std::string message;
};

// What has a destructor. Lives on the C++ heap; destroyed by Cleanup on every way out.
struct Objects {
  std::unique_ptr<ThreadPool> pool;
  IndexMapping mapping;           // only the segments that could be opened
  bool changed = false;           // the generation went away while it was being opened
  bool foreign = false;           // the manifest is another log's: sizes differ, nothing can be compared
  std::vector<Problem> problems;  // why the others could not, or the manifest
  SegmentDefects defects;         // of the segment being checked
};

struct SegmentsCheck {
  IndexCheck* check;
  IndexKey key;
  IndexFields fields;
  Objects* objects;
  Severity severity;  // of what does not fit the log
  LogReader reader;
  ExtentCopy copy;
  char* bytes;     // room for a vector as the log keeps it,
  float* vector;   // as float32,
  float* scratch;  // and as its code has it
};

void Cleanup(int code, Datum argument) {
  (void)code;
  auto* state = reinterpret_cast<SegmentsCheck*>(DatumGetPointer(argument));
  Objects* objects = state->objects;
  state->objects = nullptr;
  if (objects == nullptr) return;
  Guard([objects] {
    objects->pool.reset();  // cancels and joins
    delete objects;
    return Status::Ok();
  });
}

// ---- the generation

// C++ side. True if a status is about the file's contents or absence, and not about this moment.
bool IsDefect(const Status& status) {
  return status.code() == StatusCode::kCorruption || status.code() == StatusCode::kUnsupported ||
         status.code() == StatusCode::kNotFound;
}

// C++ side. Opens everything the generation lists, or notes why not.
Status OpenGeneration(SegmentsCheck* state) {
  Objects* objects = state->objects;
  objects->mapping = IndexMapping();
  objects->problems.clear();
  objects->changed = false;
  objects->foreign = false;
  bool missing = false;
  const auto note = [&](const std::string& path, const Status& status) {
    missing = missing || status.code() == StatusCode::kNotFound;
    objects->problems.push_back({path, status.message()});
  };
  Result<Manifest> manifest = LoadGeneration(state->key, state->fields.current);
  if (!manifest.ok() && !IsDefect(manifest.status())) return manifest.status();
  if (!manifest.ok()) {
    note("", manifest.status());
  } else {
    const MetaPage& meta = state->check->meta;
    objects->foreign = manifest->identity != meta.identity || !(manifest->geometry == GeometryOf(meta));
    if (objects->foreign) note("", Status::Corruption("the manifest is not one of this index's log"));
    for (const ManifestSegment& listed : manifest->segments) {
      const std::string path = PathOf(SegmentName(state->key, listed.id));
      auto segment = Segment::Open(path);
      Status status = segment.ok() ? MatchManifest(**segment, listed, *manifest) : segment.status();
      if (!status.ok() && !IsDefect(status)) return status;
      if (status.ok())
        objects->mapping.segments.push_back(std::move(*segment));
      else
        note(path, status);
    }
    objects->mapping.identity = manifest->identity;
    objects->mapping.generation = state->fields.current;
    objects->mapping.manifest = std::move(*manifest);
  }
  // A generation takes its files along when it is replaced.
  IndexFields now;
  objects->changed =
      missing && (!SnapshotEntry(state->key, &now) || !SameGeneration(now.current, state->fields.current));
  return Status::Ok();
}

// Opens the current generation. False if there is none.
bool TakeGeneration(SegmentsCheck* state) {
  for (int i = 0; i < kMostAttempts; i++) {
    CHECK_FOR_INTERRUPTS();
    if (!SnapshotEntry(state->key, &state->fields) || state->fields.identity != state->check->meta.identity ||
        state->fields.current.manifest_id == 0)
      return false;
    VECCKPT_FAULT_POINT_RAISE(CheckStep, "generation");
    ThrowIfFailed(Guard([state] { return OpenGeneration(state); }));
    if (!state->objects->changed) return true;
  }
  ereport(NOTICE, (errmsg("segments of index \"%s\" were not checked, because they changed all the time",
                          RelationGetRelationName(state->check->index)),
                   errhint("Try again later.")));
  return false;
}

// ---- a segment for itself

Place SegmentPlace(const Segment* segment) {
  return MakePlace("file \"%s\"", segment->path().c_str());
}

// C++ side.
Status StartInspection(SegmentsCheck* state, size_t number) {
  Objects* objects = state->objects;
  if (objects->pool == nullptr) {
    auto pool = ThreadPool::Create(1);
    if (!pool.ok()) return pool.status();
    objects->pool = std::move(*pool);
  }
  auto segment = objects->mapping.segments[number];
  SegmentDefects* defects = &objects->defects;  // outlives the pool's threads
  auto job = objects->pool->Submit(
      [segment, defects](JobContext& context) { return FindDefects(*segment, &context.cancel, defects); });
  return job.status();
}

// Runs FindDefects on a segment in a compute thread. True if it found none.
bool Inspect(SegmentsCheck* state, size_t number) {
  ThrowIfFailed(Guard([&] { return StartInspection(state, number); }));
  for (bool finished = false; !finished;) {
    int events = WaitLatchOrSocket(
        MyLatch, WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
        state->objects->pool->wakeup_fd(), kLookMilliseconds, WaitEventOf(Wait::kIndexCheck));
    if (events & WL_LATCH_SET) ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
    ThrowIfFailed(Guard([&] {
      for (const auto& completion : state->objects->pool->Drain()) {
        finished = true;
        if (!completion.status.ok()) return completion.status;
      }
      return Status::Ok();
    }));
  }
  const Segment* segment = state->objects->mapping.segments[number].get();
  const auto& messages = state->objects->defects.messages;
  for (size_t i = 0; i < messages.size(); i++)
    Report(state->check, Severity::kError, SegmentPlace(segment), "%s", messages[i].c_str());
  return messages.empty();
}

// ---- a segment and the log

// Of one kind of finding: how many, and where the first is.
struct Count {
  uint64 count;
  uint64 first;
  void Add(uint64 position) {
    if (count++ == 0) first = position;
  }
};

void ReportCount(SegmentsCheck* state, const Segment* segment, const Count& count, const char* what) {
  if (count.count > 0)
    Report(state->check, state->severity, SegmentPlace(segment),
           "%s: " UINT64_FORMAT ", the first at position " UINT64_FORMAT, what, count.count, count.first);
}

// A sequence's directory page, in state->copy, against the segment. `has` tells whether the segment has an
// entry for a slot.
struct Comparison {
  Count lacking;    // live entries that the segment does not have
  Count unwritten;  // entries of the segment that the log does not have
  Count other;      // sequences whose running hash is another
};

void CompareSequence(SegmentsCheck* state, const Segment* segment, uint64 sequence, Comparison* found) {
  const ExtentCopy& copy = state->copy;
  uint32 slots = state->check->meta.slots_per_extent;
  PositionRange range = segment->range();
  const ExtentRecord* record = segment->ExtentOf(uint64{copy.header.extent} * slots);
  bool covered = record != nullptr && record->sequence == sequence;
  size_t extent = covered ? static_cast<size_t>(record - segment->extents().data()) : 0;
  if (covered && record->running_hash != copy.header.running_hash) found->other.Add(sequence * slots);
  for (uint32 slot = 0; slot < slots; slot++) {
    uint64 position = sequence * slots + slot;
    if (position < range.begin || position >= range.end) continue;
    bool has = covered && state->objects->defects.slots.Has(extent, slot);
    bool used = slot < copy.header.used;
    if (has && !used) found->unwritten.Add(position);
    if (!has && used && !(copy.slots[slot].flags & kSlotDead)) found->lacking.Add(position);
  }
}

// The running hash at the segment's end. One that ended in an extent which was gone has none.
void CompareEnd(SegmentsCheck* state, const Segment* segment) {
  uint32 slots = state->check->meta.slots_per_extent;
  PositionRange range = segment->range();
  uint64 hash = segment->header().end_hash;
  if (range.begin == range.end || hash == 0) return;
  uint32 count = static_cast<uint32>((range.end - 1) % slots + 1);
  if (!ReadDirectory(&state->reader, (range.end - 1) / slots, &state->copy)) return;
  if (state->copy.header.used < count ||
      RunningHash(state->copy.header.running_hash, state->copy.slots, count) != hash)
    Report(state->check, state->severity, SegmentPlace(segment),
           "has a running hash at its end, position " UINT64_FORMAT ", other than the log's", range.end);
}

// Every live entry of the segment's positions is in it, and nothing that the log does not have.
void CompareEntries(SegmentsCheck* state, const Segment* segment) {
  uint32 slots = state->check->meta.slots_per_extent;
  PositionRange range = segment->range();
  Comparison found = {};
  uint64 end = (range.end + slots - 1) / slots;
  for (uint64 sequence = Max(range.begin / slots, state->reader.meta->first_sequence); sequence < end;
       sequence++) {
    CHECK_FOR_INTERRUPTS();
    if (ReadDirectory(&state->reader, sequence, &state->copy))
      CompareSequence(state, segment, sequence, &found);
  }
  ReportCount(state, segment, found.lacking, "lacks live entries of the log");
  ReportCount(state, segment, found.unwritten, "has entries that the log does not have");
  ReportCount(state, segment, found.other, "covers extents whose running hash is another in the log");
  CompareEnd(state, segment);
}

// Every entry that the log still has lies at a node whose code stands for its vector.
void CompareCodes(SegmentsCheck* state, const Segment* segment) {
  uint32 slots = state->check->meta.slots_per_extent;
  const ExtentRecord* record = nullptr;
  Count wrong = {};
  for (uint32 node = 0; node < segment->node_count(); node++) {
    if (node % kNodesAPiece == 0) CHECK_FOR_INTERRUPTS();
    const auto ordinals = segment->OrdinalsOf(node);
    if (!ordinals) continue;  // sound when it was inspected; the file has changed since
    for (uint64_t ordinal : *ordinals) {
      if (record == nullptr || record->extent != ordinal / slots) record = segment->ExtentOf(ordinal);
      if (record == nullptr) continue;
      ItemPointerData tid;
      if (!ReadEntry(&state->reader, ordinal, record->sequence, state->bytes, &tid)) continue;
      ToFloats(VectorIn(*state->reader.meta, state->bytes), state->vector);
      if (!CodeStandsFor(segment->codec(), segment->code(node), state->vector, state->scratch))
        wrong.Add(record->sequence * slots + ordinal % slots);
    }
  }
  ReportCount(state, segment, wrong, "has codes that are not their vectors'");
}

// C++ side. Whether the segments say rightly which extents they cover; if not, Inspect reports it.
bool KnowExtents(const IndexMapping& mapping) {
  return std::all_of(mapping.segments.begin(), mapping.segments.end(),
                     [](const auto& segment) { return segment->VerifySection(SectionKind::kExtents).ok(); });
}

// Whether the segments can be compared with the log.
bool Comparable(SegmentsCheck* state) {
  if (!OpenLog(&state->reader, state->check->index, state->check->strategy)) return false;
  if (state->fields.validated) return true;
  state->severity = Severity::kWarning;
  bool known = false;
  ThrowIfFailed(Guard([&] {
    known = KnowExtents(state->objects->mapping);
    return Status::Ok();
  }));
  if (!known) return false;
  switch (CheckCoverage(&state->reader, state->objects->mapping)) {
    case Coverage::kValid:
      return true;
    case Coverage::kDeferred:
      return false;  // a standby that has not replayed as far as its segments go
    case Coverage::kInvalid:
      break;
  }
  Report(state->check, state->severity, MakePlace("generation " UINT64_FORMAT, state->fields.current.number),
         "does not match the log, its first use will set it aside");
  return false;
}

// C++ side. The session's own segments of an index on a temporary table.
Status TakePrivate(SegmentsCheck* state) {
  if (auto mapping = FindPrivate(state->key, state->check->meta.identity)) state->objects->mapping = *mapping;
  state->fields.validated = true;  // it has built them itself
  return Status::Ok();
}

void CheckGeneration(SegmentsCheck* state, bool compare) {
  if (HasPrivateSegments(state->check->index))
    ThrowIfFailed(Guard([state] { return TakePrivate(state); }));
  else if (!TakeGeneration(state))
    return;
  IndexCheck* check = state->check;
  const auto& problems = state->objects->problems;
  for (size_t i = 0; i < problems.size(); i++)
    Report(check, Severity::kError,
           problems[i].path.empty() ? MakePlace("generation " UINT64_FORMAT, state->fields.current.number)
                                    : MakePlace("file \"%s\"", problems[i].path.c_str()),
           "%s", problems[i].message.c_str());
  bool whole = problems.empty();
  size_t count = state->objects->mapping.segments.size();
  if (count == 0) return;
  VECCKPT_FAULT_POINT_RAISE(CheckStep, "files");
  state->bytes = static_cast<char*>(palloc(check->meta.vector_bytes));
  state->vector = static_cast<float*>(palloc(check->meta.dims * sizeof(float)));
  state->scratch = static_cast<float*>(palloc(check->meta.dims * sizeof(float)));
  // Coverage can be judged only where no segment is missing.
  compare = compare && !state->objects->foreign && (whole || state->fields.validated) && Comparable(state);
  for (size_t i = 0; i < count; i++) {
    const Segment* segment = state->objects->mapping.segments[i].get();
    if (!Inspect(state, i) || !compare) continue;
    uint64 end = segment->range().end;
    if (end > LogEnd(&state->reader)) {
      Report(check, state->severity, SegmentPlace(segment),
             "covers positions up to " UINT64_FORMAT ", the log has " UINT64_FORMAT, end,
             LogEnd(&state->reader));
      continue;
    }
    CompareEntries(state, segment);
    VECCKPT_FAULT_POINT_RAISE(CheckStep, "entries of a segment");
    CompareCodes(state, segment);
  }
}

}  // namespace

void CheckSegments(IndexCheck* check, bool compare) {
  auto* state = static_cast<SegmentsCheck*>(palloc0(sizeof(SegmentsCheck)));
  state->check = check;
  state->key = KeyOf(check->index);
  state->severity = Severity::kError;
  PG_ENSURE_ERROR_CLEANUP(Cleanup, PointerGetDatum(state));
  {
    ThrowIfFailed(Guard([state] {
      state->objects = new Objects;
      return Status::Ok();
    }));
    CheckGeneration(state, compare);
  }
  PG_END_ENSURE_ERROR_CLEANUP(Cleanup, PointerGetDatum(state));
  Cleanup(0, PointerGetDatum(state));
}

}  // namespace vecckpt
