// See segment_jobs.hpp.

#include "pg/segment_jobs.hpp"

#include <utility>

namespace vecckpt {
namespace {

// The segment whose codec a new one should share: what it will be merged with or absorbed by.
std::shared_ptr<const Segment> CodecSource(const IndexMapping* mapping) {
  std::shared_ptr<const Segment> source;
  if (mapping == nullptr) return source;
  for (const auto& segment : mapping->segments) {
    bool graph = segment->kind() == SegmentKind::kGraph;
    bool source_graph = source != nullptr && source->kind() == SegmentKind::kGraph;
    if (graph != source_graph ? graph : source == nullptr || segment->entry_count() > source->entry_count())
      source = segment;
  }
  return source;
}

// A job that runs `run` on `input`, which it keeps.
template <typename Input>
ThreadPool::Job JobOf(Result<SegmentHeader> (*run)(const Input&, JobContext&), std::shared_ptr<Input> input,
                      std::shared_ptr<SegmentHeader> result) {
  return [run, input = std::move(input), result = std::move(result)](JobContext& context) {
    auto made = run(*input, context);
    if (made.ok()) *result = *made;
    return made.status();
  };
}

}  // namespace

Status NewOutput(Writer* writer, const IndexKey& key, uint64 identity, const Geometry& geometry,
                 JobOutput* output) {
  VECCKPT_RETURN_IF_ERROR(EnsureFolder());
  output->segment_id = writer->NewId();
  output->path = PathOf(SegmentName(key, output->segment_id));
  output->identity = identity;
  output->mode = FileMode();
  output->geometry = geometry;
  return Status::Ok();
}

ThreadPool::Job SealJob(const JobOutput& output, EntryBatch entries, const IndexMapping* mapping,
                        std::shared_ptr<SegmentHeader> result) {
  auto input = std::make_shared<SealInput>();
  input->output = output;
  input->entries = std::move(entries);
  input->neighbour = CodecSource(mapping);
  return JobOf(RunSeal, std::move(input), std::move(result));
}

Result<ThreadPool::Job> RewriteJob(const PlannedJob& planned, const IndexMapping& mapping,
                                   const RewriteOptions& options, JobOutput output,
                                   std::shared_ptr<SegmentHeader> result) {
  std::vector<std::shared_ptr<const Segment>> segments;
  for (uint64_t id : planned.segments)
    for (const auto& segment : mapping.segments)
      if (segment->id() == id) segments.push_back(segment);
  if (segments.size() != planned.segments.size()) return Status::Internal("a planned segment is not mapped");
  output.range = {segments.front()->range().begin, segments.back()->range().end};
  output.end_hash = segments.back()->header().end_hash;
  output.max_lsn = options.liveness_lsn;
  for (const auto& segment : segments) output.max_lsn = Max(output.max_lsn, segment->header().max_lsn);
  if (planned.kind == JobKind::kMerge) {
    auto input = std::make_shared<MergeInput>();
    input->output = std::move(output);
    input->segments = std::move(segments);
    input->liveness = options.liveness;
    return JobOf(RunMerge, std::move(input), std::move(result));
  }
  auto input = std::make_shared<GraphInput>();
  input->output = std::move(output);
  input->segments = std::move(segments);
  input->liveness = options.liveness;
  input->keep_base_graph = planned.keep_base_graph;
  input->threads = options.threads;
  input->background = options.background;
  input->memory_limit = options.memory_limit;
  input->copy_limit = options.memory_limit;
  return JobOf(RunGraph, std::move(input), std::move(result));
}

}  // namespace vecckpt
