// See segment_check.hpp. Each step relies on what the ones before it have shown, and is left out where they
// found something.

#include "segment/segment_check.hpp"

#include <utility>

#include "hnsw/graph_check.hpp"

namespace vecckpt {

namespace {

// A defect's message without the file, which Segment's own messages begin with; other errors are passed on.
Status Take(const Segment& segment, const Status& status, SegmentDefects* defects) {
  if (status.code() != StatusCode::kCorruption) return status;
  const std::string prefix = "segment \"" + segment.path() + "\" ";
  const std::string& message = status.message();
  defects->messages.push_back(message.starts_with(prefix) ? message.substr(prefix.size()) : message);
  return Status::Ok();
}

Status CheckEntries(const Segment& segment, const std::atomic<bool>* cancel, SegmentDefects* defects) {
  Result<SlotSet> slots = SlotSet::Of(segment, cancel);
  if (!slots.ok()) return Take(segment, slots.status(), defects);
  if (slots->repeated() > 0)
    defects->messages.push_back("holds entries twice: " + std::to_string(slots->repeated()));
  if (slots->misplaced() > 0)
    defects->messages.push_back("holds entries outside its positions: " + std::to_string(slots->misplaced()));
  defects->slots = std::move(*slots);
  return Status::Ok();
}

Status CheckLinks(const Segment& segment, const std::atomic<bool>* cancel, SegmentDefects* defects) {
  GraphDefects graph;
  VECCKPT_RETURN_IF_ERROR(CheckGraph(segment.graph(), segment.orphans(), cancel, &graph));
  if (graph.unreachable > 0)
    defects->messages.push_back("has nodes that no search finds: " + std::to_string(graph.unreachable) +
                                " of " + std::to_string(segment.node_count()) + ", the first is node " +
                                std::to_string(graph.first_unreachable));
  return Status::Ok();
}

}  // namespace

Status FindDefects(const Segment& segment, const std::atomic<bool>* cancel, SegmentDefects* defects) {
  *defects = SegmentDefects();
  for (uint32_t i = 0; i < kSectionCount; ++i) {
    VECCKPT_RETURN_IF_ERROR(
        Take(segment, segment.VerifySection(static_cast<SectionKind>(i), cancel), defects));
  }
  if (!defects->messages.empty()) return Status::Ok();
  VECCKPT_RETURN_IF_ERROR(Take(segment, segment.VerifyContents(Segment::Depth::kAll, cancel), defects));
  if (!defects->messages.empty()) return Status::Ok();
  VECCKPT_RETURN_IF_ERROR(CheckEntries(segment, cancel, defects));
  if (segment.kind() == SegmentKind::kGraph) return CheckLinks(segment, cancel, defects);
  return Status::Ok();
}

}  // namespace vecckpt
