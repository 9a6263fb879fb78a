// See graph_search.hpp. Which node is expanded next depends on what was seen and not on the width: the width
// only says when to stop. That is why resuming visits what a fresh search would.

#include "hnsw/graph_search.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "hnsw/node_set.hpp"
#include "os/mapping.hpp"

namespace vecckpt {

namespace {

constexpr size_t kFirstSeen = 256;
constexpr size_t kMostExpected = size_t{1} << 16;

// As GraphWalk's, which has to land where a stream does.
bool Nearer(const SeenNode& a, const SeenNode& b) {
  return a.distance != b.distance ? a.distance < b.distance : a.node < b.node;
}

}  // namespace

struct GraphStream::State {
  GraphView graph;
  Bytes codes;
  size_t stride = 0;
  const QueryScorer* scorer = nullptr;

  bool started = false;
  size_t excluded = 0;  // orphans, marked as seen
  uint64_t distances = 0;
  CodeExtremes extremes;
  NodeSet marks;
  SeenNodes seen;
  std::vector<uint32_t> list;  // the unseen nodes of the list that is being expanded
  std::vector<float> scores;   // their distances

  void Clear();
  void ScoreList();
  void PrefetchCodes() const;
  void PrefetchLists() const;
  bool Counts(uint32_t node) const;
  void AddList(std::vector<SeenNode>* nearer);
  Status CheckSizes() const;
  Status Start(std::vector<SeenNode>* nearer);
  Status Descend(SeenNode* nearest);
  Status UpperList(uint32_t rank, uint32_t level, std::span<const uint32_t>* out) const;
  Status Expand(uint32_t node, std::vector<SeenNode>* nearer);
};

void GraphStream::State::Clear() {
  started = false;
  excluded = 0;
  distances = 0;
  extremes = {};
  marks.Reset(0, 0);
  seen.Clear();
}

// Distances of `list`, to `scores`. Nodes that may be expanded soon have their links fetched.
void GraphStream::State::ScoreList() {
  if (graph.cold) PrefetchCodes();
  distances += list.size();
  scores.resize(list.size());
  const size_t row_bytes = 2 * size_t{graph.m} * sizeof(uint32_t);
  scorer->DistancesOf(codes.data(), list, scores.data(),
                      {reinterpret_cast<const std::byte*>(graph.links0.data()), row_bytes, seen.limit()});
  scorer->AddExtremes(codes.data(), list, scores.data(), &extremes);
  if (graph.cold) PrefetchLists();
}

void GraphStream::State::PrefetchCodes() const {
  for (const uint32_t node : list) PrefetchMapped(codes.subspan(node * stride, stride));
}

// Of nodes that may be expanded soon.
void GraphStream::State::PrefetchLists() const {
  const size_t length = 2 * size_t{graph.m};
  for (size_t i = 0; i < list.size(); ++i) {
    if (scores[i] <= seen.limit())
      PrefetchMapped(std::as_bytes(graph.links0.subspan(list[i] * length, length)));
  }
}

bool GraphStream::State::Counts(uint32_t node) const {
  if (!graph.entry_offsets.empty() && graph.entry_offsets[node] == graph.entry_offsets[node + 1])
    return false;
  return graph.dead.empty() || (graph.dead[node / 64] >> (node % 64) & 1) == 0;
}

void GraphStream::State::AddList(std::vector<SeenNode>* nearer) {
  seen.Add(
      list.data(), scores.data(), list.size(), [this](uint32_t node) { return Counts(node); }, nearer);
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
  if (!graph.dead.empty() && graph.dead.size() < (nodes + 63) / 64) {
    return Status::Corruption("graph has too few marks of dead nodes");
  }
  if (nodes > kMostKeyedNodes) return Status::Corruption("graph has too many nodes");
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

Status GraphStream::State::Start(std::vector<SeenNode>* nearer) {
  started = true;
  if (graph.node_count == 0) return Status::Ok();
  VECCKPT_RETURN_IF_ERROR(CheckSizes());
  list.reserve(2 * size_t{graph.m});
  // What a search sees, by experience; a larger set grows.
  const size_t expected = kFirstSeen + graph.orphans.size() + seen.width() * graph.m;
  marks.Reset(graph.node_count, std::min<size_t>(graph.node_count, std::min(expected, kMostExpected)));
  for (const uint32_t orphan : graph.orphans) {
    if (orphan >= graph.node_count) return Status::Corruption("orphan of graph is out of range");
    excluded += marks.Insert(orphan);
  }
  list.assign(1, graph.entry_node);
  ScoreList();
  const SeenNode entry{graph.entry_node, scores[0]};
  SeenNode landing = entry;
  // An orphan is not given out, but may lead on.
  const bool orphaned = !marks.Insert(graph.entry_node);
  if (!orphaned) AddList(nearer);
  VECCKPT_RETURN_IF_ERROR(Descend(&landing));
  if (orphaned) VECCKPT_RETURN_IF_ERROR(Expand(graph.entry_node, nearer));
  if (!marks.Insert(landing.node)) return Status::Ok();
  list.assign(1, landing.node);
  scores.assign(1, landing.distance);
  AddList(nearer);
  return Status::Ok();
}

Status GraphStream::State::Expand(uint32_t node, std::vector<SeenNode>* nearer) {
  const size_t length = 2 * size_t{graph.m};
  const uint32_t* links = graph.links0.data() + node * length;
  list.resize(length);
  size_t count = 0;
  for (size_t i = 0; i < length && links[i] != kNoNode; ++i) {
    if (links[i] >= graph.node_count) return Status::Corruption("link of graph is out of range");
    list[count] = links[i];
    count += marks.Insert(links[i]);
  }
  list.resize(count);
  ScoreList();
  AddList(nearer);
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

Status GraphStream::Advance(size_t width, size_t max_seen, std::vector<SeenNode>* nearer) {
  State& state = *state_;
  if (width < state.seen.width() || width == 0) return Status::Ok();
  state.seen.Widen(width, [&state](uint32_t node) { return state.Counts(node); });
  if (!state.started) VECCKPT_RETURN_IF_ERROR(state.Start(nearer));
  for (uint32_t node; state.seen.size() < max_seen && (node = state.seen.Next()) != kNoNode;) {
    state.seen.MarkNextExpanded();
    VECCKPT_RETURN_IF_ERROR(state.Expand(node, nearer));
  }
  return Status::Ok();
}

void GraphStream::TakeNext(size_t count, std::vector<SeenNode>* out) {
  state_->seen.TakeNext(count, out);
}

bool GraphStream::has_more() const {
  return state_->seen.HasMore();
}

float GraphStream::distance_of_more() const {
  return state_->seen.DistanceOfMore();
}

bool GraphStream::Counts(uint32_t node) const {
  return state_->Counts(node);
}

const CodeExtremes& GraphStream::extremes() const {
  return state_->extremes;
}

bool GraphStream::exhausted() const {
  return (state_->started || state_->graph.node_count == 0) &&
         state_->seen.expanded_count() == state_->seen.size();
}

size_t GraphStream::seen_count() const {
  return state_->seen.size();
}

uint64_t GraphStream::distance_count() const {
  return state_->distances;
}

size_t GraphStream::memory_bytes() const {
  return sizeof(State) + state_->marks.memory_bytes() + state_->seen.memory_bytes() +
         state_->list.size() * (sizeof(uint32_t) + sizeof(float));
}

}  // namespace vecckpt
