// Which nodes of a segment are dead, for searches.

#include "base/fault_point.hpp"
#include "index/job_inputs.hpp"
#include "index/jobs.hpp"
#include "segment/liveness_bitmap.hpp"

namespace vecckpt {

Status RunLiveness(const LivenessInput& input, JobContext& context) {
  VECCKPT_FAULT_POINT(JobLiveness, input.path);
  const Segment& segment = *input.segment;
  std::vector<uint64_t> dead((uint64_t{segment.node_count()} + 63) / 64);
  uint64_t live_entries = 0;
  ExtentTable extents;
  for (const ExtentRecord& record : segment.extents()) extents.Add(record);
  LiveEntries live(segment, extents, input.liveness.get());
  for (uint32_t node = 0; node < segment.node_count(); ++node) {
    VECCKPT_RETURN_IF_ERROR(PollCancel(context.cancel));
    std::span<const uint64_t> ordinals;
    VECCKPT_RETURN_IF_ERROR(live.Of(node, &ordinals));
    live_entries += ordinals.size();
    if (ordinals.empty()) dead[node / 64] |= uint64_t{1} << (node % 64);
  }
  VECCKPT_RETURN_IF_ERROR(segment.CheckReadable());
  return LivenessBitmap::Write(input.path, input.mode, segment.id(), segment.node_count(), live_entries,
                               dead);
}

}  // namespace vecckpt
