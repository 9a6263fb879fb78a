// Segments become one graph segment.
//
// Phases: (1) the codes of all nodes go to the file, those of the base graph first, under their old numbers;
// (2) GraphBuilder builds over a mapping of them; (3) links are read out of it into the file and it is freed;
// (4) entries, orphans and extents follow.

#include <algorithm>
#include <string>
#include <utility>

#include "base/fault_point.hpp"
#include "hnsw/graph_builder.hpp"
#include "index/jobs.hpp"
#include "index/policy.hpp"
#include "index/segment_assembly.hpp"

namespace vecckpt {

namespace {

constexpr uint32_t kListsPerAppend = 1024;

// The input whose graph an absorb keeps; null if there is none.
const Segment* LargestGraph(const GraphInput& input) {
  const Segment* largest = nullptr;
  for (const std::shared_ptr<const Segment>& segment : input.segments) {
    if (segment->kind() != SegmentKind::kGraph || segment->node_count() == 0) continue;
    if (segment->header().m != input.output.geometry.m) continue;
    if (largest == nullptr || segment->entry_count() > largest->entry_count()) largest = segment.get();
  }
  return largest;
}

// The base graph to keep: null if all is to be built anew.
Result<const Segment*> ChooseBase(const GraphInput& input, const std::atomic<bool>& cancel) {
  const Segment* base = input.keep_base_graph ? LargestGraph(input) : nullptr;
  if (base == nullptr) return base;
  for (const std::shared_ptr<const Segment>& segment : input.segments) {
    const Result<bool> holds = HoldsAll(base->codec(), *segment, cancel);
    if (!holds.ok()) return holds.status();
    if (!*holds) return static_cast<const Segment*>(nullptr);
  }
  return base;
}

// What a node's level is drawn from: the position of one of its entries, which no rewriting changes.
std::vector<uint64_t> Seeds(const NodeTable& nodes, const ExtentTable& extents, uint64_t slots_per_extent) {
  std::vector<uint64_t> seeds(nodes.node_count(), 0);
  for (uint32_t node = 0; node < nodes.node_count(); ++node) {
    const uint64_t ordinal = nodes.AnyOrdinal(node);
    if (ordinal == NodeTable::kNoOrdinal) continue;
    const ExtentRecord* record = extents.Find(ordinal / slots_per_extent);
    seeds[node] = record->sequence * slots_per_extent + ordinal % slots_per_extent;
  }
  return seeds;
}

Status WriteLinks0(const GraphBuilder& builder, uint32_t node_count, uint32_t m, SegmentWriter* writer,
                   const std::atomic<bool>& cancel) {
  VECCKPT_RETURN_IF_ERROR(writer->BeginSection(SectionKind::kLinks0));
  const size_t length = size_t{m} * 2;
  std::vector<uint32_t> lists(length * kListsPerAppend);
  for (uint32_t begin = 0; begin < node_count; begin += kListsPerAppend) {
    VECCKPT_RETURN_IF_ERROR(PollCancel(cancel));
    const uint32_t count = std::min(kListsPerAppend, node_count - begin);
    for (uint32_t i = 0; i < count; ++i) builder.Links0(begin + i, lists.data() + i * length);
    VECCKPT_RETURN_IF_ERROR(writer->Append(AsBytes(std::span<const uint32_t>(lists).first(count * length))));
  }
  return Status::Ok();
}

Status WriteUpper(const GraphBuilder::Upper& upper, uint32_t m, SegmentWriter* writer) {
  if (upper.nodes.empty()) return Status::Ok();
  const UpperHeader header{static_cast<uint32_t>(upper.nodes.size()),
                           static_cast<uint32_t>(upper.links.size() / m)};
  VECCKPT_RETURN_IF_ERROR(writer->WriteSection(SectionKind::kUpper, AsBytes(header)));
  VECCKPT_RETURN_IF_ERROR(writer->Append(AsBytes<uint32_t>(upper.nodes)));
  VECCKPT_RETURN_IF_ERROR(writer->Append(AsBytes<uint32_t>(upper.offsets)));
  return writer->Append(AsBytes<uint32_t>(upper.links));
}

// Phases 2 and 3. Fills the graph fields of `header`.
Status BuildGraph(const GraphInput& input, const Segment* base, SegmentAssembly* assembly,
                  JobContext& context, SegmentHeader* header, std::vector<uint32_t>* orphans) {
  const Geometry& geometry = input.output.geometry;
  NodeTable& nodes = assembly->nodes();
  const uint32_t node_count = nodes.node_count();
  if (node_count == 0) return Status::Ok();

  const uint64_t needed = GraphJobMemory(node_count, nodes.entry_count(), geometry.m, input.threads);
  if (input.memory_limit > 0 && needed > input.memory_limit) {
    return Status::OutOfMemory("building segment \"" + input.output.path + "\" needs " +
                               std::to_string(needed) + " bytes of memory, the limit is " +
                               std::to_string(input.memory_limit));
  }
  const uint32_t base_count = base == nullptr ? 0 : base->node_count();
  context.Begin(JobPhase::kLinking, node_count - base_count);

  GraphBuildOptions options;
  options.m = geometry.m;
  options.ef_construction = geometry.ef_construction;
  options.threads = {input.threads, input.background};
  options.copy_codes = needed + nodes.codes().size() <= input.copy_limit;
  options.cancel = &context.cancel;
  options.inserted = &context.done;
  options.on_repair = [&context] { context.Enter(JobPhase::kRepairing); };
  const std::vector<uint64_t> seeds = Seeds(nodes, assembly->extents(), geometry.slots_per_extent);
  GraphBuilder builder(assembly->codec(), nodes.codes(), node_count, seeds,
                       base == nullptr ? nullptr : &base->graph(), options);
  Status built = builder.Build();
  if (built.code() == StatusCode::kCorruption && base != nullptr) {
    return Status::Corruption("segment \"" + base->path() + "\" is corrupt: " + built.message());
  }
  VECCKPT_RETURN_IF_ERROR(built);

  context.Enter(JobPhase::kWriting);
  VECCKPT_RETURN_IF_ERROR(WriteLinks0(builder, node_count, geometry.m, &assembly->writer(), context.cancel));
  const GraphBuilder::Upper upper = builder.UpperLevels();
  VECCKPT_RETURN_IF_ERROR(WriteUpper(upper, geometry.m, &assembly->writer()));
  header->entry_node = upper.entry_node;
  header->entry_rank = upper.entry_rank;
  header->max_level = upper.max_level;
  header->repaired = builder.repaired();
  *orphans = builder.orphans();
  return Status::Ok();
}

}  // namespace

Result<SegmentHeader> RunGraph(const GraphInput& input, JobContext& context) {
  const Geometry& geometry = input.output.geometry;
  VECCKPT_FAULT_POINT(JobGraph, input.output.path);
  VECCKPT_RETURN_IF_ERROR(CheckInputs(input.segments, geometry));
  const Liveness* liveness = input.liveness.get();
  const Result<const Segment*> base = ChooseBase(input, context.cancel);
  if (!base.ok()) return base.status();
  ExtentTable extents = GatherExtents(input.segments);
  Result<std::unique_ptr<Codec>> codec =
      *base != nullptr ? CopyCodec((*base)->codec())
                       : ChooseCodec(input.segments, geometry, extents, liveness, context.cancel);
  if (!codec.ok()) return codec.status();
  Result<std::unique_ptr<SegmentAssembly>> assembly =
      SegmentAssembly::Create(input.output, std::move(*codec), std::move(extents));
  if (!assembly.ok()) return assembly.status();

  uint64_t most_nodes = 0;
  for (const std::shared_ptr<const Segment>& segment : input.segments) most_nodes += segment->node_count();
  (*assembly)->nodes().Reserve(most_nodes);
  context.Begin(JobPhase::kCopying, most_nodes);
  if (*base != nullptr) {
    VECCKPT_RETURN_IF_ERROR((*assembly)->AddSegment(**base, liveness, true, context));
  }
  for (const std::shared_ptr<const Segment>& segment : input.segments) {
    if (segment.get() == *base) continue;
    VECCKPT_RETURN_IF_ERROR((*assembly)->AddSegment(*segment, liveness, false, context));
  }
  VECCKPT_RETURN_IF_ERROR((*assembly)->nodes().FinishCodes());

  SegmentHeader header = HeaderWithoutGraph();
  std::vector<uint32_t> orphans;
  VECCKPT_RETURN_IF_ERROR(BuildGraph(input, *base, assembly->get(), context, &header, &orphans));
  VECCKPT_RETURN_IF_ERROR(VerifyInputs(input.segments, context.cancel));
  VECCKPT_RETURN_IF_ERROR((*assembly)->nodes().CheckReadable());
  return (*assembly)->Finish(SegmentKind::kGraph, input.output, orphans, header, &context.cancel);
}

}  // namespace vecckpt
