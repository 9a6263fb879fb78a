// The set of nodes that a search has seen: a bit for every node of a small graph; else open addressing, whose
// cost follows what a search sees, not the graph's size.
//
// Thread safety: one thread at a time.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/open_set.hpp"
#include "hnsw/types.hpp"

namespace vecckpt {

class NodeSet {
 public:
  // Starts anew. Ids are below `node_count`; `expected` of them are likely to come, more are taken as well.
  void Reset(size_t node_count, size_t expected) {
    marked_ = 0;
    marks_.clear();
    if (node_count <= kMostMarked) {
      set_.Clear();
      marks_.resize(node_count / 64 + 1);
    } else {
      set_.Reset(expected);
    }
  }

  size_t size() const { return marks_.empty() ? set_.size() : marked_; }
  size_t memory_bytes() const { return set_.memory_bytes() + marks_.size() * sizeof(uint64_t); }

  // False if it was there. REQUIRES: node is not kNoNode; Reset came before.
  bool Insert(uint32_t node) {
    if (marks_.empty()) return set_.Insert(node);
    uint64_t& word = marks_[node / 64];
    const uint64_t bit = uint64_t{1} << (node % 64);
    const bool is_new = (word & bit) == 0;
    word |= bit;
    marked_ += is_new;
    return is_new;
  }

 private:
  static constexpr size_t kMostMarked = size_t{1} << 17;  // 16 kB of marks

  OpenSet<uint32_t, kNoNode> set_;
  std::vector<uint64_t> marks_;
  size_t marked_ = 0;
};

}  // namespace vecckpt
