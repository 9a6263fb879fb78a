// A set of unsigned integers by open addressing, in one array.
//
// kNone is a value that is never in the set. Thread safety: one thread at a time.

#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace vecckpt {

template <typename Value, Value kNone>
class OpenSet {
 public:
  // Makes the set empty, with room for `expected` values. More are taken as well.
  void Reset(size_t expected) {
    size_ = 0;
    slots_.clear();
    slots_.resize(std::max(std::bit_ceil(2 * expected), kLeastSize), kNone);
  }
  // Makes the set empty and gives its room up: Reset comes before the next Insert.
  void Clear() {
    size_ = 0;
    slots_.clear();
  }

  size_t size() const { return size_; }
  size_t memory_bytes() const { return slots_.size() * sizeof(Value); }

  // False if it was there. REQUIRES: value is not kNone; Reset came before.
  bool Insert(Value value) {
    if (2 * size_ >= slots_.size()) Grow();
    Value& slot = slots_[PlaceOf(value)];
    const bool is_new = slot != value;
    slot = value;
    size_ += is_new;
    return is_new;
  }

  bool Has(Value value) const { return !slots_.empty() && slots_[PlaceOf(value)] == value; }

 private:
  static constexpr size_t kLeastSize = 64;  // a power of two, as every size

  // Where the value is, or would be.
  size_t PlaceOf(Value value) const {
    const size_t mask = slots_.size() - 1;
    // Fibonacci hashing: the upper half of the product is well mixed.
    size_t i = (value * 0x9E3779B97F4A7C15u >> 32) & mask;
    while (slots_[i] != kNone && slots_[i] != value) i = (i + 1) & mask;
    return i;
  }

  void Grow() {
    std::vector<Value> old(2 * slots_.size(), kNone);
    old.swap(slots_);
    for (const Value value : old) {
      if (value != kNone) slots_[PlaceOf(value)] = value;
    }
  }

  std::vector<Value> slots_;
  size_t size_ = 0;
};

}  // namespace vecckpt
