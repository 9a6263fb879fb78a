// The nodes that a search has seen, each added once, in the order of their distances as far as anybody looks.
//
// Nodes lie in `near_`, sorted, or in `rest_`, nearly unsorted; every node of `near_` is nearer than every
// node of `rest_`. A prefix of near_, up to *boundary*, ends with the width-th nearest node that counts: only
// that may be expanded. Another prefix has been taken by whoever searches. What lies behind both goes to
// rest_. Most nodes that are seen go there at once and are never looked at again.
//
// Thread safety: one thread at a time.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "hnsw/lazy_heap.hpp"
#include "hnsw/node_key.hpp"
#include "hnsw/types.hpp"

namespace vecckpt {

struct SeenNode {
  uint32_t node;
  float distance;  // of QueryScorer::Distance
};

class SeenNodes {
 public:
  size_t size() const { return near_.size() + rest_.size(); }
  size_t memory_bytes() const { return size() * sizeof(NodeKey); }
  size_t width() const { return width_; }
  size_t expanded_count() const { return expanded_; }

  // Keeps the memory.
  void Clear() {
    near_.clear();
    rest_.Clear();
    width_ = boundary_ = counted_ = next_ = taken_ = expanded_ = 0;
  }

  // `counts(node)`: whether a node counts towards a width; the same function each time.
  // REQUIRES: `width` is not smaller than before.
  template <typename Counts>
  void Widen(size_t width, const Counts& counts) {
    width_ = width;
    while (counted_ < width_) {
      if (boundary_ == near_.size() && !PullNearest()) return;
      counted_ += counts(NodeOf(near_[boundary_++]));
    }
  }

  // Nodes that are farther cannot be expanded at this width.
  float limit() const {
    const bool full = counted_ == width_ && !near_.empty();
    return full ? DistanceOf(near_.back()) : std::numeric_limits<float>::infinity();
  }

  // Adds `count` nodes of one list. Those nearer than what has been taken go to `taken`.
  template <typename Counts>
  void Add(const uint32_t* nodes, const float* distances, size_t count, const Counts& counts,
           std::vector<SeenNode>* taken) {
    const NodeKey limit = counted_ == width_ && !near_.empty() ? near_.back() : ~NodeKey{0};
    added_.clear();
    for (size_t i = 0; i < count; ++i) {
      const NodeKey key = KeyOf(nodes[i], distances[i]);
      if (key > limit) {
        rest_.Push(key);
      } else {
        added_.push_back(key);
      }
    }
    if (!added_.empty()) Merge(counts, taken);
  }

  // The nearest node that has not been expanded and may be; kNoNode if there is none.
  uint32_t Next() {
    while (next_ < boundary_ && IsExpanded(near_[next_])) ++next_;
    return next_ < boundary_ ? NodeOf(near_[next_]) : kNoNode;
  }
  // REQUIRES: Next gave a node.
  void MarkNextExpanded() {
    near_[next_] |= kExpandedBit;
    ++next_;
    ++expanded_;
  }

  // Gives out the next `count` nodes in order, or as many as there are.
  void TakeNext(size_t count, std::vector<SeenNode>* out) {
    for (; count > 0; --count) {
      if (taken_ == near_.size() && !PullNearest()) return;
      out->push_back(SeenOf(near_[taken_++]));
    }
  }
  bool HasMore() const { return taken_ < size(); }
  // No node that has not been taken is nearer. REQUIRES: HasMore().
  float DistanceOfMore() const { return DistanceOf(near_[std::min(taken_, near_.size() - 1)]); }

 private:
  static SeenNode SeenOf(NodeKey key) { return {NodeOf(key), DistanceOf(key)}; }

  // Moves the nearest of rest_ to the end of near_.
  bool PullNearest() {
    if (rest_.empty()) return false;
    near_.push_back(rest_.Pop());
    return true;
  }

  template <typename Counts>
  void Merge(const Counts& counts, std::vector<SeenNode>* taken) {
    // How many lie before the boundary, were taken before, and count; everything is within the boundary while
    // fewer than `width` count.
    size_t inside = 0, first = 0, counted = 0;
    size_t lowest = near_.size();
    MergeKeys(&added_, &near_, [&](size_t i, size_t place) {
      lowest = place;
      if (counted_ < width_ || place < boundary_) {
        ++inside;
        counted += counts(NodeOf(added_[i]));
      }
      if (place < taken_) {
        ++first;
        taken->push_back(SeenOf(added_[i]));
      }
    });
    next_ = std::min(next_, lowest);
    taken_ += first;
    boundary_ += inside;
    counted_ += counted;
    Shrink(counts);
  }

  // The boundary goes back to the width-th node that counts; what lies behind it and was not taken, to rest_.
  template <typename Counts>
  void Shrink(const Counts& counts) {
    while (counted_ > width_ ||
           (counted_ == width_ && boundary_ > 0 && !counts(NodeOf(near_[boundary_ - 1])))) {
      --boundary_;
      counted_ -= counts(NodeOf(near_[boundary_]));
    }
    next_ = std::min(next_, boundary_);
    const size_t kept = std::max(boundary_, taken_);
    for (size_t i = kept; i < near_.size(); ++i) rest_.Push(near_[i]);
    near_.resize(kept);
  }

  std::vector<NodeKey> near_;
  LazyHeap<NodeKey, std::less<NodeKey>> rest_;
  std::vector<NodeKey> added_;  // scratch
  size_t width_ = 0;
  size_t boundary_ = 0;
  size_t counted_ = 0;  // nodes before the boundary that count
  size_t next_ = 0;     // all before it are expanded
  size_t taken_ = 0;
  size_t expanded_ = 0;
};

}  // namespace vecckpt
