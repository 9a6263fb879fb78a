// Everything about a segment that can be checked without the log it was built from, for vec_index_check: more
// than Segment::Verify, which stops at the first defect and looks at what a search could stumble over.

#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "base/status.hpp"
#include "segment/segment.hpp"
#include "segment/slot_set.hpp"

namespace vecckpt {

struct SegmentDefects {
  std::vector<std::string> messages;  // one a defect; none name the file
  SlotSet slots;                      // of a segment without defects
};

// Checksums of all sections; where they are right, what the sections hold: order and range of everything,
// each ordinal once and at a position of the segment's range, every node of a graph reachable or an orphan,
// upper links between nodes of their level. An error is no defect: kCancelled, or out of memory.
Status FindDefects(const Segment& segment, const std::atomic<bool>* cancel, SegmentDefects* defects);

}  // namespace vecckpt
