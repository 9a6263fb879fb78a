// See graph_inserter.hpp.

#include "hnsw/graph_inserter.hpp"

#include <algorithm>

namespace vecckpt {

// What the last walk found for the node that is being inserted.
void GraphInserter::ChooseAtInsertion(const Place& place, uint32_t node, std::vector<uint32_t>* chosen) {
  if (!FillsLists()) {
    const bool is_product = graph_->table().codec->metric() == Metric::kInnerProduct;
    return Choose(place, node, walk_.nearest(), is_product ? place.rows->limit() : graph_->m(), chosen);
  }
  candidates_.assign(walk_.nearest().begin(), walk_.nearest().end());
  for (const Neighbour& one : walk_.outstanding()) {
    const auto is_one = [&](const Neighbour& other) { return other.id == one.id; };
    if (std::any_of(walk_.nearest().begin(), walk_.nearest().end(), is_one)) continue;
    candidates_.push_back({graph_->table().Distance(node, NodeOf(place, one.id)), one.id});
  }
  std::sort(candidates_.begin(), candidates_.end(), Nearer);
  Choose(place, node, candidates_, place.rows->limit(), chosen);
}

// `candidates` in order.
void GraphInserter::Choose(const Place& place, uint32_t node, std::span<const Neighbour> candidates,
                           uint32_t limit, std::vector<uint32_t>* chosen) {
  const uint32_t most = FillsLists() ? limit / 2 : limit;
  chosen->clear();
  chosen_nodes_.clear();
  for (const Neighbour& candidate : candidates) {
    if (chosen->size() == most) break;
    const uint32_t other = NodeOf(place, candidate.id);
    if (graph_->table().AnyCloserThan(candidate.distance, other, chosen_nodes_)) continue;
    chosen->push_back(candidate.id);
    chosen_nodes_.push_back(other);
  }
  if (FillsLists()) Fill(place, node, candidates, limit - 1, chosen);
}

// Adds the largest inner products of the other candidates. REQUIRES: `chosen` is in the order of
// `candidates`.
void GraphInserter::Fill(const Place& place, uint32_t node, std::span<const Neighbour> candidates,
                         size_t size, std::vector<uint32_t>* chosen) {
  filling_.clear();
  size_t next_chosen = 0;
  for (const Neighbour& candidate : candidates) {
    if (next_chosen < chosen->size() && (*chosen)[next_chosen] == candidate.id) {
      ++next_chosen;
      continue;
    }
    const uint32_t other = NodeOf(place, candidate.id);
    filling_.push_back({graph_->table().ProductDistance(candidate.distance, node, other), candidate.id});
  }
  std::sort(filling_.begin(), filling_.end(), Nearer);
  for (const Neighbour& one : filling_) {
    if (chosen->size() >= size) break;
    chosen->push_back(one.id);
  }
}

// REQUIRES: the row is locked. Gives it what Choose leaves of `links`.
void GraphInserter::Cut(const Place& place, uint32_t id, std::span<const uint32_t> links) {
  nodes_.clear();
  for (const uint32_t link : links) nodes_.push_back(NodeOf(place, link));
  distances_.resize(links.size());
  graph_->table().Distances(NodeOf(place, id), nodes_, distances_.data());
  candidates_.clear();
  for (size_t i = 0; i < links.size(); ++i) candidates_.push_back({distances_[i], links[i]});
  std::sort(candidates_.begin(), candidates_.end(), Nearer);
  Choose(place, NodeOf(place, id), candidates_, place.rows->limit(), &cut_);
  place.rows->Assign(RowOf(place, id), cut_);
}

void GraphInserter::LinkBack(const Place& place, uint32_t from, uint32_t to) {
  const size_t row = RowOf(place, from);
  const MutableGraph::Lock lock(graph_, NodeOf(place, from));
  const std::span<const uint32_t> links = place.rows->Links(row);
  // Two nodes that are being inserted may find each other.
  if (std::find(links.begin(), links.end(), to) != links.end()) return;
  if (links.size() < place.rows->capacity()) return place.rows->Append(row, to);
  links_.assign(links.begin(), links.end());
  links_.push_back(to);
  Cut(place, from, links_);
}

void GraphInserter::Insert(uint32_t node) {
  const uint32_t rank = graph_->RankOf(node);
  const uint32_t level = rank == kNoNode ? 0 : graph_->LevelOfRank(rank);
  const uint32_t top = graph_->max_level();
  walk_.SetQuery(node);
  lists_.resize(std::max<size_t>(lists_.size(), level + 1));
  starts_.assign(1, walk_.Descend(walk_.Entry(), level));
  for (uint32_t at = std::min(level, top); at > 0; --at) {
    walk_.Walk(UpperLevel(*graph_, at), starts_, ef_construction_);
    ChooseAtInsertion(PlaceOf(at), node, &lists_[at]);
    starts_.assign(walk_.nearest().begin(), walk_.nearest().end());
  }
  if (graph_->entry_rank() != kNoNode) {
    for (Neighbour& one : starts_) one.id = graph_->upper_nodes()[one.id];
  }
  walk_.Walk(Level0(*graph_), starts_, ef_construction_);
  ChooseAtInsertion(PlaceOf(0), node, &lists_[0]);
  for (uint32_t at = 0; at <= std::min(level, top); ++at) {
    const Place place = PlaceOf(at);
    const uint32_t id = at == 0 ? node : rank;
    {
      const MutableGraph::Lock lock(graph_, node);
      place.rows->Assign(RowOf(place, id), lists_[at]);
    }
    for (const uint32_t neighbour : lists_[at]) LinkBack(place, neighbour, id);
  }
  if (level > top) graph_->SetEntry(node, rank);
}

void GraphInserter::Trim(uint32_t node) {
  const uint32_t rank = graph_->RankOf(node);
  const uint32_t level = rank == kNoNode ? 0 : graph_->LevelOfRank(rank);
  for (uint32_t at = 0; at <= level; ++at) {
    const Place place = PlaceOf(at);
    const uint32_t id = at == 0 ? node : rank;
    const std::span<const uint32_t> links = place.rows->Links(RowOf(place, id));
    if (links.size() <= place.rows->limit()) continue;
    links_.assign(links.begin(), links.end());
    Cut(place, id, links_);
  }
}

}  // namespace vecckpt
