// Inserts nodes into a graph that several threads build.
//
// One insertion: descend to the node's level; on each level from there down walk with ef_construction and
// choose up to m neighbours; then, from level 0 up, give the node its list and link back to it from those in
// it. So whoever meets a node on a level finds it linked on all levels below.
//
// Choosing (Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using HNSW graphs,
// algorithm 4): candidates in order of distance, but none that is nearer to one already chosen than to
// the node. A list that a link back finds full, with half as many links again as it may have, is cut to its
// limit the same way. hnswlib cuts at every link back, which costs it most of its distances.
//
// Under inner product that would drop whatever a longer vector is nearer to, which leaves most lists nearly
// empty. There half of a list is chosen so, by distances that take norms into account (norm_penalty.hpp), and
// the rest is filled with those candidates that searches want most, the largest inner products: all but one
// place, which is for the repair. Candidates are then also the largest products that the walk came by, so
// that each list leads to the longest vectors, which nothing else does. Where norms are even, lists are not
// filled, but inner product still chooses up to 2m neighbours on level 0.
//
// Thread safety: an inserter belongs to one thread; several may work on one graph.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "hnsw/graph_walk.hpp"
#include "hnsw/mutable_graph.hpp"

namespace vecckpt {

class GraphInserter {
 public:
  GraphInserter(MutableGraph* graph, uint32_t ef_construction)
      : graph_(graph), walk_(*graph), ef_construction_(ef_construction) {}

  // REQUIRES: the graph has an entry point, no lower than the node unless no other thread inserts. A node
  // higher than the entry point becomes it.
  void Insert(uint32_t node);
  // Cuts the node's lists to their limits.
  void Trim(uint32_t node);

 private:
  // The place of the lists of one level.
  struct Place {
    LinkRows* rows;
    uint32_t level;
  };
  size_t RowOf(const Place& place, uint32_t id) const {
    return place.level == 0 ? id : graph_->UpperRow(id, place.level);
  }
  uint32_t NodeOf(const Place& place, uint32_t id) const {
    return place.level == 0 ? id : graph_->upper_nodes()[id];
  }
  Place PlaceOf(uint32_t level) const { return {level == 0 ? &graph_->links0() : &graph_->upper(), level}; }

  bool FillsLists() const { return graph_->table().penalties != nullptr; }
  void ChooseAtInsertion(const Place& place, uint32_t node, std::vector<uint32_t>* chosen);
  void Choose(const Place& place, uint32_t node, std::span<const Neighbour> candidates, uint32_t limit,
              std::vector<uint32_t>* chosen);
  void Fill(const Place& place, uint32_t node, std::span<const Neighbour> candidates, size_t size,
            std::vector<uint32_t>* chosen);
  void Link(const Place& place, uint32_t node, uint32_t id, std::span<const uint32_t> chosen);
  void LinkBack(const Place& place, uint32_t from, uint32_t to);
  void Cut(const Place& place, uint32_t id, std::span<const uint32_t> links);

  MutableGraph* graph_;
  GraphWalk walk_;
  uint32_t ef_construction_;
  std::vector<Neighbour> starts_;
  std::vector<std::vector<uint32_t>> lists_;  // the new node's, by level
  // Of Choose, Fill and Cut.
  std::vector<uint32_t> chosen_nodes_;
  std::vector<Neighbour> candidates_, filling_;
  std::vector<uint32_t> links_, nodes_, cut_;
  std::vector<float> distances_;
};

}  // namespace vecckpt
