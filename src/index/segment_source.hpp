// What one segment contributes to a merged search: a graph stream with its orphans, or a flat scan.
//
// A graph stream has to be closed at the width that the rows already returned from it ask for. Nodes that
// cannot become rows (no entries, entries found gone or dropped) widen it by one each, so that they do not
// count.
//
// Thread safety: one thread at a time.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/status.hpp"
#include "hnsw/graph_search.hpp"
#include "segment/segment.hpp"

namespace vecckpt {

// A node with a number its exact distances are never below.
struct BoundedNode {
  uint32_t node;
  double bound;
};

class SegmentSource {
 public:
  SegmentSource(std::shared_ptr<const Segment> segment, const float* query);

  const Segment& segment() const { return *segment_; }

  // Appends every node of a flat segment, or the orphans of a graph segment. kCorruption.
  Status ScoreWhole(std::vector<BoundedNode>* nodes);

  // Gives the stream its width; `share` is the segment's share of all entries, in [0, 1].
  void SetShare(double share, uint32_t ef_search);
  // True if the stream is closed at the width it needs, or there is none.
  bool Closed() const;
  // Advances until closed or `max_seen` nodes have been seen; appends what is new. kCorruption.
  Status Advance(uint64_t max_seen, std::vector<BoundedNode>* nodes);

  void CountReturned() { ++returned_; }
  void TakeBackReturned() { --returned_; }
  void CountUseless() { ++useless_; }

  uint64_t seen_count() const { return stream_ ? stream_->seen_count() : 0; }
  uint64_t distance_count() const { return scored_ + (stream_ ? stream_->distance_count() : 0); }
  size_t memory_bytes() const;

 private:
  uint64_t NeededWidth() const;
  void Append(uint32_t node, float distance, std::vector<BoundedNode>* nodes) const;

  std::shared_ptr<const Segment> segment_;
  std::unique_ptr<QueryScorer> scorer_;
  std::optional<GraphStream> stream_;
  std::vector<SeenNode> seen_;
  uint64_t scored_ = 0;

  uint64_t first_width_ = 0;  // ef_s
  uint64_t width_ = 0;        // closed at this one
  uint64_t returned_ = 0;     // nodes that have given a row
  uint64_t useless_ = 0;      // nodes that cannot
};

}  // namespace vecckpt
