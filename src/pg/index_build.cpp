// See index_build.hpp.

#include "pg/index_build.hpp"

#include "pg/access_method.hpp"
#include "pg/entry_reader.hpp"
#include "pg/options.hpp"
#include "pg/segment_jobs.hpp"
#include "pg/validation.hpp"
#include "pg/wait_events.hpp"

extern "C" {
#include "commands/progress.h"
}

#include <memory>

#include "index/jobs.hpp"
#include "index/policy.hpp"
#include "os/file.hpp"

namespace vecckpt {
namespace {

constexpr uint64 kMaxParts = 128;  // every search looks into each
#ifdef VECCKPT_FAULT_POINTS
constexpr uint64 kLeastPart = 128;  // so that a test comes to many parts with few rows
#else
constexpr uint64 kLeastPart = kGraphEntries;
#endif
constexpr long kProgressInterval = 100;  // milliseconds between looks at a running job

// What has a destructor. Lives on the C++ heap; destroyed by Cleanup on every way out.
struct BuildObjects {
  std::unique_ptr<Writer> writer;
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<FlatSegmentBuilder> flat;
  std::vector<std::string> unpublished;  // segment files to remove unless published
  Manifest manifest;
  JobOutput output;  // of the part being built
  std::shared_ptr<SegmentHeader> header = std::make_shared<SegmentHeader>();
  ThreadPool::JobId graph_job = 0;
};

struct BuildState {
  IndexKey key;
  BuildObjects* objects;
};

void DestroyObjects(BuildState* state) {
  BuildObjects* objects = state->objects;
  state->objects = nullptr;
  if (objects == nullptr) return;
  Guard([objects] {
    objects->pool.reset();  // cancels and joins
    objects->flat.reset();
    for (const std::string& path : objects->unpublished) (void)RemoveFile(path).ok();
    delete objects;
    return Status::Ok();
  });
}

// Runs for ERROR and FATAL alike.
void Cleanup(int code, Datum argument) {
  (void)code;
  auto* state = reinterpret_cast<BuildState*>(DatumGetPointer(argument));
  DestroyObjects(state);
  ChangeEntry(state->key, [](IndexFields& f) {
    f.claim = 0;
    f.state[0] = '\0';
  });
}

uint64 BuildMemory() {
  return uint64{static_cast<uint32>(maintenance_work_mem)} * 1024;
}

// A new file, to be removed unless it is published.
Status AddOutput(BuildState* state, JobOutput* output) {
  BuildObjects* objects = state->objects;
  VECCKPT_RETURN_IF_ERROR(NewOutput(objects->writer.get(), state->key, objects->manifest.identity,
                                    objects->manifest.geometry, output));
  objects->unpublished.push_back(output->path);
  return Status::Ok();
}

Status StartPart(BuildState* state, float max_magnitude) {
  BuildObjects* objects = state->objects;
  objects->output = JobOutput();
  VECCKPT_RETURN_IF_ERROR(AddOutput(state, &objects->output));
  VectorStatistics statistics;
  statistics.max_magnitude = max_magnitude;
  auto flat = FlatSegmentBuilder::Create(objects->output, statistics);
  if (!flat.ok()) return flat.status();
  objects->flat = std::move(*flat);
  return Status::Ok();
}

Status AddRun(BuildState* state, const EntryRun& run, const float* vectors, uint32 dims) {
  EntryBatch batch;
  batch.vectors.assign(vectors, vectors + uint64{run.count} * dims);
  batch.ordinals.assign(run.ordinals, run.ordinals + run.count);
  batch.extents.push_back(run.extent);
  return state->objects->flat->Add(batch);
}

// Closes the flat segment and submits the graph over it, unless it is too small for one.
Status FinishFlat(BuildState* state, PositionRange range, uint64 end_hash, uint64 max_lsn, uint32 threads,
                  bool* graph_submitted) {
  VECCKPT_FAULT_POINT(CreateIndexFlat);
  BuildObjects* objects = state->objects;
  auto header = objects->flat->Finish(range, end_hash, max_lsn);
  if (!header.ok()) return header.status();
  objects->flat.reset();
  *objects->header = *header;
  *graph_submitted = header->node_count >= kGraphEntries;
  if (!*graph_submitted) return Status::Ok();

  auto segment = Segment::Open(objects->output.path);
  if (!segment.ok()) return segment.status();
  auto input = std::make_shared<GraphInput>();
  VECCKPT_RETURN_IF_ERROR(AddOutput(state, &input->output));
  input->output.range = range;
  input->output.end_hash = end_hash;
  input->output.max_lsn = max_lsn;
  input->segments.push_back(*segment);
  input->keep_base_graph = false;
  input->threads = threads;
  input->copy_limit = BuildMemory();
  VECCKPT_FAULT_POINT(CreateIndexGraph);
  auto result = objects->header;
  auto job = objects->pool->Submit([input, result](JobContext& context) {
    auto built = RunGraph(*input, context);
    if (!built.ok()) return built.status();
    *result = *built;
    return Status::Ok();
  });
  if (job.ok()) objects->graph_job = *job;
  return job.status();
}

// What the progress view shows while a graph job runs.
int64 PhaseOf(JobPhase phase) {
  switch (phase) {
    case JobPhase::kRepairing:
      return kPhaseRepair;
    case JobPhase::kWriting:
      return kPhaseWrite;
    default:
      return kPhaseGraph;
  }
}

// A phase in which `done` of the log's entries are through already.
void ShowPhase(int64 phase, uint64 done) {
  const int fields[] = {PROGRESS_CREATEIDX_SUBPHASE, PROGRESS_CREATEIDX_TUPLES_DONE};
  const int64 values[] = {phase, static_cast<int64>(done)};
  pgstat_progress_update_multi_param(lengthof(fields), fields, values);
}

// Waits for the running graph job, showing its progress; cancel and termination come through.
void WaitForGraph(BuildState* state, uint64 done_before) {
  Failure failure;
  bool finished = false;
  while (!finished) {
    int events = WaitLatchOrSocket(
        MyLatch, WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
        state->objects->pool->wakeup_fd(), kProgressInterval, WaitEventOf(Wait::kCreateIndex));
    if (events & WL_LATCH_SET) ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
    uint64 done = 0;
    int64 phase = kPhaseGraph;
    failure = Guard([&] {
      if (auto progress = state->objects->pool->Progress(state->objects->graph_job)) {
        phase = PhaseOf(progress->phase);
        // Codes are copied before nodes are inserted: that counts as no progress.
        if (phase != kPhaseGraph || progress->phase == JobPhase::kLinking) done = progress->done;
      }
      for (const auto& completion : state->objects->pool->Drain()) {
        finished = true;
        if (!completion.status.ok()) return completion.status;
      }
      return Status::Ok();
    });
    ThrowIfFailed(failure);
    if (!finished) ShowPhase(phase, done_before + done);
  }
}

// Takes the finished part into the manifest; its flat input is no longer needed.
Status FinishPart(BuildState* state, bool graph) {
  BuildObjects* objects = state->objects;
  if (graph) {
    VECCKPT_RETURN_IF_ERROR(RemoveFile(objects->output.path));
    std::erase(objects->unpublished, objects->output.path);
  }
  objects->manifest.segments.push_back(Describe(*objects->header));
  return Status::Ok();
}

Status Publish(BuildState* state, const Generation& base) {
  VECCKPT_FAULT_POINT(CreateIndexPublish);
  auto published = PublishGeneration(&state->objects->manifest, base, true, true);
  if (!published.ok()) return published.status();
  if (!*published) return Status::Internal("another process changed the index while it was being built");
  state->objects->unpublished.clear();
  return Status::Ok();
}

// One graph over positions that start at `begin`, up to `max_entries` of them. Returns where it ends.
uint64 BuildPart(BuildState* state, LogReader* reader, EntryRun* run, uint64 begin, uint64 end,
                 uint64 max_entries, float max_magnitude) {
  ThrowIfFailed(Guard([&] { return StartPart(state, max_magnitude); }));
  uint64 position = begin;
  uint64 end_hash = 0;
  uint64 entries = 0;
  ShowPhase(kPhaseEncode, begin);
  while (position < end &&
         entries + reader->meta->slots_per_extent <= Max(max_entries, reader->meta->slots_per_extent)) {
    CHECK_FOR_INTERRUPTS();
    position = ReadRun(reader, position, end, run);
    end_hash = run->end_hash;
    if (run->count == 0) continue;
    entries += run->count;
    ThrowIfFailed(Guard([&] { return AddRun(state, *run, FloatsOf(*reader, *run), reader->meta->dims); }));
    pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, static_cast<int64>(begin + entries));
  }
  bool graph = false;
  ThrowIfFailed(Guard([&] {
    return FinishFlat(state, {begin, position}, end_hash, reader->max_lsn, BuildThreads(), &graph);
  }));
  if (graph) WaitForGraph(state, begin);
  ThrowIfFailed(Guard([&] { return FinishPart(state, graph); }));
  if (graph) {
    AddCounter(state->key, &IndexCounters::graph_builds, 1);
    AddCounter(state->key, &IndexCounters::graph_insertions, state->objects->header->node_count);
  }
  return position;
}

void BuildAllParts(BuildState* state, LogReader* reader, float max_magnitude) {
  uint64 end = LogEnd(reader);
  uint64 memory = BuildMemory();
  // At least as many as make a graph, after rounding down to whole extents.
  uint64 least = kLeastPart + reader->meta->slots_per_extent;
  uint64 max_entries =
      Max(Max(MaxGraphNodes(memory, reader->meta->m, BuildThreads()), least), end / kMaxParts + 1);
  if (end > max_entries)
    ereport(NOTICE,
            (errmsg("graph of index \"%s\" does not fit maintenance_work_mem, building several segments",
                    RelationGetRelationName(reader->index)),
             errhint("A larger maintenance_work_mem makes searches of this index faster.")));
  ShowPhase(kPhaseEncode, 0);
  pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, static_cast<int64>(end));
  EntryRun* run = NewEntryRun(*reader);
  for (uint64 position = 0; position < end;)
    position = BuildPart(state, reader, run, position, end, max_entries, max_magnitude);
}

}  // namespace

void BuildSegments(Relation index, float max_magnitude) {
  BuildState state = {KeyOf(index), nullptr};
  LogReader reader;
  OpenLog(&reader, index, nullptr);
  if (!EnsureEntry(state.key, reader.meta->identity, RelationGetRelid(index), index->rd_rel->relpersistence))
    ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("too many vhnsw indexes"),
                    errhint("Increase vecckpt.max_indexes, now %d, and restart the server.", max_indexes)));
  IndexFields fields;
  SnapshotEntry(state.key, &fields);

  PG_ENSURE_ERROR_CLEANUP(Cleanup, PointerGetDatum(&state));
  {
    ChangeEntry(state.key, [](IndexFields& f) {
      f.claim = MyProcPid;
      strlcpy(f.state, "create index", sizeof(f.state));
    });
    ThrowIfFailed(Guard([&] {
      state.objects = new BuildObjects;
      auto writer = Writer::Register();
      if (!writer.ok()) return writer.status();
      state.objects->writer = std::move(*writer);
      Manifest& manifest = state.objects->manifest;
      manifest.key = state.key;
      manifest.identity = reader.meta->identity;
      manifest.index_oid = RelationGetRelid(index);
      manifest.persistence = index->rd_rel->relpersistence;
      manifest.geometry = GeometryOf(*reader.meta);
      auto pool = ThreadPool::Create(1);  // one job at a time; it starts the building threads itself
      if (!pool.ok()) return pool.status();
      state.objects->pool = std::move(*pool);
      return Status::Ok();
    }));
    BuildAllParts(&state, &reader, max_magnitude);
    ThrowIfFailed(Guard([&] { return Publish(&state, fields.current); }));
    VECCKPT_FAULT_POINT_RAISE(CreateIndexPublished);
  }
  PG_END_ENSURE_ERROR_CLEANUP(Cleanup, PointerGetDatum(&state));
  Cleanup(0, PointerGetDatum(&state));
}

}  // namespace vecckpt
