// Searches a graph that is being built, in hnswlib's memory, for the codes of its own nodes: what GraphStream
// will do in the finished graph with a node's vector as its query, step by step the same.
//
// Included by graph_builder.cpp only: hnswlib 0.6.2 defines functions that are not inline.
//
// Thread safety: a search belongs to one thread; several may run while no list changes.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

// hnswlib's own SIMD code is not used; without this its prefetches read past its lists.
#define NO_MANUAL_VECTORIZATION
#include <hnswlib/hnswlib.h>

#include "hnsw/codec.hpp"

namespace vecckpt {

using Hnsw = hnswlib::HierarchicalNSW<float>;

struct CodeTable {
  const Codec* codec;
  const std::byte* codes;
  size_t stride;

  const std::byte* CodeOf(uint32_t node) const { return codes + node * stride; }
  float Distance(uint32_t a, uint32_t b) const { return codec->CodeDistance(CodeOf(a), CodeOf(b)); }
};

inline uint32_t NodeAt(const Hnsw& hnsw, uint32_t slot) {
  uint32_t node;
  std::memcpy(&node, hnsw.getDataByInternalId(slot), sizeof(node));
  return node;
}

inline std::span<uint32_t> LinksOf(const Hnsw& hnsw, uint32_t slot, int level) {
  unsigned* list = hnsw.get_linklist_at_level(slot, level);
  return {list + 1, hnsw.getListCount(list)};
}

class OwnSearch {
 public:
  OwnSearch(Hnsw* hnsw, const CodeTable& table, size_t width)
      : hnsw_(hnsw), table_(table), width_(width), visited_(hnsw->visited_list_pool_->getFreeVisitedList()) {
    nearest_.reserve(width + 1);
  }
  ~OwnSearch() { hnsw_->visited_list_pool_->releaseVisitedList(visited_); }
  OwnSearch(const OwnSearch&) = delete;
  OwnSearch& operator=(const OwnSearch&) = delete;

  // Whether a search for the slot's own code, closed at `width`, sees the slot.
  bool Finds(uint32_t slot);
  // The slots whose level-0 lists the last search followed, the nearest first.
  const std::vector<uint32_t>& Followed();

 private:
  struct Seen {
    float distance;
    uint32_t node;
    uint32_t slot;
    bool followed;
  };
  static bool Nearer(const Seen& a, const Seen& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.node < b.node;
  }

  Seen Score(uint32_t slot) const {
    const uint32_t node = NodeAt(*hnsw_, slot);
    return {table_.Distance(own_node_, node), node, slot, false};
  }
  bool Visit(uint32_t slot) {
    if (visited_->mass[slot] == visited_->curV) return false;
    visited_->mass[slot] = visited_->curV;
    return true;
  }
  void See(const Seen& seen);
  Seen Descend(Seen nearest) const;
  void Follow(uint32_t slot);

  Hnsw* hnsw_;
  CodeTable table_;
  size_t width_;
  hnswlib::VisitedList* visited_;
  uint32_t own_node_ = kNoNode;
  std::vector<Seen> nearest_;   // the `width` nearest seen, in order
  std::vector<Seen> followed_;  // in the order of following
  std::vector<uint32_t> followed_slots_;
  std::vector<uint32_t> unseen_;  // those of the list that is being followed
};

inline void OwnSearch::See(const Seen& seen) {
  if (nearest_.size() == width_ && !Nearer(seen, nearest_.back())) return;
  nearest_.insert(std::upper_bound(nearest_.begin(), nearest_.end(), seen, Nearer), seen);
  if (nearest_.size() > width_) nearest_.pop_back();
}

inline OwnSearch::Seen OwnSearch::Descend(Seen nearest) const {
  uint32_t at = nearest.slot;
  for (int level = hnsw_->maxlevel_; level > 0; --level) {
    for (bool moved = true; moved;) {
      moved = false;
      for (const uint32_t link : LinksOf(*hnsw_, at, level)) {
        const Seen candidate = Score(link);
        if (!Nearer(candidate, nearest)) continue;
        nearest = candidate;
        moved = true;
      }
      at = nearest.slot;
    }
  }
  return nearest;
}

inline void OwnSearch::Follow(uint32_t slot) {
  unseen_.clear();
  for (const uint32_t link : LinksOf(*hnsw_, slot, 0)) {
    if (!Visit(link)) continue;
    __builtin_prefetch(hnsw_->getDataByInternalId(link));
    unseen_.push_back(link);
  }
  for (const uint32_t link : unseen_) __builtin_prefetch(table_.CodeOf(NodeAt(*hnsw_, link)));
  for (const uint32_t link : unseen_) See(Score(link));
}

// A stream is closed when all of the `width` nearest seen have been followed. What lies farther is never
// followed before that, so it need not be kept. Once the slot is seen nothing can change the answer.
inline bool OwnSearch::Finds(uint32_t slot) {
  visited_->reset();
  nearest_.clear();
  followed_.clear();
  own_node_ = NodeAt(*hnsw_, slot);
  const Seen entry = Score(hnsw_->enterpoint_node_);
  const Seen landing = Descend(entry);
  Visit(entry.slot);
  See(entry);
  if (Visit(landing.slot)) See(landing);
  while (visited_->mass[slot] != visited_->curV) {
    const auto next =
        std::find_if(nearest_.begin(), nearest_.end(), [](const Seen& seen) { return !seen.followed; });
    if (next == nearest_.end()) return false;
    next->followed = true;
    followed_.push_back(*next);
    Follow(next->slot);
  }
  return true;
}

inline const std::vector<uint32_t>& OwnSearch::Followed() {
  std::sort(followed_.begin(), followed_.end(), Nearer);
  followed_slots_.clear();
  for (const Seen& seen : followed_) followed_slots_.push_back(seen.slot);
  return followed_slots_;
}

}  // namespace vecckpt
