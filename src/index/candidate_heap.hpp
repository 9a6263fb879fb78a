// The two heaps of a merged search: waiting candidates by lower bound, and resolved rows by exact distance.
//
// Ties are broken by where a candidate comes from, so that the order of rows never depends on the order in
// which they were found.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

namespace vecckpt {

// A node some of whose ordinals have not been re-ranked.
struct Candidate {
  double bound;  // never NaN
  uint32_t source;
  uint32_t node;
  uint32_t next;  // index of the next ordinal
};

// An entry whose exact distance is known.
struct ResolvedRow {
  double distance;
  uint64_t ordinal;
  uint64_t sequence;
  uint32_t source;
  bool first;  // of its node's entries
};

// True if `a` comes after `b`; NaN after everything.
inline bool DistanceAfter(double a, double b) {
  return std::isnan(b) ? false : std::isnan(a) || a > b;
}

inline bool After(const Candidate& a, const Candidate& b) {
  if (a.bound != b.bound) return a.bound > b.bound;
  return std::tie(a.source, a.node) > std::tie(b.source, b.node);
}

inline bool After(const ResolvedRow& a, const ResolvedRow& b) {
  if (DistanceAfter(a.distance, b.distance)) return true;
  if (DistanceAfter(b.distance, a.distance)) return false;
  return std::tie(a.sequence, a.ordinal) > std::tie(b.sequence, b.ordinal);
}

// A binary heap in a vector, the item that comes first on top.
template <typename Item>
class MergeHeap {
 public:
  bool empty() const { return items_.empty(); }
  const Item& top() const { return items_.front(); }
  // REQUIRES: the change does not alter the item's place in the order.
  Item& mutable_top() { return items_.front(); }
  size_t memory_bytes() const { return items_.capacity() * sizeof(Item); }

  void Push(const Item& item) {
    items_.push_back(item);
    std::push_heap(items_.begin(), items_.end(), Order);
  }
  void Pop() {
    std::pop_heap(items_.begin(), items_.end(), Order);
    items_.pop_back();
  }

  // Adds many: no other call until Heapify.
  void Append(const Item& item) { items_.push_back(item); }
  void Heapify() { std::make_heap(items_.begin(), items_.end(), Order); }

 private:
  static bool Order(const Item& a, const Item& b) { return After(a, b); }
  std::vector<Item> items_;
};

// Waiting candidates, the one of the smallest bound on top. Most are never looked at again: only those below
// a limit are kept as a heap, the others unsorted, until the heap is used up and the limit is raised.
class WaitingCandidates {
 public:
  bool empty() const { return near_.empty() && far_.empty(); }
  size_t memory_bytes() const { return near_.memory_bytes() + far_.capacity() * sizeof(Candidate); }

  void Push(const Candidate& candidate) {
    if (candidate.bound < limit_) {
      near_.Push(candidate);
    } else {
      far_.push_back(candidate);
    }
  }
  // REQUIRES for all below: not empty.
  const Candidate& top() { return mutable_top(); }
  // REQUIRES: the change does not alter the candidate's place in the order.
  Candidate& mutable_top() {
    if (near_.empty()) RaiseLimit();
    return near_.mutable_top();
  }
  void Pop() {
    if (near_.empty()) RaiseLimit();
    near_.Pop();
  }

 private:
  static constexpr size_t kLeastRaised = 32;

  void RaiseLimit() {
    // A tenth, so that going on to the last costs no more than a sort.
    const size_t count = std::max(kLeastRaised, far_.size() / 10);
    auto end = far_.end();
    if (count < far_.size()) {
      end = far_.begin() + static_cast<std::ptrdiff_t>(count);
      std::nth_element(far_.begin(), end, far_.end(),
                       [](const Candidate& a, const Candidate& b) { return After(b, a); });
      limit_ = end->bound;
      // Those that share the limit's bound stay together, unless they are all there is.
      end = std::partition(far_.begin(), end, [this](const Candidate& c) { return c.bound < limit_; });
    }
    if (end == far_.begin() || end == far_.end()) {
      end = far_.end();
      limit_ = std::numeric_limits<double>::infinity();
    }
    for (auto candidate = far_.begin(); candidate != end; ++candidate) near_.Append(*candidate);
    near_.Heapify();
    far_.erase(far_.begin(), end);
  }

  MergeHeap<Candidate> near_;   // bounds below the limit, or all there were when it became infinite
  std::vector<Candidate> far_;  // the others
  double limit_ = -std::numeric_limits<double>::infinity();
};

}  // namespace vecckpt
