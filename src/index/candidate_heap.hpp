// The two heaps of a merged search: waiting candidates by lower bound, and resolved rows by exact distance.
//
// Ties are broken by where a candidate comes from, so that the order of rows never depends on the order in
// which they were found.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "hnsw/lazy_heap.hpp"
#include "hnsw/types.hpp"

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
  uint64_t locator;  // the caller's
  uint32_t source;
  uint32_t node;  // whose first entry it is; kNoNode for its other entries and for the tail
};

// The place of a row in the order of rows: by distance, then by position.
struct RowKey {
  double distance;
  uint64_t sequence;
  uint64_t ordinal;
};

// True if `a` comes after `b`; NaN after everything.
inline bool DistanceAfter(double a, double b) {
  return std::isnan(b) ? false : std::isnan(a) || a > b;
}

inline bool After(const Candidate& a, const Candidate& b) {
  if (a.bound != b.bound) return a.bound > b.bound;
  return std::tie(a.source, a.node) > std::tie(b.source, b.node);
}

inline bool After(const RowKey& a, const RowKey& b) {
  if (DistanceAfter(a.distance, b.distance)) return true;
  if (DistanceAfter(b.distance, a.distance)) return false;
  return std::tie(a.sequence, a.ordinal) > std::tie(b.sequence, b.ordinal);
}

inline RowKey KeyOfRow(const ResolvedRow& row) {
  return {row.distance, row.sequence, row.ordinal};
}

inline bool After(const ResolvedRow& a, const ResolvedRow& b) {
  return After(KeyOfRow(a), KeyOfRow(b));
}

// A binary heap in a vector, the item that comes first on top.
template <typename Item>
class MergeHeap {
 public:
  bool empty() const { return items_.empty(); }
  const Item& top() const { return items_.front(); }
  // REQUIRES: the change does not alter the item's place in the order.
  Item& mutable_top() { return items_.front(); }
  size_t memory_bytes() const { return items_.size() * sizeof(Item); }

  void Push(const Item& item) {
    items_.push_back(item);
    std::push_heap(items_.begin(), items_.end(), Order());
  }
  void Pop() {
    std::pop_heap(items_.begin(), items_.end(), Order());
    items_.pop_back();
  }

  // Keeps the memory.
  void Clear() { items_.clear(); }

  size_t size() const { return items_.size(); }

  // Adds many: no other call but KeepFirst until Heapify.
  void Append(const Item& item) { items_.push_back(item); }
  // Lets go of all items but the `count` that come first, and of no fewer than one. The first of those that
  // go. REQUIRES: there are more.
  Item KeepFirst(size_t count) {
    const auto cut = items_.begin() + static_cast<std::ptrdiff_t>(count);
    std::nth_element(items_.begin(), cut, items_.end(),
                     [](const Item& a, const Item& b) { return After(b, a); });
    const Item first_gone = *cut;
    items_.resize(count);
    return first_gone;
  }
  void Heapify() { std::make_heap(items_.begin(), items_.end(), Order()); }
  // All items, in no order; the heap is empty then.
  std::vector<Item> TakeAll() { return std::exchange(items_, {}); }

 private:
  struct Order {
    bool operator()(const Item& a, const Item& b) const { return After(a, b); }
  };
  std::vector<Item> items_;
};

struct CandidateBefore {
  bool operator()(const Candidate& a, const Candidate& b) const { return After(b, a); }
};

// Waiting candidates, the one of the smallest bound on top. Most are never looked at again.
using WaitingCandidates = LazyHeap<Candidate, CandidateBefore>;

}  // namespace vecckpt
