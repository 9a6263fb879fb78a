// A priority queue of which only the first few items are likely to be taken: those that come before a limit
// are kept as a heap, the others unsorted, until the heap is used up and the limit is raised. Adding an item
// that is never taken costs one comparison.
//
// Invariant: no item of the heap comes after the limit, no other item before it.

#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace vecckpt {

// `Before` is a function object, a strict weak order.
template <typename Item, typename Before>
class LazyHeap {
 public:
  bool empty() const { return near_.empty() && far_.empty(); }
  size_t size() const { return near_.size() + far_.size(); }
  size_t memory_bytes() const { return size() * sizeof(Item); }

  void Push(const Item& item) {
    if (has_limit_ && Before()(item, limit_)) {
      near_.push_back(item);
      std::push_heap(near_.begin(), near_.end(), After());
    } else {
      far_.push_back(item);
    }
  }

  // REQUIRES for the next three: not empty.
  const Item& top() { return mutable_top(); }
  // REQUIRES: the change does not alter the item's place in the order.
  Item& mutable_top() {
    if (near_.empty()) RaiseLimit();
    return near_.front();
  }
  // The items that may follow the top one, if `i` is 1 or 2; null where there is none. REQUIRES: top() was
  // called.
  const Item* Follower(size_t i) const { return i < near_.size() ? &near_[i] : nullptr; }
  Item Pop() {
    if (near_.empty()) RaiseLimit();
    std::pop_heap(near_.begin(), near_.end(), After());
    const Item item = near_.back();
    near_.pop_back();
    return item;
  }

  // Keeps the memory.
  void Clear() {
    near_.clear();
    far_.clear();
    has_limit_ = false;
  }

 private:
  static constexpr size_t kLeastRaised = 32;

  // Not a function: calls through pointers would not be inlined.
  struct After {
    bool operator()(const Item& a, const Item& b) const { return Before()(b, a); }
  };

  void RaiseLimit() {
    // A tenth, so that going on to the last costs no more than a sort. The first come to the end of `far_`.
    const size_t count = std::min(far_.size(), std::max(kLeastRaised, far_.size() / 10));
    const auto begin = far_.end() - static_cast<std::ptrdiff_t>(count);
    std::nth_element(far_.begin(), begin, far_.end(), After());
    limit_ = *begin;
    has_limit_ = true;
    near_.assign(begin, far_.end());
    std::make_heap(near_.begin(), near_.end(), After());
    far_.erase(begin, far_.end());
  }

  std::vector<Item> near_;  // a heap
  std::vector<Item> far_;
  Item limit_{};
  bool has_limit_ = false;
};

}  // namespace vecckpt
