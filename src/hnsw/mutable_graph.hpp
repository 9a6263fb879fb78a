// A graph while it is built or repaired: lists that several threads read and write.
//
// Level 0 is addressed by node, the levels above by rank, as in GraphView: every node's level is known from
// the start, so that all lists have their place before the first insertion. A list is a row of one count and
// room for half as many links again as it may have in the end, whole cache lines: lists grow over their
// limit for a while and are cut back once for many new links (graph_inserter.hpp).
//
// Thread safety: readers take no lock. A row's words are read and written as atomics; a count covers only
// links that are written, and whatever a reader sees is some link that the list had. Writers of a row hold
// its Lock. Everything else is set up by one thread before others start.

#pragma once

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "hnsw/codec.hpp"
#include "hnsw/huge_array.hpp"
#include "hnsw/types.hpp"

namespace vecckpt {

// The codes of a graph's nodes and how they are compared.
struct CodeTable {
  const Codec* codec;
  const std::byte* codes;
  const float* penalties = nullptr;  // under inner product, of each node (norm_penalty.hpp)

  const std::byte* CodeOf(uint32_t node) const { return codes + node * codec->stride(); }
  float Distance(uint32_t a, uint32_t b) const {
    const float distance = codec->CodeDistance(CodeOf(a), CodeOf(b));
    return penalties == nullptr ? distance : distance + (penalties[a] + penalties[b]);
  }
  // out[i] = Distance(node, others[i]).
  void Distances(uint32_t node, std::span<const uint32_t> others, float* out) const {
    codec->CodeDistancesOf(CodeOf(node), codes, others, out);
    if (penalties == nullptr) return;
    for (size_t i = 0; i < others.size(); ++i) out[i] += penalties[node] + penalties[others[i]];
  }
  // Whether one of those is nearer to the node than `distance`.
  bool AnyCloserThan(float distance, uint32_t node, std::span<const uint32_t> others) const {
    if (penalties == nullptr) return codec->AnyCloserThan(distance, CodeOf(node), codes, others);
    return std::any_of(others.begin(), others.end(),
                       [&](uint32_t other) { return Distance(node, other) < distance; });
  }
  // What a search will compare, from what Distance gave. REQUIRES: penalties.
  float ProductDistance(float distance, uint32_t a, uint32_t b) const {
    return distance - (penalties[a] + penalties[b]);
  }
};

// The lists of one level, or of all levels above 0.
class LinkRows {
 public:
  LinkRows() = default;
  // `limit`: how many links a list has in the end.
  LinkRows(size_t rows, uint32_t limit)
      : limit_(limit), words_((1 + limit + limit / 2 + 15) / 16 * 16), data_(rows * words_) {}

  // A row's words for one list of `limit` links.
  static uint64_t BytesPerRow(uint32_t limit) { return (1 + uint64_t{limit} + limit / 2 + 15) / 16 * 64; }

  uint32_t limit() const { return limit_; }
  uint32_t capacity() const { return words_ - 1; }

  uint32_t Count(size_t row) const {
    return std::atomic_ref(WordsOf(row)[0]).load(std::memory_order_acquire);
  }
  uint32_t Link(size_t row, uint32_t i) const {
    return std::atomic_ref(WordsOf(row)[1 + i]).load(std::memory_order_relaxed);
  }
  void Fetch(size_t row) const {
    const uint32_t* words = WordsOf(row);
    for (uint32_t i = 0; i < words_; i += 16) __builtin_prefetch(words + i);
  }
  // REQUIRES: no other thread writes.
  std::span<const uint32_t> Links(size_t row) const { return {WordsOf(row) + 1, Count(row)}; }

  // REQUIRES for all below: the row is locked, or no other thread is there.
  void Append(size_t row, uint32_t link) {
    const uint32_t count = WordsOf(row)[0];
    Store(row, 1 + count, link);
    std::atomic_ref(WordsOf(row)[0]).store(count + 1, std::memory_order_release);
  }
  void Assign(size_t row, std::span<const uint32_t> links) {
    for (uint32_t i = 0; i < links.size(); ++i) Store(row, 1 + i, links[i]);
    std::atomic_ref(WordsOf(row)[0]).store(static_cast<uint32_t>(links.size()), std::memory_order_release);
  }

 private:
  uint32_t* WordsOf(size_t row) const { return const_cast<uint32_t*>(data_.data()) + row * words_; }
  void Store(size_t row, uint32_t word, uint32_t value) {
    std::atomic_ref(WordsOf(row)[word]).store(value, std::memory_order_relaxed);
  }

  uint32_t limit_ = 0;
  uint32_t words_ = 1;
  HugeArray<uint32_t> data_;
};

class MutableGraph {
 public:
  // `levels`: of every node.
  MutableGraph(const CodeTable& table, std::span<const uint8_t> levels, uint32_t m)
      : table_(table), m_(m), upper_offsets_(1, 0) {
    for (uint32_t node = 0; node < levels.size(); ++node) {
      if (levels[node] == 0) continue;
      upper_nodes_.push_back(node);
      upper_offsets_.push_back(upper_offsets_.back() + levels[node]);
    }
    links0_ = LinkRows(levels.size(), 2 * m);
    upper_ = LinkRows(upper_offsets_.back(), m);
    locks_ = HugeArray<uint8_t>(levels.size());
  }

  const CodeTable& table() const { return table_; }
  uint32_t node_count() const { return static_cast<uint32_t>(locks_.size()); }
  uint32_t m() const { return m_; }

  // Ranks, ascending by node.
  std::span<const uint32_t> upper_nodes() const { return upper_nodes_; }
  std::span<const uint32_t> upper_offsets() const { return upper_offsets_; }
  // kNoNode if the node has level 0 only.
  uint32_t RankOf(uint32_t node) const {
    const auto at = std::lower_bound(upper_nodes_.begin(), upper_nodes_.end(), node);
    return at != upper_nodes_.end() && *at == node ? static_cast<uint32_t>(at - upper_nodes_.begin())
                                                   : kNoNode;
  }
  uint32_t LevelOfRank(uint32_t rank) const { return upper_offsets_[rank + 1] - upper_offsets_[rank]; }

  LinkRows& links0() { return links0_; }
  const LinkRows& links0() const { return links0_; }
  LinkRows& upper() { return upper_; }
  const LinkRows& upper() const { return upper_; }
  // REQUIRES: 1 <= level <= LevelOfRank(rank).
  size_t UpperRow(uint32_t rank, uint32_t level) const { return upper_offsets_[rank] + level - 1; }

  // The entry point. REQUIRES of the setter: no other thread is there.
  uint32_t entry_node() const { return entry_node_; }
  uint32_t entry_rank() const { return entry_rank_; }
  uint32_t max_level() const { return entry_rank_ == kNoNode ? 0 : LevelOfRank(entry_rank_); }
  void SetEntry(uint32_t node, uint32_t rank) {
    entry_node_ = node;
    entry_rank_ = rank;
  }

  // Locks all rows of a node.
  class Lock {
   public:
    Lock(MutableGraph* graph, uint32_t node) : flag_(graph->locks_[node]) {
      for (int spins = 0; flag_.exchange(1, std::memory_order_acquire) != 0; ++spins) {
        if (spins >= kSpins) sched_yield();
      }
    }
    ~Lock() { flag_.store(0, std::memory_order_release); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    static constexpr int kSpins = 100;
    std::atomic_ref<uint8_t> flag_;
  };

 private:
  CodeTable table_;
  uint32_t m_;
  std::vector<uint32_t> upper_nodes_;
  std::vector<uint32_t> upper_offsets_;
  LinkRows links0_;
  LinkRows upper_;
  HugeArray<uint8_t> locks_;
  uint32_t entry_node_ = kNoNode;
  uint32_t entry_rank_ = kNoNode;
};

// Levels as one address space each, so that one search serves all.
class Level0 {
 public:
  explicit Level0(const MutableGraph& graph) : graph_(&graph) {}
  const LinkRows& rows() const { return graph_->links0(); }
  size_t Row(uint32_t node) const { return node; }
  uint32_t Node(uint32_t node) const { return node; }
  static constexpr bool kIdsAreNodes = true;

 private:
  const MutableGraph* graph_;
};

class UpperLevel {
 public:
  UpperLevel(const MutableGraph& graph, uint32_t level) : graph_(&graph), level_(level) {}
  const LinkRows& rows() const { return graph_->upper(); }
  size_t Row(uint32_t rank) const { return graph_->UpperRow(rank, level_); }
  uint32_t Node(uint32_t rank) const { return graph_->upper_nodes()[rank]; }
  static constexpr bool kIdsAreNodes = false;

 private:
  const MutableGraph* graph_;
  uint32_t level_;
};

}  // namespace vecckpt
