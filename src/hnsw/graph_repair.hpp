// Makes every node of a built graph reachable and, where asked, findable; what cannot be is an orphan.
//
// Reachable: over level 0 from the entry point. A search starts level 0 there too, besides from where its
// descent lands, so nothing more is needed.
//
// Lists for inner product may be full, or filled up but for one place (graph_inserter.hpp). Where nodes stay
// unreached for lack of places, all lists lose their last quarter, and links are made anew.
//
// Findable: a search for the node's own code, as narrow as searches get, sees it. Reachable is not enough,
// because choosing neighbours prunes links until some nodes are linked to only from where a search for them
// does not come by. After an absorb the base's nodes are searched for too: an absorb of an eighth changes the
// lists of six nodes in seven, and among the others some get lost as well, since new nodes near them make
// searches close earlier. Links made here can do the same: what they touched is searched for again, or all if
// they are many. The few that this misses the next absorb finds.
//
// Thread safety: one thread calls the methods; MakeFindable starts and joins its own.

#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.hpp"
#include "hnsw/build_threads.hpp"
#include "hnsw/mutable_graph.hpp"

namespace vecckpt {

class GraphRepair {
 public:
  // `isolated`: nodes that stay orphans, without links to or from them. REQUIRES: lists are within their
  // limits and nobody else changes them.
  GraphRepair(MutableGraph* graph, std::vector<bool> isolated, const BuildThreads& threads,
              const std::atomic<bool>* cancel)
      : graph_(graph), threads_(threads), cancel_(cancel), isolated_(std::move(isolated)) {}

  // kCancelled.
  Status MakeReachable();
  // After MakeReachable; repeats it in the end. kCancelled.
  Status MakeFindable();

  // Ascending.
  const std::vector<uint32_t>& orphans() const { return orphans_; }
  // How many links were added.
  uint32_t added() const { return added_; }

 private:
  std::span<const uint32_t> Links(uint32_t node) const { return graph_->links0().Links(node); }
  bool HasFreeLink(uint32_t node) const { return graph_->links0().Count(node) < graph_->links0().limit(); }
  bool CancelSeen() const { return cancel_ != nullptr && cancel_->load(); }

  void Reach(uint32_t node);
  Status Close();
  Status ReachAll();
  void ShortenFilledLists();
  uint32_t NearestWithFreeLink(uint32_t node, std::span<const uint32_t> among, uint32_t best) const;
  bool LinkIn(uint32_t node);

  Status SearchAll(const std::vector<bool>& marks, size_t width, std::vector<uint32_t>* lost) const;
  Status LinkInLost(const std::vector<uint32_t>& lost, size_t width, std::vector<bool>* touched);
  Status Isolate(std::span<const uint32_t> lost);

  MutableGraph* graph_;
  BuildThreads threads_;
  const std::atomic<bool>* cancel_;
  std::vector<bool> isolated_;
  std::vector<bool> reached_;
  std::vector<uint32_t> pending_;  // reached, links not followed yet
  std::vector<uint32_t> orphans_;
  uint32_t added_ = 0;
};

}  // namespace vecckpt
