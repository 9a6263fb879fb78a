// The nodes that a search has seen, in the order of their distances as far as anybody looks.
//
// Nodes lie in `near_`, sorted, or in `rest_`, nearly unsorted; every node of `near_` is nearer than every
// node of `rest_`. A prefix of near_, up to *boundary*, ends with the width-th nearest node that counts: only
// that may be expanded. Another prefix has been taken by whoever searches. What lies behind both goes to
// rest_. Most nodes that are seen go there at once and are never looked at again.
//
// A node is a 64-bit key: its distance, as bits that compare like the numbers, its id, and in the lowest bit
// whether it has been expanded. Ties are broken by the id, so that the order never depends on the order of
// arrival.
//
// Thread safety: one thread at a time.

#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "hnsw/lazy_heap.hpp"
#include "hnsw/types.hpp"

namespace vecckpt {

struct SeenNode {
  uint32_t node;
  float distance;  // of QueryScorer::Distance
};

class SeenNodes {
 public:
  // REQUIRES of ids: below 2^31, each added once.
  static constexpr uint32_t kMostNodes = uint32_t{1} << 31;

  size_t size() const { return near_.size() + rest_.size(); }
  size_t memory_bytes() const { return size() * sizeof(uint64_t); }
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
    const uint64_t limit = counted_ == width_ && !near_.empty() ? near_.back() : ~uint64_t{0};
    added_.clear();
    for (size_t i = 0; i < count; ++i) {
      const uint64_t key = KeyOf(nodes[i], distances[i]);
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
    near_[next_] |= kExpanded;
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
  static constexpr uint64_t kExpanded = 1;

  static uint64_t KeyOf(uint32_t node, float distance) {
    const uint32_t bits = std::bit_cast<uint32_t>(distance + 0.0f);  // no negative zero
    const uint32_t ordered = bits ^ (bits >> 31 != 0 ? 0xFFFFFFFFu : 0x80000000u);
    return uint64_t{ordered} << 32 | uint64_t{node} << 1;
  }
  static uint32_t NodeOf(uint64_t key) { return static_cast<uint32_t>(key) >> 1; }
  static float DistanceOf(uint64_t key) {
    const uint32_t ordered = static_cast<uint32_t>(key >> 32);
    return std::bit_cast<float>(ordered ^ (ordered >> 31 != 0 ? 0x80000000u : 0xFFFFFFFFu));
  }
  static SeenNode SeenOf(uint64_t key) { return {NodeOf(key), DistanceOf(key)}; }
  static bool IsExpanded(uint64_t key) { return (key & kExpanded) != 0; }

  // Moves the nearest of rest_ to the end of near_.
  bool PullNearest() {
    if (rest_.empty()) return false;
    near_.push_back(rest_.Pop());
    return true;
  }

  // How many of the first `count` of near_ come before `key`; without branches that nobody can foretell.
  size_t PlaceOf(uint64_t key, size_t count) const {
    const uint64_t* first = near_.data();
    size_t place = 0;
    for (size_t length = count; length > 0;) {
      const size_t half = length / 2;
      place += first[place + half] < key ? length - half : 0;
      length = half;
    }
    return place;
  }

  // Sorts added_ into near_: from the back, each moving what lies between it and the one before.
  template <typename Counts>
  void Merge(const Counts& counts, std::vector<SeenNode>* taken) {
    std::sort(added_.begin(), added_.end());
    size_t end = near_.size();
    near_.resize(end + added_.size());
    size_t inside = 0, first_taken = 0;  // of added_: how many lie before the boundary, and were taken
    for (size_t i = added_.size(); i-- > 0;) {
      const auto begin = near_.begin();
      const size_t place = PlaceOf(added_[i], end);
      std::copy_backward(begin + static_cast<std::ptrdiff_t>(place), begin + static_cast<std::ptrdiff_t>(end),
                         begin + static_cast<std::ptrdiff_t>(end + i + 1));
      near_[place + i] = added_[i];
      end = place;
      // While fewer than `width` count, everything is within the boundary.
      if (counted_ < width_ || place < boundary_) {
        ++inside;
        counted_in_merge_ += counts(NodeOf(added_[i]));
      }
      if (place < taken_) {
        ++first_taken;
        taken->push_back(SeenOf(added_[i]));
      }
    }
    next_ = std::min(next_, end);
    taken_ += first_taken;
    boundary_ += inside;
    counted_ += counted_in_merge_;
    counted_in_merge_ = 0;
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

  std::vector<uint64_t> near_;
  LazyHeap<uint64_t, std::less<uint64_t>> rest_;
  std::vector<uint64_t> added_;  // scratch
  size_t width_ = 0;
  size_t boundary_ = 0;
  size_t counted_ = 0;           // nodes before the boundary that count
  size_t counted_in_merge_ = 0;  // scratch
  size_t next_ = 0;              // all before it are expanded
  size_t taken_ = 0;
  size_t expanded_ = 0;
};

}  // namespace vecckpt
