// See graph_search.hpp. Nodes are ordered by distance, then by id, so that ties never depend on the order of
// arrival. Which node is expanded next depends on what was seen and not on the width: the width only says
// when to stop. That is why resuming visits what a fresh search would.

#include "hnsw/graph_search.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace vecckpt {

namespace {

bool Nearer(const SeenNode& a, const SeenNode& b) {
  return a.distance != b.distance ? a.distance < b.distance : a.node < b.node;
}

bool Farther(const SeenNode& a, const SeenNode& b) {
  return Nearer(b, a);
}

// A binary heap with the least node by `Before` on top.
template <bool (*Before)(const SeenNode&, const SeenNode&)>
class Heap {
 public:
  bool empty() const { return nodes_.empty(); }
  size_t size() const { return nodes_.size(); }
  const SeenNode& top() const { return nodes_.front(); }
  size_t memory_bytes() const { return nodes_.capacity() * sizeof(SeenNode); }

  void Push(const SeenNode& node) {
    nodes_.push_back(node);
    std::push_heap(nodes_.begin(), nodes_.end(), After);
  }

  SeenNode Pop() {
    std::pop_heap(nodes_.begin(), nodes_.end(), After);
    const SeenNode node = nodes_.back();
    nodes_.pop_back();
    return node;
  }

 private:
  static bool After(const SeenNode& a, const SeenNode& b) { return Before(b, a); }
  std::vector<SeenNode> nodes_;
};

// A set of node ids by open addressing: its cost follows what a search sees, not the graph's size.
class NodeSet {
 public:
  NodeSet() : slots_(kFirstSize, kNoNode) {}

  size_t size() const { return size_; }
  size_t memory_bytes() const { return slots_.capacity() * sizeof(uint32_t); }

  // False if it was there. REQUIRES: node is not kNoNode.
  bool Insert(uint32_t node) {
    if (2 * size_ >= slots_.size()) Grow();
    uint32_t& slot = Find(node);
    if (slot == node) return false;
    slot = node;
    ++size_;
    return true;
  }

 private:
  static constexpr size_t kFirstSize = 1024;  // a power of two, as every size

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
  size_t size_ = 0;
};

}  // namespace

struct GraphStream::State {
  State(const GraphView& view, Bytes all_codes, size_t code_stride, const QueryScorer& query_scorer)
      : graph(view), codes(all_codes), stride(code_stride), scorer(query_scorer) {}

  GraphView graph;
  Bytes codes;
  size_t stride;
  const QueryScorer& scorer;

  bool started = false;
  size_t width = 0;
  uint64_t distances = 0;
  NodeSet seen;
  Heap<Nearer> frontier;       // seen, not expanded
  Heap<Farther> best;          // the `width` nearest seen, the farthest of them on top
  Heap<Nearer> rest;           // the others seen
  std::vector<uint32_t> list;  // the unseen nodes of the list that is being expanded

  const std::byte* CodeOf(uint32_t node) const { return codes.data() + node * stride; }
  SeenNode Score(uint32_t node);
  void See(const SeenNode& node, std::vector<SeenNode>* out);
  bool Closed() const;
  void Widen(size_t new_width);
  Status CheckSizes() const;
  Status Start(std::vector<SeenNode>* out);
  Status Descend(SeenNode* nearest);
  Status UpperList(uint32_t rank, uint32_t level, std::span<const uint32_t>* out) const;
  Status Expand(uint32_t node, std::vector<SeenNode>* out);
};

SeenNode GraphStream::State::Score(uint32_t node) {
  ++distances;
  return {node, scorer.Distance(CodeOf(node))};
}

void GraphStream::State::See(const SeenNode& node, std::vector<SeenNode>* out) {
  out->push_back(node);
  frontier.Push(node);
  if (best.size() < width) {
    best.Push(node);
  } else if (Nearer(node, best.top())) {
    rest.Push(best.Pop());
    best.Push(node);
  } else {
    rest.Push(node);
  }
}

bool GraphStream::State::Closed() const {
  return frontier.empty() || (best.size() >= width && Nearer(best.top(), frontier.top()));
}

void GraphStream::State::Widen(size_t new_width) {
  width = new_width;
  while (best.size() < width && !rest.empty()) best.Push(rest.Pop());
}

Status GraphStream::State::CheckSizes() const {
  const uint64_t nodes = graph.node_count;
  if (graph.m == 0 || graph.links0.size() / 2 / graph.m < nodes) {
    return Status::Corruption("graph has too few links for its nodes");
  }
  if (stride == 0 || codes.size() / stride < nodes) {
    return Status::Corruption("graph has too few codes for its nodes");
  }
  if (graph.entry_node >= nodes) return Status::Corruption("entry point of graph is out of range");
  if (graph.entry_rank == kNoNode) return Status::Ok();
  if (graph.upper_offsets.size() != graph.upper_nodes.size() + 1) {
    return Status::Corruption("upper levels of graph have a wrong number of offsets");
  }
  if (graph.entry_rank >= graph.upper_nodes.size() ||
      graph.upper_nodes[graph.entry_rank] != graph.entry_node) {
    return Status::Corruption("entry point of graph has a wrong rank");
  }
  return Status::Ok();
}

Status GraphStream::State::UpperList(uint32_t rank, uint32_t level, std::span<const uint32_t>* out) const {
  const uint32_t first = graph.upper_offsets[rank];
  const uint32_t end = graph.upper_offsets[rank + 1];
  if (first > end || level > end - first || end > graph.upper_links.size() / graph.m) {
    return Status::Corruption("offset of an upper level of graph is out of range");
  }
  *out = graph.upper_links.subspan(size_t{first + level - 1} * graph.m, graph.m);
  return Status::Ok();
}

// From the entry point down to level 1, on each level to a node that has no nearer neighbour.
Status GraphStream::State::Descend(SeenNode* nearest) {
  uint32_t rank = graph.entry_rank;
  if (rank == kNoNode) return Status::Ok();
  for (uint32_t level = graph.max_level; level > 0; --level) {
    for (bool moved = true; moved;) {
      moved = false;
      std::span<const uint32_t> links;
      VECCKPT_RETURN_IF_ERROR(UpperList(rank, level, &links));
      for (const uint32_t link : links) {
        if (link == kNoNode) break;
        if (link >= graph.upper_nodes.size() || graph.upper_nodes[link] >= graph.node_count) {
          return Status::Corruption("link on an upper level of graph is out of range");
        }
        const SeenNode candidate = Score(graph.upper_nodes[link]);
        if (Nearer(candidate, *nearest)) {
          *nearest = candidate;
          rank = link;
          moved = true;
        }
      }
    }
  }
  return Status::Ok();
}

Status GraphStream::State::Start(std::vector<SeenNode>* out) {
  started = true;
  if (graph.node_count == 0) return Status::Ok();
  VECCKPT_RETURN_IF_ERROR(CheckSizes());
  list.reserve(2 * size_t{graph.m});
  const SeenNode entry = Score(graph.entry_node);
  SeenNode landing = entry;
  VECCKPT_RETURN_IF_ERROR(Descend(&landing));
  seen.Insert(entry.node);
  See(entry, out);
  if (seen.Insert(landing.node)) See(landing, out);
  return Status::Ok();
}

Status GraphStream::State::Expand(uint32_t node, std::vector<SeenNode>* out) {
  const size_t length = 2 * size_t{graph.m};
  list.clear();
  for (const uint32_t link : graph.links0.subspan(node * length, length)) {
    if (link == kNoNode) break;
    if (link >= graph.node_count) return Status::Corruption("link of graph is out of range");
    if (!seen.Insert(link)) continue;
    __builtin_prefetch(CodeOf(link));
    list.push_back(link);
  }
  for (const uint32_t link : list) See(Score(link), out);
  return Status::Ok();
}

GraphStream::GraphStream(const GraphView& graph, Bytes codes, size_t stride, const QueryScorer& scorer)
    : state_(std::make_unique<State>(graph, codes, stride, scorer)) {}
GraphStream::~GraphStream() = default;
GraphStream::GraphStream(GraphStream&&) noexcept = default;
GraphStream& GraphStream::operator=(GraphStream&&) noexcept = default;

Status GraphStream::Advance(size_t width, size_t max_seen, std::vector<SeenNode>* seen) {
  State& state = *state_;
  if (width < state.width || width == 0) return Status::Ok();
  state.Widen(width);
  if (!state.started) VECCKPT_RETURN_IF_ERROR(state.Start(seen));
  while (!state.Closed() && state.seen.size() < max_seen) {
    VECCKPT_RETURN_IF_ERROR(state.Expand(state.frontier.Pop().node, seen));
  }
  return Status::Ok();
}

bool GraphStream::exhausted() const {
  return (state_->started || state_->graph.node_count == 0) && state_->frontier.empty();
}

size_t GraphStream::seen_count() const {
  return state_->seen.size();
}

uint64_t GraphStream::distance_count() const {
  return state_->distances;
}

size_t GraphStream::memory_bytes() const {
  return sizeof(State) + state_->seen.memory_bytes() + state_->frontier.memory_bytes() +
         state_->best.memory_bytes() + state_->rest.memory_bytes() +
         state_->list.capacity() * sizeof(uint32_t);
}

}  // namespace vecckpt
