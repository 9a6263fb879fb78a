// See graph_search.hpp. Nodes are ordered by distance, then by id, so that ties never depend on the order of
// arrival. Which node is expanded next depends on what was seen and not on the width: the width only says
// when to stop. That is why resuming visits what a fresh search would.
//
// A node that is seen when `width` nearer ones are known cannot be expanded at this width: it waits nearly
// unsorted, as do the nodes that fall out of the `width` nearest. Widening takes the nearest of them back.

#include "hnsw/graph_search.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <string>
#include <utility>

#include "hnsw/lazy_heap.hpp"

namespace vecckpt {

namespace {

constexpr size_t kFirstSeen = 256;
constexpr size_t kMostExpected = size_t{1} << 16;
constexpr uint32_t kLinksPerLine = 64 / sizeof(uint32_t);

struct NearerNode {
  bool operator()(const SeenNode& a, const SeenNode& b) const {
    return a.distance != b.distance ? a.distance < b.distance : a.node < b.node;
  }
};

struct FartherNode {
  bool operator()(const SeenNode& a, const SeenNode& b) const { return NearerNode()(b, a); }
};

bool Nearer(const SeenNode& a, const SeenNode& b) {
  return NearerNode()(a, b);
}

// A binary heap with the least node by `Before` on top.
template <typename Before>
class Heap {
 public:
  bool empty() const { return nodes_.empty(); }
  size_t size() const { return nodes_.size(); }
  const SeenNode& top() const { return nodes_.front(); }
  size_t memory_bytes() const { return nodes_.size() * sizeof(SeenNode); }

  void Push(const SeenNode& node) {
    nodes_.push_back(node);
    std::push_heap(nodes_.begin(), nodes_.end(), After());
  }

  SeenNode Pop() {
    std::pop_heap(nodes_.begin(), nodes_.end(), After());
    const SeenNode node = nodes_.back();
    nodes_.pop_back();
    return node;
  }

  // Pop, then Push.
  SeenNode Replace(const SeenNode& node) {
    const SeenNode top = nodes_.front();
    SiftDown(node);
    return top;
  }

  // Keeps the memory.
  void Clear() { nodes_.clear(); }

 private:
  struct After {
    bool operator()(const SeenNode& a, const SeenNode& b) const { return Before()(b, a); }
  };

  // Moves `node` down from the top, which is free, to its place.
  void SiftDown(const SeenNode& node) {
    size_t at = 0;
    for (size_t child = 1; child < nodes_.size(); child = 2 * at + 1) {
      if (child + 1 < nodes_.size() && Before()(nodes_[child + 1], nodes_[child])) ++child;
      if (!Before()(nodes_[child], node)) break;
      nodes_[at] = nodes_[child];
      at = child;
    }
    nodes_[at] = node;
  }

  std::vector<SeenNode> nodes_;
};

// A set of node ids: a bit for every node of a small graph; else open addressing, whose cost follows what a
// search sees, not the graph's size.
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
    if (slot == node) return false;
    slot = node;
    ++size_;
    return true;
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

}  // namespace

struct GraphStream::State {
  GraphView graph;
  Bytes codes;
  size_t stride = 0;
  const QueryScorer* scorer = nullptr;

  bool started = false;
  size_t width = 0;
  uint64_t distances = 0;
  CodeExtremes extremes;
  NodeSet seen;
  Heap<NearerNode> frontier;              // not expanded, but for those in `far`
  Heap<FartherNode> best;                 // the `width` nearest with entries, the farthest of them on top
  LazyHeap<SeenNode, NearerNode> far;     // seen when `width` nearer ones were known, and still behind them
  LazyHeap<SeenNode, NearerNode> fallen;  // out of `best`; in `frontier` if not expanded
  std::vector<uint32_t> list;             // the unseen nodes of the list that is being expanded
  std::vector<float> scores;              // their distances

  void Clear();
  const std::byte* CodeOf(uint32_t node) const { return codes.data() + node * stride; }
  SeenNode Score(uint32_t node);
  void ScoreList();
  bool HasEntries(uint32_t node) const {
    return graph.entry_offsets.empty() || graph.entry_offsets[node] != graph.entry_offsets[node + 1];
  }
  void FetchSoonNeeded() const;
  void See(const SeenNode& node, std::vector<SeenNode>* out);
  bool Closed() const;
  void Widen(size_t new_width);
  Status CheckSizes() const;
  Status Start(std::vector<SeenNode>* out);
  Status Descend(SeenNode* nearest);
  Status UpperList(uint32_t rank, uint32_t level, std::span<const uint32_t>* out) const;
  Status Expand(uint32_t node, std::vector<SeenNode>* out);
};

void GraphStream::State::Clear() {
  started = false;
  width = 0;
  distances = 0;
  extremes = {};
  seen.Reset(0, 0);
  frontier.Clear();
  best.Clear();
  far.Clear();
  fallen.Clear();
}

SeenNode GraphStream::State::Score(uint32_t node) {
  list.assign(1, node);
  ScoreList();
  return {node, scores[0]};
}

// Distances of `list`, to `scores`.
void GraphStream::State::ScoreList() {
  distances += list.size();
  scores.resize(list.size());
  scorer->DistancesOf(codes.data(), list, scores.data());
  scorer->AddExtremes(codes.data(), list, scores.data(), &extremes);
}

// Those of `list` that enter `best` are asked for their entries at once and may be expanded soon.
void GraphStream::State::FetchSoonNeeded() const {
  const float limit = best.size() >= width ? best.top().distance : std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < list.size(); ++i) {
    if (scores[i] > limit) continue;
    if (!graph.entry_offsets.empty()) __builtin_prefetch(&graph.entry_offsets[list[i]]);
    const uint32_t* links = graph.links0.data() + size_t{list[i]} * 2 * graph.m;
    for (uint32_t j = 0; j < 2 * graph.m; j += kLinksPerLine) __builtin_prefetch(links + j);
  }
}

void GraphStream::State::See(const SeenNode& node, std::vector<SeenNode>* out) {
  out->push_back(node);
  if (best.size() >= width && !Nearer(node, best.top())) {
    far.Push(node);
    return;
  }
  frontier.Push(node);
  if (!HasEntries(node.node)) return;
  if (best.size() >= width) {
    fallen.Push(best.Replace(node));
  } else {
    best.Push(node);
  }
}

bool GraphStream::State::Closed() const {
  return frontier.empty() || (best.size() >= width && Nearer(best.top(), frontier.top()));
}

// Afterwards `best` is full or `far` and `fallen` are empty: what stays in `far` cannot be expanded at this
// width.
void GraphStream::State::Widen(size_t new_width) {
  width = new_width;
  while (best.size() < width && !(far.empty() && fallen.empty())) {
    if (far.empty() || (!fallen.empty() && Nearer(fallen.top(), far.top()))) {
      best.Push(fallen.Pop());
      continue;
    }
    const SeenNode node = far.Pop();
    frontier.Push(node);
    if (HasEntries(node.node)) best.Push(node);
  }
}

Status GraphStream::State::CheckSizes() const {
  const uint64_t nodes = graph.node_count;
  if (graph.m == 0 || graph.links0.size() / 2 / graph.m < nodes) {
    return Status::Corruption("graph has too few links for its nodes");
  }
  if (stride == 0 || codes.size() / stride < nodes) {
    return Status::Corruption("graph has too few codes for its nodes");
  }
  if (!graph.entry_offsets.empty() &&
      (graph.entry_offsets.size() != nodes + 1 || graph.entry_offsets[0] != 0)) {
    return Status::Corruption("graph has wrong entry offsets");
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
      list.clear();
      for (const uint32_t link : links) {
        if (link == kNoNode) break;
        if (link >= graph.upper_nodes.size() || graph.upper_nodes[link] >= graph.node_count) {
          return Status::Corruption("link on an upper level of graph is out of range");
        }
        list.push_back(graph.upper_nodes[link]);
      }
      ScoreList();
      for (size_t i = 0; i < list.size(); ++i) {
        const SeenNode candidate{list[i], scores[i]};
        if (Nearer(candidate, *nearest)) {
          *nearest = candidate;
          rank = links[i];
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
  // What a search sees, by experience; a larger set grows.
  const size_t expected = kFirstSeen + width * graph.m;
  seen.Reset(graph.node_count, std::min<size_t>(graph.node_count, std::min(expected, kMostExpected)));
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
    if (seen.Insert(link)) list.push_back(link);
  }
  ScoreList();
  FetchSoonNeeded();
  for (size_t i = 0; i < list.size(); ++i) See({list[i], scores[i]}, out);
  return Status::Ok();
}

GraphStream::GraphStream() : state_(std::make_unique<State>()) {}
GraphStream::GraphStream(const GraphView& graph, Bytes codes, size_t stride, const QueryScorer& scorer)
    : GraphStream() {
  Restart(graph, codes, stride, scorer);
}
GraphStream::~GraphStream() = default;
GraphStream::GraphStream(GraphStream&&) noexcept = default;
GraphStream& GraphStream::operator=(GraphStream&&) noexcept = default;

void GraphStream::Restart(const GraphView& graph, Bytes codes, size_t stride, const QueryScorer& scorer) {
  state_->Clear();
  state_->graph = graph;
  state_->codes = codes;
  state_->stride = stride;
  state_->scorer = &scorer;
}

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
  return (state_->started || state_->graph.node_count == 0) && state_->frontier.empty() &&
         state_->far.empty();
}

const CodeExtremes& GraphStream::extremes() const {
  return state_->extremes;
}

size_t GraphStream::seen_count() const {
  return state_->seen.size();
}

uint64_t GraphStream::distance_count() const {
  return state_->distances;
}

size_t GraphStream::memory_bytes() const {
  return sizeof(State) + state_->seen.memory_bytes() + state_->frontier.memory_bytes() +
         state_->best.memory_bytes() + state_->far.memory_bytes() + state_->fallen.memory_bytes() +
         state_->list.size() * (sizeof(uint32_t) + sizeof(float));
}

}  // namespace vecckpt
