// See private_segments.hpp.

#include "pg/private_segments.hpp"

#include "pg/entry_reader.hpp"
#include "pg/folder_owner.hpp"
#include "pg/options.hpp"
#include "pg/segment_jobs.hpp"
#include "pg/wait_events.hpp"

extern "C" {
#include "utils/inval.h"
}

#include <algorithm>
#include <map>
#include <utility>

#include "os/file.hpp"

namespace vecckpt {
namespace {

constexpr long kLookMilliseconds = 100;  // between looks at a running job
constexpr uint32 kMaxBackoffShift = 8;

// What a plan follows from, beside the segments and the dead.
struct PlannedFor {
  PositionRange log;
  uint64 memory = 0;
  uint32 threads = 0;
  bool operator==(const PlannedFor&) const = default;
};

struct PrivateIndex {
  uint64 identity = 0;
  Oid index_oid = InvalidOid;
  bool vacuumed = false;              // dead entries are to be counted
  std::map<uint64_t, uint64_t> dead;  // of a segment's entries, as last counted
  std::shared_ptr<const IndexMapping> mapping = std::make_shared<IndexMapping>();
  std::vector<PlannedJob> plan;
  PlannedFor settled;   // when there was nothing left to do
  uint32 failures = 0;  // of scans' builds, since the last that did not fail; ended by an error or not
  Moment retry_at = {};

  // Scans do with the segments there are for a while.
  void PutOff() {
    failures = Min(failures + 1, kMaxBackoffShift);
    retry_at = Now() + std::chrono::seconds{int64{1} << failures};
    settled = PlannedFor();
  }
};

using Indexes = std::map<IndexKey, PrivateIndex>;

Indexes& PrivateIndexes() {
  static Indexes* indexes = new Indexes;  // never destroyed: nothing runs at process exit
  return *indexes;
}

bool maybe_stale = false;  // a relation has changed since the last pruning

// What a running job needs. Lives on the C++ heap; destroyed by CleanUp on every way out.
struct JobObjects {
  std::unique_ptr<Writer> writer;
  std::unique_ptr<ThreadPool> pool;
  EntryBatch batch;
  std::shared_ptr<Liveness> liveness;
  JobOutput output;  // segment_id 0: no file yet
  std::shared_ptr<SegmentHeader> header = std::make_shared<SegmentHeader>();
};

struct JobState {
  JobObjects* objects;
  PrivateIndex* unfinished;  // the index, until the job has ended well or badly
};

// Runs for ERROR and FATAL alike. The file has no need of its name by then.
void CleanUp(int code, Datum argument) {
  (void)code;
  auto* state = reinterpret_cast<JobState*>(DatumGetPointer(argument));
  // Cancelled, say: a scan that may not take as long as this job must not begin with it every time.
  if (PrivateIndex* index = std::exchange(state->unfinished, nullptr)) index->PutOff();
  JobObjects* objects = std::exchange(state->objects, nullptr);
  if (objects == nullptr) return;
  Guard([objects] {
    objects->pool.reset();  // cancels and joins
    if (objects->output.segment_id != 0) (void)RemoveFile(objects->output.path).ok();
    delete objects;
    return Status::Ok();
  });
}

uint64 BuildMemory() {
  return uint64{static_cast<uint32>(maintenance_work_mem)} * 1024;
}

// ---- C++ side

Status FindOrMake(const LogReader& reader, Oid index_oid, PrivateIndex** index) {
  PrivateIndex& found = PrivateIndexes()[KeyOf(reader.index)];
  if (found.identity != reader.meta->identity) {
    found = PrivateIndex();
    found.identity = reader.meta->identity;
  }
  found.index_oid = index_oid;
  *index = &found;
  return Status::Ok();
}

Status Plan(const MetaPage& meta, const PlannedFor& now, bool seal_all, PrivateIndex* index) {
  std::vector<PositionRange> covered;
  PolicyInput input;
  for (const auto& segment : index->mapping->segments) {
    covered.push_back(segment->range());
    PolicySegment view = PolicyViewOf(*segment);
    auto dead = index->dead.find(view.id);
    view.dead = dead == index->dead.end() ? 0 : Min(dead->second, view.entries);
    input.segments.push_back(view);
  }
  input.uncovered = UncoveredRanges(covered, now.log);
  input.seal_all = seal_all;
  input.stride = Codec::Stride(static_cast<CodeKind>(meta.code_kind), meta.dims);
  input.m = meta.m;
  input.threads = now.threads;
  input.memory_limit = now.memory;
  index->plan = PlanJobs(input);
  return Status::Ok();
}

// The index's segments without the job's inputs and with its result.
Status Adopt(const PlannedJob& planned, const JobObjects& objects, PrivateIndex* index) {
  auto opened = Segment::Open(objects.output.path);
  if (!opened.ok()) return opened.status();
  auto next = std::make_shared<IndexMapping>();
  next->identity = index->identity;
  next->manifest.geometry = objects.output.geometry;
  next->segments.push_back(*opened);
  for (const auto& segment : index->mapping->segments)
    if (std::find(planned.segments.begin(), planned.segments.end(), segment->id()) == planned.segments.end())
      next->segments.push_back(segment);
  std::sort(next->segments.begin(), next->segments.end(),
            [](const auto& a, const auto& b) { return a->range().begin < b->range().begin; });
  for (const auto& segment : next->segments) next->manifest.segments.push_back(Describe(segment->header()));
  next->liveness.resize(next->segments.size());
  for (uint64_t id : planned.segments) index->dead.erase(id);
  index->mapping = std::move(next);
  return Status::Ok();
}

// ---- PostgreSQL side

void NewLiveness(const LogReader& reader, std::shared_ptr<Liveness>* liveness) {
  ThrowIfFailed(Guard([&] {
    *liveness = std::make_shared<Liveness>(reader.meta->slots_per_extent);
    return Status::Ok();
  }));
}

Failure Submit(LogReader* reader, const PlannedJob& planned, const PrivateIndex& index, JobObjects* objects) {
  Geometry geometry = GeometryOf(*reader->meta);
  IndexKey key = KeyOf(reader->index);
  uint64 end_hash = 0;
  if (planned.kind == JobKind::kSeal) {
    end_hash = ReadBatch(reader, planned.range, &objects->batch);
  } else {
    NewLiveness(*reader, &objects->liveness);
    for (const auto& segment : index.mapping->segments)
      if (std::find(planned.segments.begin(), planned.segments.end(), segment->id()) !=
          planned.segments.end())
        ReadLiveness(reader, *segment, objects->liveness.get());
  }
  return Guard([&] {
    auto pool = ThreadPool::Create(1);  // it starts the building threads itself
    if (!pool.ok()) return pool.status();
    objects->pool = std::move(*pool);
    auto writer = Writer::Register();
    if (!writer.ok()) return writer.status();
    objects->writer = std::move(*writer);
    VECCKPT_RETURN_IF_ERROR(
        NewOutput(objects->writer.get(), key, index.identity, geometry, &objects->output));
    if (planned.kind == JobKind::kSeal) {
      objects->output.range = planned.range;
      objects->output.end_hash = end_hash;
      return objects->pool
          ->Submit(SealJob(objects->output, std::move(objects->batch), index.mapping.get(), objects->header))
          .status();
    }
    RewriteOptions options;
    options.liveness = objects->liveness;
    options.threads = BuildThreads();
    options.memory_limit = BuildMemory();
    auto job = RewriteJob(planned, *index.mapping, options, objects->output, objects->header);
    if (!job.ok()) return job.status();
    return objects->pool->Submit(std::move(*job)).status();
  });
}

// How the job went. Cancel and termination come through.
Failure Wait(JobObjects* objects) {
  Failure failure;
  for (bool finished = false; !finished && !failure.failed();) {
    int events =
        WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
                          objects->pool->wakeup_fd(), kLookMilliseconds, WaitEventOf(Wait::kCreateIndex));
    if (events & WL_LATCH_SET) ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
    failure = Guard([&] {
      for (const auto& completion : objects->pool->Drain()) {
        finished = true;
        if (!completion.status.ok()) return completion.status;
      }
      return Status::Ok();
    });
  }
  return failure;
}

// Runs the first of the plan's jobs. What the log's pages or an interrupt raise comes through.
Failure RunPlanned(LogReader* reader, PrivateIndex* index) {
  JobState state = {nullptr, index};
  Failure failure;
  PG_ENSURE_ERROR_CLEANUP(CleanUp, PointerGetDatum(&state));
  {
    ThrowIfFailed(Guard([&] {
      state.objects = new JobObjects;
      return Status::Ok();
    }));
    const PlannedJob& planned = index->plan.front();
    failure = Submit(reader, planned, *index, state.objects);
    if (!failure.failed()) failure = Wait(state.objects);
    if (!failure.failed()) failure = Guard([&] { return Adopt(planned, *state.objects, index); });
    state.unfinished = nullptr;
  }
  PG_END_ENSURE_ERROR_CLEANUP(CleanUp, PointerGetDatum(&state));
  CleanUp(0, PointerGetDatum(&state));
  return failure;
}

void CountDead(LogReader* reader, PrivateIndex* index) {
  // On the C++ heap while it is counted; an error in between leaks it.
  static std::shared_ptr<Liveness> liveness;
  for (const auto& segment : index->mapping->segments) {
    NewLiveness(*reader, &liveness);
    uint64 live = ReadLiveness(reader, *segment, liveness.get());
    ThrowIfFailed(Guard([&] {
      index->dead[segment->id()] = segment->entry_count() - Min(live, segment->entry_count());
      return Status::Ok();
    }));
  }
  liveness.reset();
  index->vacuumed = false;
}

// Does an index still live in this file?
bool StillThere(const IndexKey& key, Oid index_oid) {
  HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(index_oid));
  if (!HeapTupleIsValid(tuple)) return false;
  bool same = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relfilenode == key.relation;
  ReleaseSysCache(tuple);
  return same;
}

// REQUIRES: a transaction that has not failed.
void Prune() {
  maybe_stale = false;
  Indexes& indexes = PrivateIndexes();
  for (auto entry = indexes.begin(); entry != indexes.end();)
    entry = StillThere(entry->first, entry->second.index_oid) ? std::next(entry) : indexes.erase(entry);
}

void OnRelationChange(Datum argument, Oid relation) {
  (void)argument, (void)relation;
  maybe_stale = true;
}

void OnTransactionEnd(XactEvent event, void* argument) {
  (void)argument;
  if (event == XACT_EVENT_PRE_COMMIT && maybe_stale && !PrivateIndexes().empty()) Prune();
}

}  // namespace

void BuildPrivate(LogReader* reader, bool seal_all) {
  if (!FolderIsOurs()) return;
  PrivateIndex* index = nullptr;
  Oid index_oid = RelationGetRelid(reader->index);
  ThrowIfFailed(Guard([&] { return FindOrMake(*reader, index_oid, &index); }));
  uint32 slots = reader->meta->slots_per_extent;
  PlannedFor now = {{reader->meta->first_sequence * slots, LogEnd(reader)}, BuildMemory(), BuildThreads()};
  if (!seal_all && !index->vacuumed && index->settled == now) return;
  if (!seal_all && index->failures > 0 && Now() < index->retry_at) return;
  MemoryContext context =
      AllocSetContextCreate(CurrentMemoryContext, "vhnsw private build", ALLOCSET_DEFAULT_SIZES);
  MemoryContext caller = MemoryContextSwitchTo(context);
  if (index->vacuumed) CountDead(reader, index);
  Failure failure;
  while (!failure.failed()) {
    ThrowIfFailed(Guard([&] { return Plan(*reader->meta, now, seal_all, index); }));
    if (index->plan.empty()) break;
    failure = RunPlanned(reader, index);
    MemoryContextReset(context);
  }
  MemoryContextSwitchTo(caller);
  MemoryContextDelete(context);
  if (seal_all) ThrowIfFailed(failure);
  if (failure.failed()) return PutOffPrivate(reader->index, failure);
  index->settled = now;
  index->failures = 0;
}

std::shared_ptr<const IndexMapping> FindPrivate(const IndexKey& key, uint64 identity) {
  auto found = PrivateIndexes().find(key);
  return found != PrivateIndexes().end() && found->second.identity == identity ? found->second.mapping
                                                                               : nullptr;
}

void NotePrivateVacuum(Relation index) {
  auto found = PrivateIndexes().find(KeyOf(index));
  if (found != PrivateIndexes().end()) found->second.vacuumed = true;
}

void PutOffPrivate(Relation index, const Failure& failure) {
  bool corrupt = failure.code == StatusCode::kCorruption;
  auto found = PrivateIndexes().find(KeyOf(index));
  if (found != PrivateIndexes().end()) {
    PrivateIndex& put_off = found->second;
    put_off.PutOff();
    if (corrupt)
      ThrowIfFailed(Guard([&] {
        put_off.mapping = std::make_shared<IndexMapping>();
        put_off.dead.clear();
        return Status::Ok();
      }));
  }
  ereport(WARNING,
          (errcode(SqlState(failure.code)),
           corrupt ? errmsg("segments of index \"%s\" cannot be used: %s", RelationGetRelationName(index),
                            failure.message)
                   : errmsg("could not build segments of index \"%s\": %s", RelationGetRelationName(index),
                            failure.message),
           errdetail(
               "Scans compare rows that no segment has one by one, and build segments again after a while."),
           HintFor(SqlState(failure.code))));
}

void ForgetPrivate(Relation index) {
  PrivateIndexes().erase(KeyOf(index));
}

void InstallPrivatePruning() {
  CacheRegisterRelcacheCallback(OnRelationChange, PointerGetDatum(nullptr));
  RegisterXactCallback(OnTransactionEnd, nullptr);
}

}  // namespace vecckpt
