// The set of nodes that a search has seen: a bit for every node of a small graph; else open addressing, whose
// cost follows what a search sees, not the graph's size.
//
// Thread safety: one thread at a time.

#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "hnsw/types.hpp"

namespace vecckpt {

class NodeSet {
 public:
  // Starts anew. Ids are below `node_count`; `expected` of them are likely to come, more are taken as well.
  void Reset(size_t node_count, size_t expected) {
    size_ = 0;
    slots_.clear();
    marks_.clear();
    if (node_count <= kMostMarked) {
      marks_.resize(node_count / 64 + 1);
    } else {
      slots_.resize(std::max(std::bit_ceil(2 * expected), kLeastSize), kNoNode);
    }
  }

  size_t size() const { return size_; }
  size_t memory_bytes() const { return slots_.size() * sizeof(uint32_t) + marks_.size() * sizeof(uint64_t); }

  // False if it was there. REQUIRES: node is not kNoNode; Reset came before.
  bool Insert(uint32_t node) {
    if (!marks_.empty()) {
      uint64_t& word = marks_[node / 64];
      const uint64_t bit = uint64_t{1} << (node % 64);
      const bool is_new = (word & bit) == 0;
      word |= bit;
      size_ += is_new;
      return is_new;
    }
    if (2 * size_ >= slots_.size()) Grow();
    uint32_t& slot = Find(node);
    const bool is_new = slot != node;
    slot = node;
    size_ += is_new;
    return is_new;
  }

 private:
  static constexpr size_t kMostMarked = size_t{1} << 17;  // 16 kB of marks
  static constexpr size_t kLeastSize = 64;                // a power of two, as every size

  uint32_t& Find(uint32_t node) {
    const size_t mask = slots_.size() - 1;
    // Fibonacci hashing: the upper half of the product is well mixed.
    size_t i = (node * 0x9E3779B97F4A7C15u >> 32) & mask;
    while (slots_[i] != kNoNode && slots_[i] != node) i = (i + 1) & mask;
    return slots_[i];
  }

  void Grow() {
    std::vector<uint32_t> old(2 * slots_.size(), kNoNode);
    old.swap(slots_);
    for (const uint32_t node : old) {
      if (node != kNoNode) Find(node) = node;
    }
  }

  std::vector<uint32_t> slots_;
  std::vector<uint64_t> marks_;
  size_t size_ = 0;
};

}  // namespace vecckpt
