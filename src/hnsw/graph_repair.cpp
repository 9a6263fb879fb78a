// See graph_repair.hpp.

#include "hnsw/graph_repair.hpp"

#include <algorithm>
#include <iterator>
#include <mutex>

#include "hnsw/graph_walk.hpp"

namespace vecckpt {

namespace {

// How many nodes a loop over all of them handles before it looks at the cancel flag.
constexpr uint32_t kCancelInterval = 4096;
// How wide the rounds of MakeFindable search: merged_search.hpp's least ef_s, and, for nodes that have no
// place in a graph of long searches and short lists, the default ef_search.
constexpr size_t kOwnSearchWidths[] = {10, 10, 10, 40, 40, 40};
// When more than one node in so many is linked in, all are searched for again.
constexpr uint32_t kFewLinkedShare = 64;
// No more than one node in so many becomes an orphan although it can be reached: orphans cost every search.
constexpr uint32_t kMaxIsolatedShare = 1000;

// Whether a search for the node's own code, closed at `width`, sees the node: what GraphStream will do with
// its vector as the query, step by step the same.
bool Finds(const MutableGraph& graph, GraphWalk* walk, uint32_t node, size_t width) {
  walk->SetQuery(node);
  const Neighbour entry = walk->Entry();
  Neighbour starts[] = {entry, walk->Descend(entry, 0)};
  if (graph.entry_rank() != kNoNode) {
    for (Neighbour& start : starts) start.id = graph.upper_nodes()[start.id];
  }
  walk->Walk(Level0(graph), starts, width, node);
  return walk->Saw(node);
}

}  // namespace

void GraphRepair::Reach(uint32_t node) {
  if (reached_[node]) return;
  reached_[node] = true;
  pending_.push_back(node);
}

Status GraphRepair::Close() {
  uint32_t steps = 0;
  while (!pending_.empty()) {
    const uint32_t node = pending_.back();
    pending_.pop_back();
    for (const uint32_t link : Links(node)) Reach(link);
    if (++steps % kCancelInterval == 0 && CancelSeen()) return Status::Cancelled();
  }
  return Status::Ok();
}

// The nearest to `node` of `best` (kNoNode: none) and of those reached nodes of `among` that have a free
// link.
uint32_t GraphRepair::NearestWithFreeLink(uint32_t node, std::span<const uint32_t> among,
                                          uint32_t best) const {
  const CodeTable& table = graph_->table();
  float best_distance = best == kNoNode ? 0 : table.Distance(node, best);
  for (const uint32_t candidate : among) {
    if (!reached_[candidate] || !HasFreeLink(candidate)) continue;
    const float distance = table.Distance(node, candidate);
    if (best == kNoNode || distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

// Links an unreached node from a reached one among those it links to or, failing that, their links.
bool GraphRepair::LinkIn(uint32_t node) {
  const std::span<const uint32_t> links = Links(node);
  uint32_t from = NearestWithFreeLink(node, links, kNoNode);
  if (from == kNoNode) {
    for (const uint32_t link : links) from = NearestWithFreeLink(node, Links(link), from);
  }
  if (from == kNoNode) return false;
  graph_->links0().Append(from, node);
  return true;
}

Status GraphRepair::MakeReachable() {
  VECCKPT_RETURN_IF_ERROR(ReachAll());
  const auto isolated = std::count(isolated_.begin(), isolated_.end(), true);
  const bool is_product = graph_->table().codec->metric() == Metric::kInnerProduct;
  if (!is_product || orphans_.size() == static_cast<size_t>(isolated)) return Status::Ok();
  ShortenFilledLists();
  return ReachAll();
}

void GraphRepair::ShortenFilledLists() {
  const size_t length = graph_->links0().limit() * 3 / 4;
  for (uint32_t node = 0; node < graph_->node_count(); ++node) {
    if (Links(node).size() > length) graph_->links0().Assign(node, Links(node).first(length));
  }
}

// Passes go on while they gain something: what one reaches may be what another needs.
Status GraphRepair::ReachAll() {
  const uint32_t node_count = graph_->node_count();
  reached_.assign(node_count, false);
  Reach(graph_->entry_node());
  VECCKPT_RETURN_IF_ERROR(Close());
  orphans_.clear();
  std::vector<uint32_t> waiting;
  for (uint32_t node = 0; node < node_count; ++node) {
    if (isolated_[node]) {
      orphans_.push_back(node);
    } else if (!reached_[node]) {
      waiting.push_back(node);
    }
  }
  for (bool gained = true; gained && !waiting.empty();) {
    gained = false;
    std::vector<uint32_t> left;
    for (size_t i = 0; i < waiting.size(); ++i) {
      if (i % kCancelInterval == 0 && CancelSeen()) return Status::Cancelled();
      const uint32_t node = waiting[i];
      if (reached_[node]) continue;
      if (!LinkIn(node)) {
        left.push_back(node);
        continue;
      }
      ++added_;
      gained = true;
      Reach(node);
      VECCKPT_RETURN_IF_ERROR(Close());
    }
    waiting.swap(left);
  }
  for (const uint32_t node : waiting) {
    if (!reached_[node]) orphans_.push_back(node);
  }
  std::sort(orphans_.begin(), orphans_.end());
  reached_.clear();
  pending_ = {};
  return Status::Ok();
}

// Threads search for the marked nodes that are not isolated; `lost` gets those that are not found, ascending,
// so that the threads make no difference.
Status GraphRepair::SearchAll(const std::vector<bool>& marks, size_t width,
                              std::vector<uint32_t>* lost) const {
  lost->clear();
  std::mutex mutex;
  WorkRange nodes(0, graph_->node_count(), cancel_);
  VECCKPT_RETURN_IF_ERROR(RunInThreads(threads_, &nodes, [&] {
    GraphWalk walk(*graph_);
    std::vector<uint32_t> not_found;
    for (uint32_t node; nodes.Take(&node);) {
      if (marks[node] && !isolated_[node] && !Finds(*graph_, &walk, node, width)) not_found.push_back(node);
    }
    const std::lock_guard<std::mutex> lock(mutex);
    lost->insert(lost->end(), not_found.begin(), not_found.end());
  }));
  std::sort(lost->begin(), lost->end());
  return Status::Ok();
}

// Links each lost node from the nearest of those its search expanded that has a free link: the same search
// will expand that list again. `touched` gets the nodes that another search may have to find another way
// now: the neighbours of what was linked, whose searches may close earlier, and what could not be linked.
Status GraphRepair::LinkInLost(const std::vector<uint32_t>& lost, size_t width, std::vector<bool>* touched) {
  GraphWalk walk(*graph_);
  for (const uint32_t node : lost) {
    if (CancelSeen()) return Status::Cancelled();
    (*touched)[node] = true;
    if (Finds(*graph_, &walk, node, width)) continue;  // thanks to a link made for another
    const Neighbour* from = nullptr;
    for (const Neighbour& expanded : walk.expanded()) {
      if (HasFreeLink(expanded.id) && (from == nullptr || Nearer(expanded, *from))) from = &expanded;
    }
    if (from == nullptr) continue;
    graph_->links0().Append(from->id, node);
    ++added_;
    for (const uint32_t link : Links(from->id)) (*touched)[link] = true;
    for (const uint32_t link : Links(node)) (*touched)[link] = true;
  }
  return Status::Ok();
}

// Takes away all links to lost nodes, so that later builds on this graph find them unreached again.
Status GraphRepair::Isolate(std::span<const uint32_t> lost) {
  for (const uint32_t node : lost) isolated_[node] = true;
  std::vector<uint32_t> kept;
  const auto remove_from = [&](LinkRows* rows, size_t row, std::span<const uint32_t> nodes) {
    kept.clear();
    for (const uint32_t link : rows->Links(row)) {
      if (!isolated_[nodes.empty() ? link : nodes[link]]) kept.push_back(link);
    }
    if (kept.size() < rows->Count(row)) rows->Assign(row, kept);
  };
  for (uint32_t node = 0; node < graph_->node_count(); ++node) {
    if (node % kCancelInterval == 0 && CancelSeen()) return Status::Cancelled();
    remove_from(&graph_->links0(), node, {});
  }
  for (size_t row = 0; row < graph_->upper_offsets().back(); ++row) {
    remove_from(&graph_->upper(), row, graph_->upper_nodes());
  }
  return Status::Ok();
}

Status GraphRepair::MakeFindable() {
  const uint32_t node_count = graph_->node_count();
  std::vector<bool> marks(node_count, true);
  std::vector<uint32_t> lost;
  for (const size_t width : kOwnSearchWidths) {
    VECCKPT_RETURN_IF_ERROR(SearchAll(marks, width, &lost));
    if (lost.empty()) break;
    marks.assign(node_count, lost.size() > node_count / kFewLinkedShare);
    VECCKPT_RETURN_IF_ERROR(LinkInLost(lost, width, &marks));
  }
  if (!lost.empty()) VECCKPT_RETURN_IF_ERROR(SearchAll(marks, std::end(kOwnSearchWidths)[-1], &lost));
  if (lost.empty() && orphans_.empty()) return Status::Ok();
  VECCKPT_RETURN_IF_ERROR(
      Isolate(std::span(lost).first(std::min<size_t>(lost.size(), node_count / kMaxIsolatedShare))));
  // What was given up as unreachable may have been linked in, and what was reached from a node that is
  // isolated now may not be reached any more.
  return MakeReachable();
}

}  // namespace vecckpt
