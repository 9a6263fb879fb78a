// What a finished graph must be, checked over all of it: every node is found from the entry point or is an
// orphan.
//
// Reachable means over level 0 from the entry point, as GraphRepair makes it and as every search starts.

#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "base/status.hpp"
#include "hnsw/graph_view.hpp"

namespace vecckpt {

struct GraphDefects {
  uint32_t unreachable = 0;              // nodes that neither the entry point leads to nor the orphans list
  uint32_t first_unreachable = kNoNode;  // the least of them
};

// Counts the defects of a graph whose links and offsets are in range (Segment::Verify); what is not in range
// is left out. Takes 3 bits a node. kCancelled if `cancel`, where given, is seen set.
Status CheckGraph(const GraphView& graph, std::span<const uint32_t> orphans, const std::atomic<bool>* cancel,
                  GraphDefects* defects);

}  // namespace vecckpt
