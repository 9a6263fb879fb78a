// Flat segments become one: their live nodes, one after the other.

#include <utility>

#include "base/fault_point.hpp"
#include "index/jobs.hpp"
#include "index/segment_assembly.hpp"

namespace vecckpt {

Result<SegmentHeader> RunMerge(const MergeInput& input, JobContext& context) {
  const Geometry& geometry = input.output.geometry;
  VECCKPT_FAULT_POINT(JobMerge, input.output.path);
  VECCKPT_RETURN_IF_ERROR(CheckInputs(input.segments, geometry));
  const Liveness* liveness = input.liveness.get();
  ExtentTable extents = GatherExtents(input.segments);
  Result<std::unique_ptr<Codec>> codec =
      ChooseCodec(input.segments, geometry, extents, liveness, context.cancel);
  if (!codec.ok()) return codec.status();
  Result<std::unique_ptr<SegmentAssembly>> assembly =
      SegmentAssembly::Create(input.output, std::move(*codec), std::move(extents));
  if (!assembly.ok()) return assembly.status();

  uint64_t nodes = 0;
  for (const std::shared_ptr<const Segment>& segment : input.segments) nodes += segment->node_count();
  (*assembly)->nodes().Reserve(nodes);
  context.Begin(JobPhase::kCopying, nodes);
  for (const std::shared_ptr<const Segment>& segment : input.segments) {
    VECCKPT_RETURN_IF_ERROR((*assembly)->AddSegment(*segment, liveness, false, context));
  }
  VECCKPT_RETURN_IF_ERROR(VerifyInputs(input.segments, context.cancel));
  context.Enter(JobPhase::kWriting);
  return (*assembly)->Finish(SegmentKind::kFlat, input.output, {}, HeaderWithoutGraph(), &context.cancel);
}

}  // namespace vecckpt
