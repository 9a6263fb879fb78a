// What one segment contributes to a merged search: a graph stream with its orphans, or a flat scan.
//
// A graph stream has to be closed at the width that the rows already returned from it ask for. Nodes that
// cannot become rows (entries found gone or dropped) widen it by one each, so that they do not count.
//
// Most nodes that are seen are never looked at again. So they wait by their distance, without a lower bound
// of their own, until HandOver gives the nearest of them to the search. `floor` is a bound of all that still
// wait. Nodes of a stream wait in the stream, those that were scored whole wait here.
//
// Thread safety: one thread at a time.

#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "base/status.hpp"
#include "hnsw/graph_search.hpp"
#include "index/candidate_heap.hpp"
#include "segment/liveness_bitmap.hpp"
#include "segment/segment.hpp"

namespace vecckpt {

class SegmentSource {
 public:
  // Begins a search of a segment, in the memory of the one before. `index`: what its candidates name as
  // source.
  void Restart(std::shared_ptr<const Segment> segment, std::shared_ptr<const LivenessBitmap> liveness,
               uint32_t index, const float* query);
  // Lets go of the segment, keeps the memory.
  void Clear();

  const Segment& segment() const { return *segment_; }
  // As far as is known.
  uint64_t live_entries() const {
    return liveness_ == nullptr ? segment_->entry_count() : liveness_->live_entries();
  }

  // Scores every node of a flat segment, or the orphans of a graph segment. kCorruption.
  Status ScoreWhole();

  // Gives the stream its width; `share` is the segment's share of all entries, in [0, 1].
  void SetShare(double share, uint32_t ef_search);
  // True if the stream is closed at the width it needs, or there is none.
  bool Closed() const;
  // True if all nodes that can be found have been seen.
  bool Exhausted() const { return !is_graph_ || stream_.exhausted(); }
  // From now on nothing waits, and the stream is closed.
  void GiveUp() { given_up_ = true; }
  // Advances until closed or `max_seen` nodes have been seen. What is nearer than what has been handed over
  // goes to `candidates` at once. kCorruption.
  Status Advance(uint64_t max_seen, WaitingCandidates* candidates);

  // No exact distance of a node that waits is below; infinite if none waits.
  double floor() const { return std::min(whole_floor_, stream_floor_); }
  bool waits() const { return !given_up_ && (!waiting_.empty() || (is_graph_ && stream_.has_more())); }
  // Gives the nearest of the nodes that wait to `candidates`, each with its own bound. Nodes without entries
  // are left out. REQUIRES: some wait.
  void HandOver(WaitingCandidates* candidates);

  void CountReturned() { ++returned_; }
  void CountUseless(uint32_t node) { useless_ += !is_graph_ || stream_.Counts(node); }

  uint64_t seen_count() const { return is_graph_ ? stream_.seen_count() : 0; }
  uint64_t distance_count() const { return scored_ + (is_graph_ ? stream_.distance_count() : 0); }
  // As of GraphStream.
  size_t memory_bytes() const;

 private:
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();

  uint64_t NeededWidth() const;
  void Score(uint32_t begin, const std::vector<uint32_t>& nodes);
  void PushCandidate(const SeenNode& node, WaitingCandidates* candidates) const;
  void HandOverScored(WaitingCandidates* candidates);
  void HandOverSeen(WaitingCandidates* candidates);
  void FindStreamFloor();

  std::shared_ptr<const Segment> segment_;
  std::shared_ptr<const LivenessBitmap> liveness_;
  std::unique_ptr<QueryScorer> scorer_;
  uint32_t index_ = 0;
  bool is_graph_ = false;
  bool given_up_ = false;
  size_t next_count_ = 0;  // how many HandOver gives

  GraphStream stream_;
  bool taken_ = false;  // from the stream, at least once
  double stream_floor_ = kInfinity;

  std::vector<SeenNode> waiting_;  // of what was scored whole
  bool handed_over_ = false;       // from it, at least once
  double whole_floor_ = kInfinity;
  CodeExtremes extremes_;  // of that
  uint64_t scored_ = 0;

  std::vector<SeenNode> taken_nodes_;  // scratch
  std::vector<float> distances_;       // scratch

  uint64_t first_width_ = 0;  // ef_s
  uint64_t width_ = 0;        // closed at this one
  uint64_t returned_ = 0;     // nodes that have given a row
  uint64_t useless_ = 0;      // nodes that count and cannot
};

}  // namespace vecckpt
