// Searches a graph that is being built for the surroundings of one of its codes: for insertion, and to find
// out whether a finished search would find the node (graph_repair.hpp).
//
// A walk closed at width W expands what GraphStream expands: the nearest unexpanded node, until that is
// farther than the W-th nearest seen. What lies farther is never expanded before that, so it is not kept.
//
// Thread safety: a walk belongs to one thread; several may run while others insert.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "hnsw/mutable_graph.hpp"
#include "hnsw/node_key.hpp"

namespace vecckpt {

// A node of a level, by the level's address (node or rank).
struct Neighbour {
  float distance;
  uint32_t id;
};

inline bool Nearer(const Neighbour& a, const Neighbour& b) {
  return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
}

class GraphWalk {
 public:
  explicit GraphWalk(const MutableGraph& graph)
      : graph_(graph),
        visited_(graph.node_count()),
        batch_(graph.upper().capacity() + graph.links0().capacity() + 1) {
    scores_.resize(batch_.size());
    nodes_.resize(batch_.size());
  }

  // Anonymous memory of one walk, without what grows with its width.
  static uint64_t MemoryNeeded(uint64_t node_count) { return node_count; }

  // The walks that follow start from this node's code.
  void SetQuery(uint32_t node) { query_ = node; }

  Neighbour Entry() const;
  // From `from`, a rank, down to `level` + 1, on each level to a rank that has no nearer neighbour.
  Neighbour Descend(Neighbour from, uint32_t level);
  // Walks a level from `starts`, closed at `width`. With `target`, it ends as soon as that is seen.
  template <typename Level>
  void Walk(const Level& level, std::span<const Neighbour> starts, size_t width, uint32_t target = kNoNode);

  // The `width` nearest seen by the last walk, in order.
  std::span<const Neighbour> nearest() const { return nearest_; }
  // Under inner product: the kMostOutstanding largest products that the last walk found in lists, by
  // CodeTable::ProductDistance, in no order.
  std::span<const Neighbour> outstanding() const { return outstanding_; }
  // What the last walk expanded, in that order.
  std::span<const Neighbour> expanded() const { return expanded_; }
  bool Saw(uint32_t id) const { return visited_[id] == round_; }

 private:
  static constexpr size_t kMostOutstanding = 8;

  bool Visit(uint32_t id) {
    const bool is_new = visited_[id] != round_;
    visited_[id] = round_;
    return is_new;
  }
  void See(uint32_t count);
  template <typename Level>
  void NoteOutstanding(const Level& level, uint32_t count);
  void Start(const Neighbour& start);
  template <typename Level>
  uint32_t UnseenLinks(const Level& level, uint32_t id);
  template <typename Level>
  void Score(const Level& level, uint32_t count);

  const MutableGraph& graph_;
  uint32_t query_ = kNoNode;
  HugeArray<uint8_t> visited_;
  uint8_t round_ = 0;
  size_t width_ = 0;
  size_t next_ = 0;            // all before it in keys_ are expanded
  std::vector<NodeKey> keys_;  // of the nearest, sorted
  std::vector<NodeKey> added_;
  std::vector<Neighbour> nearest_, expanded_;
  std::vector<Neighbour> outstanding_;   // a heap, the least on top
  std::vector<uint32_t> batch_, nodes_;  // unseen links of a list, and their nodes
  std::vector<float> scores_;
};

inline Neighbour GraphWalk::Entry() const {
  const uint32_t rank = graph_.entry_rank();
  return {graph_.table().Distance(query_, graph_.entry_node()), rank == kNoNode ? graph_.entry_node() : rank};
}

template <typename Level>
void GraphWalk::Score(const Level& level, uint32_t count) {
  std::span<const uint32_t> nodes(batch_.data(), count);
  if constexpr (!Level::kIdsAreNodes) {
    for (uint32_t i = 0; i < count; ++i) nodes_[i] = level.Node(batch_[i]);
    nodes = {nodes_.data(), count};
  }
  graph_.table().Distances(query_, nodes, scores_.data());
}

inline Neighbour GraphWalk::Descend(Neighbour from, uint32_t level) {
  for (uint32_t at = graph_.max_level(); at > level; --at) {
    const UpperLevel upper(graph_, at);
    for (bool moved = true; moved;) {
      moved = false;
      const size_t row = upper.Row(from.id);
      const uint32_t count = upper.rows().Count(row);
      for (uint32_t i = 0; i < count; ++i) batch_[i] = upper.rows().Link(row, i);
      Score(upper, count);
      for (uint32_t i = 0; i < count; ++i) {
        const Neighbour candidate{scores_[i], batch_[i]};
        if (!Nearer(candidate, from)) continue;
        from = candidate;
        moved = true;
      }
    }
  }
  return from;
}

// Takes in the first `count` of batch_ as far as they are among the nearest.
inline void GraphWalk::See(uint32_t count) {
  const NodeKey limit = keys_.size() == width_ ? keys_.back() : ~NodeKey{0};
  added_.clear();
  for (uint32_t i = 0; i < count; ++i) {
    const NodeKey key = KeyOf(batch_[i], scores_[i]);
    if (key < limit) added_.push_back(key);
  }
  if (added_.empty()) return;
  MergeKeys(&added_, &keys_, [this](size_t, size_t place) { next_ = std::min(next_, place); });
  if (keys_.size() > width_) keys_.resize(width_);
}

inline void GraphWalk::Start(const Neighbour& start) {
  batch_[0] = start.id;
  scores_[0] = start.distance;
  See(1);
}

template <typename Level>
uint32_t GraphWalk::UnseenLinks(const Level& level, uint32_t id) {
  const size_t row = level.Row(id);
  const uint32_t count = level.rows().Count(row);
  uint32_t unseen = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t link = level.rows().Link(row, i);
    batch_[unseen] = link;  // behind what counts unless it is unseen; there is no telling, so no branch
    unseen += Visit(link);
  }
  return unseen;
}

// Of the first `count` of batch_.
template <typename Level>
void GraphWalk::NoteOutstanding(const Level& level, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    const float distance = graph_.table().ProductDistance(scores_[i], query_, level.Node(batch_[i]));
    const Neighbour one{distance, batch_[i]};
    if (outstanding_.size() == kMostOutstanding) {
      if (!Nearer(one, outstanding_.front())) continue;
      std::pop_heap(outstanding_.begin(), outstanding_.end(), Nearer);
      outstanding_.pop_back();
    }
    outstanding_.push_back(one);
    std::push_heap(outstanding_.begin(), outstanding_.end(), Nearer);
  }
}

template <typename Level>
void GraphWalk::Walk(const Level& level, std::span<const Neighbour> starts, size_t width, uint32_t target) {
  if (++round_ == 0) {
    std::memset(visited_.data(), 0, visited_.size());
    round_ = 1;
  }
  width_ = width;
  next_ = 0;
  keys_.clear();
  expanded_.clear();
  nearest_.clear();
  outstanding_.clear();
  for (const Neighbour& start : starts) {
    if (Visit(start.id)) Start(start);
  }
  while (target == kNoNode || !Saw(target)) {
    while (next_ < keys_.size() && IsExpanded(keys_[next_])) ++next_;
    if (next_ == keys_.size()) break;
    const uint32_t id = NodeOf(keys_[next_]);
    expanded_.push_back({DistanceOf(keys_[next_]), id});
    keys_[next_] |= kExpandedBit;
    const uint32_t count = UnseenLinks(level, id);
    if (next_ + 1 < keys_.size()) level.rows().Fetch(level.Row(NodeOf(keys_[next_ + 1])));
    Score(level, count);
    if (graph_.table().penalties != nullptr) NoteOutstanding(level, count);
    See(count);
  }
  for (const NodeKey key : keys_) nearest_.push_back({DistanceOf(key), NodeOf(key)});
}

}  // namespace vecckpt
