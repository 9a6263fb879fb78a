// See builder_work.hpp.

#include "pg/builder_work.hpp"

#include "pg/segment_jobs.hpp"

#include <algorithm>
#include <utility>

#include "os/counted_try.hpp"
#include "os/file.hpp"

namespace vecckpt {
namespace {

constexpr uint32 kMostDeaths = 3;     // of processes that verified a segment, before it is given up
constexpr uint64 kLogEntries = 4096;  // a smaller segment is promoted without a log line, unless asked for

Status Submit(Builder* builder, RunningJob running, ThreadPool::Job job) {
  Result<ThreadPool::JobId> id = builder->pool->Submit(std::move(job));
  if (!id.ok()) return id.status();
  IndexWork* work = builder->visited;
  running.counts = work->counts;
  work->busy.insert(running.inputs.begin(), running.inputs.end());
  if (!running.bitmaps.empty())
    work->liveness_running = true;
  else if (running.verify)
    work->verify_running = builder->verify_running = true;
  else if (running.kind == JobKind::kSeal)
    work->seal_running = true;
  else if (running.large)
    builder->large_running = true;
  else
    work->merge_running = true;
  builder->jobs[*id] = std::move(running);
  return Status::Ok();
}

// The job runs no more; its index may be gone (null).
void Release(Builder* builder, IndexWork* work, const RunningJob& job) {
  if (job.verify) builder->verify_running = false;
  if (job.large) builder->large_running = false;
  if (work == nullptr) return;
  for (uint64_t id : job.inputs) work->busy.erase(id);
  if (!job.bitmaps.empty()) {
    work->liveness_running = false;
  } else if (job.verify) {
    work->verify_running = false;
  } else if (job.kind == JobKind::kSeal) {
    work->seal_running = false;
    work->seal_range = {};
  } else if (!job.large) {
    work->merge_running = false;
  }
}

void RecordFailure(const IndexWork& work, const RunningJob& job, const Status& status, Notices* notices) {
  bool liveness = !job.bitmaps.empty();
  bool seal = !liveness && !job.verify && job.kind == JobKind::kSeal;
  notices->Add("vecckpt: builder failed on index \"%s\": %s", work.name.c_str(), status.message().c_str());
  Moment now = Now();
  ChangeEntry(work.key, [&](IndexFields& f) {
    NoteFailure(&f, liveness ? FailedIn::kLiveness : FailedIn::kJob, SqlState(status.code()),
                status.message().c_str(), now);
    // Whoever waits for this index to be sealed learns that it is not.
    if (seal && f.seal_request > f.seal_done) {
      f.seal_done = f.request_done = f.seal_request;
      f.outcome = RequestOutcome::kFailed;
    }
  });
  if (liveness) MarkVacuumed(work.key);
  ConditionVariableBroadcast(&shared->changed);
}

// The current manifest of the work's index, or a new one; false if the log is another one by now.
Result<bool> CurrentManifest(const IndexWork& work, Generation* base, Manifest* manifest) {
  IndexFields fields;
  if (!SnapshotEntry(work.key, &fields) || fields.identity != work.identity) return false;
  *base = fields.current;
  *manifest = Manifest();
  if (fields.current.manifest_id != 0) {
    auto loaded = LoadGeneration(work.key, fields.current);
    if (!loaded.ok()) return loaded.status();
    *manifest = std::move(*loaded);
  }
  manifest->key = work.key;
  manifest->identity = work.identity;
  manifest->index_oid = work.index_oid;
  manifest->persistence = work.persistence;
  manifest->geometry = work.geometry;
  return true;
}

// Replaces the job's inputs by its result. False if an input is gone or the range is covered by now.
bool Apply(const RunningJob& job, Manifest* manifest) {
  size_t found = std::erase_if(manifest->segments, [&job](const ManifestSegment& segment) {
    return std::find(job.inputs.begin(), job.inputs.end(), segment.id) != job.inputs.end();
  });
  if (found != job.inputs.size()) return false;
  ManifestSegment made = Describe(*job.result);
  for (const ManifestSegment& segment : manifest->segments)
    if (segment.range.begin < made.range.end && made.range.begin < segment.range.end) return false;
  auto place = std::find_if(manifest->segments.begin(), manifest->segments.end(),
                            [&made](const ManifestSegment& s) { return s.range.begin >= made.range.end; });
  manifest->segments.insert(place, made);
  return true;
}

void CountJob(const IndexWork& work, const RunningJob& job, Notices* notices) {
  const SegmentHeader& header = *job.result;
  switch (job.kind) {
    case JobKind::kSeal:
      AddCounter(work.key, &IndexCounters::seals, 1);
      break;
    case JobKind::kMerge:
      AddCounter(work.key, &IndexCounters::merges, 1);
      break;
    case JobKind::kGraph:
      AddCounter(work.key, &IndexCounters::graph_builds, 1);
      AddCounter(work.key, &IndexCounters::graph_insertions,
                 header.node_count - Min(job.base_nodes, uint64{header.node_count}));
      break;
  }
  if (job.kind == JobKind::kGraph || job.by_request || header.entry_count >= kLogEntries)
    notices->Add("vecckpt: sealed positions %llu to %llu of index \"%s\": %s segment, %llu entries, %u nodes",
                 static_cast<unsigned long long>(header.range.begin),
                 static_cast<unsigned long long>(header.range.end), work.name.c_str(),
                 header.kind == static_cast<uint32_t>(SegmentKind::kGraph) ? "graph" : "flat",
                 static_cast<unsigned long long>(header.entry_count), header.node_count);
}

// Makes a finished segment part of the current generation, whoever else publishes meanwhile. *published: it
// is; else it is of no use any more.
Status Promote(const IndexWork& work, const RunningJob& job, bool* published, Notices* notices) {
  *published = false;
  for (;;) {
    Generation base;
    Manifest manifest;
    Result<bool> same = CurrentManifest(work, &base, &manifest);
    if (!same.ok()) return same.status();
    if (!*same || !Apply(job, &manifest)) return Status::Ok();
    IndexFields fields;
    if (!SnapshotEntry(work.key, &fields)) return Status::Ok();
    VECCKPT_FAULT_POINT(Promote);
    Result<bool> current = PublishGeneration(&manifest, base, fields.validated, fields.verified);
    if (!current.ok()) return current.status();
    if (!*current) continue;
    *published = true;
    VECCKPT_FAULT_POINT(Promoted);
    ChangeEntry(work.key, [](IndexFields& f) { ForgetFailure(&f, FailedIn::kJob); });
    CountJob(work, job, notices);
    return Status::Ok();
  }
}

// Sets a segment aside in whatever generation is current; nothing to do if it is listed no more.
Status SetSegmentAside(const IndexWork& work, uint64_t bad, const std::string& reason, Notices* notices) {
  for (;;) {
    Generation base;
    Manifest manifest;
    Result<bool> same = CurrentManifest(work, &base, &manifest);
    if (!same.ok()) return same.status();
    if (!*same) return Status::Ok();
    bool listed = std::any_of(manifest.segments.begin(), manifest.segments.end(),
                              [bad](const ManifestSegment& segment) { return segment.id == bad; });
    if (!listed) return Status::Ok();
    VECCKPT_RETURN_IF_ERROR(SetAside(manifest, base, {bad}, reason, notices));
  }
}

Status FinishVerify(IndexWork* work, const RunningJob& job, const Status& status, Notices* notices) {
  if (status.ok()) {
    work->verified.insert(job.inputs.begin(), job.inputs.end());
    ChangeEntry(work->key, [](IndexFields& f) { ForgetFailure(&f, FailedIn::kJob); });
    return Status::Ok();
  }
  if (status.code() != StatusCode::kCorruption) return status;
  return SetSegmentAside(*work, *job.failed_segment, status.message(), notices);
}

// One of a job's inputs is not what was written. Which one, verifying them again tells, and sets it aside.
void DoubtInputs(IndexWork* work, const RunningJob& job) {
  for (uint64_t id : job.inputs) work->verified.erase(id);
  ChangeEntry(work->key, [](IndexFields& f) { f.verified = false; });
}

Status FinishBuild(IndexWork* work, const RunningJob& job, const Status& status, Notices* notices) {
  Status result = status;
  if (status.code() == StatusCode::kCorruption) DoubtInputs(work, job);
  bool published = false;
  if (result.ok()) result = Promote(*work, job, &published, notices);
  if (published) {
    work->verified.insert(job.segment_id);  // written here and now
    // The dead were counted while the job ran, which still takes them for alive.
    if (job.counts != work->counts) MarkVacuumed(work->key);
  } else {
    (void)RemoveFile(PathOf(SegmentName(work->key, job.segment_id))).ok();  // the sweep takes what stays
  }
  return result;
}

void GiveUpBitmaps(const RunningJob& job) {
  for (const RunningJob::Bitmap& bitmap : job.bitmaps)
    (void)RemoveFile(PathOf(LivenessBitmapName(job.key, bitmap.bitmap_id)))
        .ok();  // the sweep takes what stays
}

// Lists the bitmaps with those of their segments that are still in the current generation. *published: some
// are.
Status PromoteBitmaps(const IndexWork& work, const RunningJob& job, bool* published) {
  *published = false;
  while (!*published) {
    Generation base;
    Manifest manifest;
    Result<bool> same = CurrentManifest(work, &base, &manifest);
    if (!same.ok()) return same.status();
    bool listed = false;
    for (ManifestSegment& segment : manifest.segments)
      for (const RunningJob::Bitmap& bitmap : job.bitmaps)
        if (segment.id == bitmap.segment_id) {
          segment.liveness_id = bitmap.bitmap_id;
          listed = true;
        }
    IndexFields fields;
    if (!*same || !listed || !SnapshotEntry(work.key, &fields)) return Status::Ok();
    VECCKPT_FAULT_POINT(LivenessPromote);
    Result<bool> current = PublishGeneration(&manifest, base, fields.validated, fields.verified);
    if (!current.ok()) return current.status();
    *published = *current;
  }
  VECCKPT_FAULT_POINT(LivenessPromoted);
  return Status::Ok();
}

Status FinishLiveness(const IndexWork& work, const RunningJob& job, const Status& status) {
  Status result = status;
  bool published = false;
  if (result.ok()) result = PromoteBitmaps(work, job, &published);
  if (!published) GiveUpBitmaps(job);
  if (result.ok()) ChangeEntry(work.key, [](IndexFields& f) { ForgetFailure(&f, FailedIn::kLiveness); });
  return result;
}

}  // namespace

Status BeginVisit(Builder* builder, const VisitFacts& facts) {
  IndexWork& work = builder->works[facts.key];
  if (work.identity != facts.identity) {
    // Jobs of the old identity find out when they finish.
    work = IndexWork();
    work.key = facts.key;
    work.identity = facts.identity;
  }
  work.index_oid = facts.index_oid;
  work.persistence = facts.persistence;
  work.name = facts.name;
  work.geometry = facts.geometry;
  builder->visited = &work;
  builder->bitmaps.clear();
  return Status::Ok();
}

Status FindUncovered(Builder* builder, uint64 first, uint64 end, uint64* open) {
  IndexWork* work = builder->visited;
  std::vector<PositionRange> covered;
  if (work->mapping != nullptr)
    for (const auto& segment : work->mapping->segments) covered.push_back(segment->range());
  *open = 0;
  for (const PolicyRange& range : UncoveredRanges(covered, {first, end})) *open += range.entries;
  if (work->seal_running) {
    covered.push_back(work->seal_range);
    std::sort(covered.begin(), covered.end(),
              [](const PositionRange& a, const PositionRange& b) { return a.begin < b.begin; });
  }
  builder->uncovered = UncoveredRanges(covered, {first, end});
  return Status::Ok();
}

Status Plan(Builder* builder, bool seal_all, uint32 threads, uint64 memory_limit) {
  IndexWork* work = builder->visited;
  PolicyInput input;
  input.uncovered = builder->uncovered;
  input.seal_all = seal_all;
  input.seal_running = work->seal_running;
  input.merge_running = work->merge_running;
  input.large_running = builder->large_running;
  input.stride = Codec::Stride(work->geometry.code_kind, work->geometry.dims);
  input.m = work->geometry.m;
  input.threads = threads;
  input.memory_limit = memory_limit;
  if (work->mapping != nullptr)
    for (const auto& segment : work->mapping->segments) {
      PolicySegment seen = PolicyViewOf(*segment);
      auto dead = work->dead.find(seen.id);
      seen.dead = dead == work->dead.end() ? 0 : Min(dead->second, seen.entries);
      // What has not been verified must not be copied into a new segment.
      seen.busy = work->busy.count(seen.id) != 0 || work->verified.count(seen.id) == 0;
      input.segments.push_back(seen);
    }
  builder->plan = PlanJobs(input);
  builder->postponed = false;
  if (!input.large_running) return Status::Ok();
  input.large_running = false;
  for (const PlannedJob& job : PlanJobs(input)) builder->postponed = builder->postponed || job.large;
  return Status::Ok();
}

Status StartVerify(Builder* builder) {
  IndexWork* work = builder->visited;
  if (builder->verify_running || work->mapping == nullptr) return Status::Ok();
  std::vector<std::shared_ptr<const Segment>> segments;
  RunningJob running;
  running.key = work->key;
  running.identity = work->identity;
  running.index_oid = work->index_oid;
  running.verify = true;
  running.name = "verify";
  for (const auto& segment : work->mapping->segments) {
    if (work->verified.count(segment->id()) != 0) continue;
    segments.push_back(segment);
    running.inputs.push_back(segment->id());
  }
  if (segments.empty()) {
    Generation generation = work->mapping->generation;
    ChangeEntry(work->key, [&](IndexFields& f) {
      if (f.current.manifest_id == generation.manifest_id) f.verified = true;
    });
    return Status::Ok();
  }
  running.failed_segment = std::make_shared<uint64_t>(0);
  auto failed = running.failed_segment;
  IndexKey key = work->key;
  return Submit(builder, std::move(running), [key, segments, failed](JobContext& context) {
    uint64 bytes = 0;
    for (const auto& segment : segments) bytes += segment->file_size();
    context.Begin(JobPhase::kVerifying, bytes);
    for (const auto& segment : segments) {
      if (context.cancel) return Status::Cancelled();
      *failed = segment->id();
      CountedTry verifying(PathOf(TriesName(key, segment->id())), FileMode());
      if (verifying.before() >= kMostDeaths)
        return Status::Corruption("segment \"" + segment->path() +
                                  "\" has not been verified: processes died in " +
                                  std::to_string(verifying.before()) + " tries");
      VECCKPT_FAULT_POINT(JobVerify, segment->path());
      VECCKPT_RETURN_IF_ERROR(segment->Verify(Segment::Depth::kAll, &context.cancel));
      context.done += segment->file_size();
    }
    return Status::Ok();
  });
}

Status StartSeal(Builder* builder, PositionRange range, uint64 end_hash, uint64 max_lsn, bool by_request) {
  IndexWork* work = builder->visited;
  auto writer = Writer::Register();
  if (!writer.ok()) return writer.status();
  JobOutput output;
  VECCKPT_RETURN_IF_ERROR(NewOutput(writer->get(), work->key, work->identity, work->geometry, &output));
  output.range = range;
  output.end_hash = end_hash;
  output.max_lsn = max_lsn;
  RunningJob running;
  running.key = work->key;
  running.identity = work->identity;
  running.index_oid = work->index_oid;
  running.kind = JobKind::kSeal;
  running.name = "seal";
  running.by_request = by_request;
  running.segment_id = output.segment_id;
  running.writer = std::move(*writer);
  running.result = std::make_shared<SegmentHeader>();
  ThreadPool::Job job =
      SealJob(output, std::exchange(builder->batch, {}), work->mapping.get(), running.result);
  VECCKPT_RETURN_IF_ERROR(Submit(builder, std::move(running), std::move(job)));
  work->seal_range = range;
  return Status::Ok();
}

namespace {

// The nodes of the largest graph among the planned inputs; 0 if there is none.
uint64 LargestGraph(const PlannedJob& planned, const IndexMapping& mapping) {
  uint64 nodes = 0;
  for (const auto& segment : mapping.segments)
    if (segment->kind() == SegmentKind::kGraph &&
        std::find(planned.segments.begin(), planned.segments.end(), segment->id()) != planned.segments.end())
      nodes = Max(nodes, uint64{segment->node_count()});
  return nodes;
}

const char* NameOfRewrite(const PlannedJob& planned, uint64 largest_graph) {
  if (planned.kind == JobKind::kMerge) return "merge";
  if (largest_graph == 0) return "graph";
  return planned.keep_base_graph ? "absorb" : "rebuild";
}

}  // namespace

Status StartRewrite(Builder* builder, const PlannedJob& planned, uint64 liveness_lsn, uint32 threads,
                    uint64 memory_limit) {
  IndexWork* work = builder->visited;
  RewriteOptions options;
  options.liveness = std::exchange(builder->liveness, nullptr);
  options.liveness_lsn = liveness_lsn;
  options.threads = threads;
  options.background = true;
  options.memory_limit = memory_limit;
  auto writer = Writer::Register();
  if (!writer.ok()) return writer.status();
  JobOutput output;
  VECCKPT_RETURN_IF_ERROR(NewOutput(writer->get(), work->key, work->identity, work->geometry, &output));
  RunningJob running;
  running.key = work->key;
  running.identity = work->identity;
  running.index_oid = work->index_oid;
  running.kind = planned.kind;
  uint64 largest_graph = LargestGraph(planned, *work->mapping);
  running.name = NameOfRewrite(planned, largest_graph);
  running.inputs = planned.segments;
  running.segment_id = output.segment_id;
  running.writer = std::move(*writer);
  running.result = std::make_shared<SegmentHeader>();
  running.large = planned.large;
  if (planned.keep_base_graph) running.base_nodes = largest_graph;
  auto job = RewriteJob(planned, *work->mapping, options, output, running.result);
  if (!job.ok()) return job.status();
  return Submit(builder, std::move(running), std::move(*job));
}

Status NoteDead(Builder* builder, size_t segment, uint64 live) {
  IndexWork* work = builder->visited;
  const std::shared_ptr<const Segment>& counted = work->mapping->segments[segment];
  const LivenessBitmap* known = work->mapping->liveness[segment].get();
  uint64 entries = counted->entry_count();
  uint64 dead = entries - Min(live, entries);
  work->dead[counted->id()] = dead;
  // One that cannot be used is made again even if there is nothing to say.
  bool useless = known == nullptr && work->mapping->manifest.segments[segment].liveness_id != 0;
  uint64 known_dead = known == nullptr ? 0 : entries - Min(known->live_entries(), entries);
  if (dead == known_dead && !useless) return Status::Ok();
  LivenessInput input;
  input.segment = counted;
  input.liveness = std::move(builder->liveness);
  input.mode = FileMode();
  builder->bitmaps.push_back(std::move(input));
  return Status::Ok();
}

Status StartLiveness(Builder* builder) {
  IndexWork* work = builder->visited;
  work->counts++;
  auto inputs = std::make_shared<std::vector<LivenessInput>>(std::exchange(builder->bitmaps, {}));
  if (inputs->empty()) {
    // Whatever an earlier attempt was for is done, or gone.
    ChangeEntry(work->key, [](IndexFields& f) { ForgetFailure(&f, FailedIn::kLiveness); });
    return Status::Ok();
  }
  RunningJob running;
  running.key = work->key;
  running.identity = work->identity;
  running.index_oid = work->index_oid;
  running.name = "count dead";
  VECCKPT_RETURN_IF_ERROR(EnsureFolder());
  auto writer = Writer::Register();
  if (!writer.ok()) return writer.status();
  running.writer = std::move(*writer);
  for (LivenessInput& input : *inputs) {
    uint64 id = running.writer->NewId();
    input.path = PathOf(LivenessBitmapName(work->key, id));
    running.bitmaps.push_back({input.segment->id(), id});
  }
  return Submit(builder, std::move(running), [inputs](JobContext& context) {
    context.Enter(JobPhase::kWriting);
    for (const LivenessInput& input : *inputs) VECCKPT_RETURN_IF_ERROR(RunLiveness(input, context));
    return Status::Ok();
  });
}

Status DropWork(Builder* builder, const IndexKey& key) {
  for (const auto& [id, job] : builder->jobs)
    if (job.key == key) builder->pool->Cancel(id);
  builder->works.erase(key);
  ForgetMapping(key);
  return Status::Ok();
}

Status DropForgottenWork(Builder* builder) {
  std::vector<IndexKey> forgotten;
  IndexFields fields;
  for (const auto& [key, work] : builder->works)
    if (!SnapshotEntry(key, &fields)) forgotten.push_back(key);
  for (const IndexKey& key : forgotten) VECCKPT_RETURN_IF_ERROR(DropWork(builder, key));
  return Status::Ok();
}

Status DrainJobs(Builder* builder, int* finished, Notices* notices) {
  *finished = 0;
  for (const ThreadPool::Completion& completion : builder->pool->Drain()) {
    ++*finished;
    auto found = builder->jobs.find(completion.id);
    if (found == builder->jobs.end()) continue;
    RunningJob job = std::move(found->second);
    builder->jobs.erase(found);
    auto owner = builder->works.find(job.key);
    bool current = owner != builder->works.end() && owner->second.identity == job.identity;
    Release(builder, current ? &owner->second : nullptr, job);
    if (!current) {
      GiveUpBitmaps(job);
      if (!job.verify && job.bitmaps.empty())
        (void)RemoveFile(PathOf(SegmentName(job.key, job.segment_id))).ok();
      continue;
    }
    IndexWork* work = &owner->second;
    Status status = !job.bitmaps.empty() ? FinishLiveness(*work, job, completion.status)
                    : job.verify         ? FinishVerify(work, job, completion.status, notices)
                                         : FinishBuild(work, job, completion.status, notices);
    if (!status.ok() && status.code() != StatusCode::kCancelled) RecordFailure(*work, job, status, notices);
  }
  return Status::Ok();
}

}  // namespace vecckpt
