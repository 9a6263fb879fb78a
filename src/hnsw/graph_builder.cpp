// See graph_builder.hpp.

#include "hnsw/graph_builder.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <new>
#include <set>
#include <string>

#include "base/checksum.hpp"
#include "hnsw/graph_inserter.hpp"
#include "hnsw/graph_repair.hpp"
#include "hnsw/mutable_graph.hpp"
#include "hnsw/norm_penalty.hpp"

namespace vecckpt {

namespace {

constexpr uint32_t kMinM = 2;
constexpr uint32_t kMaxM = 1000;
// The highest bit of an id is free.
constexpr uint32_t kMaxNodes = 0x7FFFFFFF;
// No graph of kMaxNodes nodes has more levels, save by a chance of one in 2^30.
constexpr int kMaxLevel = 31;
// How many nodes a loop over all of them handles before it looks at the cancel flag.
constexpr uint32_t kCancelInterval = 4096;
// Insertions that run at once do not see each other: so many nodes are inserted by one thread first.
constexpr size_t kInsertedAlone = 256;
// A hub is the only link of at least so many nodes and of more than one node in so many.
constexpr uint32_t kHubMinDependents = 64;
constexpr uint32_t kHubDependentsShare = 100;
// Hubs become orphans, so there may be only a few: so many, or one node in so many.
constexpr uint32_t kMaxHubs = 16;
constexpr uint32_t kMaxHubShare = 1000;
// Without its hubs a graph may turn out to have others, but one that goes on so is better taken as it is.
constexpr int kMaxHubRounds = 2;

// floor(-ln(u) / ln(m)) for a u in (0, 1) made from a hash of the seed.
uint8_t LevelOf(uint64_t seed, uint32_t m) {
  const double u = (static_cast<double>(Checksum(AsBytes(seed)) >> 11) + 0.5) * 0x1p-53;
  return static_cast<uint8_t>(std::min(static_cast<int>(-std::log(u) / std::log(m)), kMaxLevel));
}

// What the exception that is being handled means. REQUIRES: called inside a catch block.
Status StatusOfException() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return Status::OutOfMemory("out of memory while building a graph");
  } catch (const std::exception& e) {
    return Status::Internal(std::string("could not build a graph: ") + e.what());
  } catch (...) {
    return Status::Internal("could not build a graph: unknown exception");
  }
}

}  // namespace

struct GraphBuilder::State {
  State(const Codec& codec, Bytes all_codes, uint32_t nodes, std::span<const uint64_t> all_seeds,
        const GraphView* base_graph, const GraphBuildOptions& build_options)
      : codes(all_codes),
        node_count(nodes),
        seeds(all_seeds),
        first_new(base_graph != nullptr ? base_graph->node_count : 0),
        base(base_graph != nullptr ? *base_graph : GraphView{}),
        options(build_options),
        table{&codec, all_codes.data()} {}

  const Bytes codes;
  const uint32_t node_count;
  const std::span<const uint64_t> seeds;
  const uint32_t first_new;  // nodes of the base as given do not count as progress
  GraphView base;            // without nodes if there is none, or none any more
  const GraphBuildOptions options;
  CodeTable table;
  HugeArray<std::byte> codes_copy;
  std::vector<float> penalties;  // under inner product
  std::unique_ptr<MutableGraph> graph;
  std::vector<uint32_t> orphans;
  uint32_t repaired = 0;

  bool CancelSeen() const { return options.cancel != nullptr && options.cancel->load(); }
  Status CheckInput() const;
  void CopyCodes();
  Status BaseLevels(std::vector<uint8_t>* levels) const;
  Status CopyBase();
  Status CopyLinks(LinkRows* rows, size_t row, uint32_t level, uint32_t own, std::span<const uint32_t> links);
  std::vector<uint32_t> InsertionOrder() const;
  Status InsertAll();
  void Insert(GraphInserter* inserter, uint32_t node);
  Status TrimAll();

  std::set<uint32_t> hubs;  // nodes left out of the graph
  size_t MaxHubs() const { return std::max(kMaxHubs, node_count / kMaxHubShare); }
  void FindHubsOfBase();
  Status FindHubs(std::set<uint32_t>* found) const;
  Status InsertWithoutHubs();
  Status Repair();
};

Status GraphBuilder::State::CheckInput() const {
  if (options.m < kMinM || options.m > kMaxM) {
    return Status::InvalidArgument("graph cannot have m = " + std::to_string(options.m));
  }
  if (node_count > kMaxNodes) {
    return Status::InvalidArgument("graph cannot have " + std::to_string(node_count) + " nodes");
  }
  if (seeds.size() != node_count || codes.size() / table.codec->stride() < node_count) {
    return Status::InvalidArgument("graph builder got too few codes or seeds");
  }
  if (base.node_count > 0 && (base.m != options.m || base.node_count > node_count)) {
    return Status::InvalidArgument("base graph does not fit the graph to build");
  }
  return Status::Ok();
}

void GraphBuilder::State::CopyCodes() {
  codes_copy = HugeArray<std::byte>(node_count * table.codec->stride());
  std::memcpy(codes_copy.data(), codes.data(), codes_copy.size());
  table.codes = codes_copy.data();
}

// Every base node's level, from the checked offsets of the base's upper lists.
Status GraphBuilder::State::BaseLevels(std::vector<uint8_t>* levels) const {
  const size_t ranks = base.upper_nodes.size();
  if (ranks == 0) {
    if (base.entry_rank != kNoNode || base.max_level != 0) {
      return Status::Corruption("base graph without upper levels has an entry point there");
    }
    return Status::Ok();
  }
  if (base.upper_offsets.size() != ranks + 1 || base.upper_offsets[0] != 0 ||
      base.upper_links.size() != size_t{base.upper_offsets[ranks]} * base.m) {
    return Status::Corruption("upper levels of base graph have wrong sizes");
  }
  int64_t highest = 0;
  for (size_t rank = 0; rank < ranks; ++rank) {
    const uint32_t node = base.upper_nodes[rank];
    const int64_t level = int64_t{base.upper_offsets[rank + 1]} - base.upper_offsets[rank];
    const bool ascends = rank == 0 || base.upper_nodes[rank - 1] < node;
    if (node >= base.node_count || !ascends || level < 1 || level > kMaxLevel) {
      return Status::Corruption("upper levels of base graph are damaged");
    }
    (*levels)[node] = static_cast<uint8_t>(level);
    highest = std::max(highest, level);
  }
  if (base.entry_rank >= ranks || base.upper_nodes[base.entry_rank] != base.entry_node ||
      (*levels)[base.entry_node] != highest || base.max_level != highest) {
    return Status::Corruption("entry point of base graph is not on its highest level");
  }
  return Status::Ok();
}

// Copies a base's list of the node or rank `own`.
Status GraphBuilder::State::CopyLinks(LinkRows* rows, size_t row, uint32_t level, uint32_t own,
                                      std::span<const uint32_t> links) {
  uint32_t count = 0;
  while (count < links.size() && links[count] != kNoNode) {
    const uint32_t link = links[count++];
    if (link >= (level == 0 ? base.node_count : base.upper_nodes.size())) {
      return Status::Corruption("link of base graph is out of range");
    }
    if (link == own || (level > 0 && graph->LevelOfRank(link) < level)) {
      return Status::Corruption("link of base graph leads to a node that cannot be there");
    }
  }
  rows->Assign(row, links.first(count));
  return Status::Ok();
}

// A base's nodes and ranks keep their numbers: new nodes come after them.
Status GraphBuilder::State::CopyBase() {
  const uint32_t nodes = base.node_count;
  const size_t length = 2 * size_t{base.m};
  for (uint32_t node = 0; node < nodes; ++node) {
    if (node % kCancelInterval == 0 && CancelSeen()) return Status::Cancelled();
    VECCKPT_RETURN_IF_ERROR(
        CopyLinks(&graph->links0(), node, 0, node, base.links0.subspan(node * length, length)));
  }
  for (uint32_t rank = 0; rank < base.upper_nodes.size(); ++rank) {
    for (uint32_t level = 1; level <= graph->LevelOfRank(rank); ++level) {
      const size_t row = graph->UpperRow(rank, level);
      VECCKPT_RETURN_IF_ERROR(
          CopyLinks(&graph->upper(), row, level, rank, base.upper_links.subspan(row * base.m, base.m)));
    }
  }
  graph->SetEntry(base.entry_node, base.entry_rank);
  FindHubsOfBase();
  return Status::Ok();
}

// Only hubs have neither links nor links to them. They stay out, or the new nodes would gather around them.
void GraphBuilder::State::FindHubsOfBase() {
  std::vector<bool> linked(base.node_count, false);
  linked[base.entry_node] = true;
  for (uint32_t node = 0; node < base.node_count; ++node) {
    for (const uint32_t link : graph->links0().Links(node)) linked[link] = linked[node] = true;
  }
  for (size_t rank = 0; rank < base.upper_nodes.size(); ++rank) linked[base.upper_nodes[rank]] = true;
  std::set<uint32_t> found(hubs);
  for (uint32_t node = 0; node < base.node_count; ++node) {
    if (!linked[node]) found.insert(node);
    if (found.size() > MaxHubs()) return;  // a damaged base
  }
  hubs.swap(found);
}

// The new nodes that are not hubs: those with upper levels first, the highest of them before the others, so
// that the entry point stands before threads insert, and every descent has somewhere to go.
std::vector<uint32_t> GraphBuilder::State::InsertionOrder() const {
  std::vector<uint32_t> order;
  order.reserve(node_count - base.node_count);
  const std::span<const uint32_t> offsets = graph->upper_offsets();
  std::vector<uint32_t> ranks;
  for (uint32_t rank = 0; rank < graph->upper_nodes().size(); ++rank) {
    if (graph->upper_nodes()[rank] >= base.node_count) ranks.push_back(rank);
  }
  std::stable_sort(ranks.begin(), ranks.end(), [&](uint32_t a, uint32_t b) {
    return offsets[a + 1] - offsets[a] > offsets[b + 1] - offsets[b];
  });
  for (const uint32_t rank : ranks) order.push_back(graph->upper_nodes()[rank]);
  for (uint32_t node = base.node_count; node < node_count; ++node) {
    if (graph->RankOf(node) == kNoNode && !hubs.contains(node)) order.push_back(node);
  }
  return order;
}

void GraphBuilder::State::Insert(GraphInserter* inserter, uint32_t node) {
  inserter->Insert(node);
  if (options.inserted != nullptr && node >= first_new) options.inserted->fetch_add(1);
}

Status GraphBuilder::State::InsertAll() {
  const std::vector<uint32_t> order = InsertionOrder();
  if (order.empty()) return Status::Ok();
  size_t alone = 0;
  if (base.node_count == 0) {
    graph->SetEntry(order[0], graph->RankOf(order[0]));
    if (options.inserted != nullptr && order[0] >= first_new) options.inserted->fetch_add(1);
    alone = 1;
  }
  {
    GraphInserter inserter(graph.get(), options.ef_construction);
    const size_t first = base.node_count == 0 ? kInsertedAlone : 0;
    while (alone < order.size()) {
      const uint32_t rank = graph->RankOf(order[alone]);
      const bool higher = rank != kNoNode && graph->LevelOfRank(rank) > graph->max_level();
      if (alone >= first && !higher) break;
      if (CancelSeen()) return Status::Cancelled();
      Insert(&inserter, order[alone++]);
    }
  }
  WorkRange numbers(static_cast<uint32_t>(alone), static_cast<uint32_t>(order.size()), options.cancel);
  return RunInThreads(options.threads, &numbers, [&] {
    GraphInserter inserter(graph.get(), options.ef_construction);
    for (uint32_t number; numbers.Take(&number);) Insert(&inserter, order[number]);
  });
}

Status GraphBuilder::State::TrimAll() {
  WorkRange nodes(0, node_count, options.cancel);
  return RunInThreads(options.threads, &nodes, [&] {
    GraphInserter inserter(graph.get(), options.ef_construction);
    for (uint32_t node; nodes.Take(&node);) inserter.Trim(node);
  });
}

Status GraphBuilder::State::FindHubs(std::set<uint32_t>* found) const {
  std::vector<uint32_t> dependents(node_count, 0);
  for (uint32_t node = 0; node < node_count; ++node) {
    if (node % kCancelInterval == 0 && CancelSeen()) return Status::Cancelled();
    const std::span<const uint32_t> links = graph->links0().Links(node);
    if (links.size() == 1) ++dependents[links[0]];
  }
  for (uint32_t node = 0; node < node_count; ++node) {
    if (dependents[node] >= kHubMinDependents && dependents[node] > node_count / kHubDependentsShare) {
      found->insert(node);
    }
  }
  return Status::Ok();
}

// Phases 1 and 2. A hub, such as the zero vector among rows that point everywhere, is nearer to most nodes
// than any other node is. No node is linked to what is nearer to one of its links than to itself: most nodes
// get the hub as their only link, and its list has no room to link back. So if there are a few hubs, all
// begins anew without them; a base is kept unless a hub is in it.
Status GraphBuilder::State::InsertWithoutHubs() {
  const uint64_t inserted_before = options.inserted != nullptr ? options.inserted->load() : 0;
  for (int round = 0;; ++round) {
    if (base.node_count > 0 &&
        (base.links0.size() != base.node_count * 2 * size_t{base.m} || base.entry_node >= base.node_count)) {
      return Status::Corruption("base graph has wrong sizes");
    }
    std::vector<uint8_t> levels(node_count, 0);
    VECCKPT_RETURN_IF_ERROR(BaseLevels(&levels));
    for (uint32_t node = base.node_count; node < node_count; ++node) {
      if (!hubs.contains(node)) levels[node] = LevelOf(seeds[node], options.m);
    }
    graph.reset();  // there is memory for one
    graph = std::make_unique<MutableGraph>(table, levels, options.m);
    if (base.node_count > 0) VECCKPT_RETURN_IF_ERROR(CopyBase());
    VECCKPT_RETURN_IF_ERROR(InsertAll());
    VECCKPT_RETURN_IF_ERROR(TrimAll());
    std::set<uint32_t> found;
    if (round < kMaxHubRounds) VECCKPT_RETURN_IF_ERROR(FindHubs(&found));
    if (found.empty() || hubs.size() + found.size() > MaxHubs()) return Status::Ok();
    if (*found.begin() < base.node_count) base = GraphView{};
    hubs.merge(found);
    if (options.inserted != nullptr) options.inserted->store(inserted_before);
  }
}

// Phases 3 and 4.
Status GraphBuilder::State::Repair() {
  std::vector<bool> isolated(node_count, false);
  for (const uint32_t hub : hubs) isolated[hub] = true;
  GraphRepair repair(graph.get(), std::move(isolated), options.threads, options.cancel);
  VECCKPT_RETURN_IF_ERROR(repair.MakeReachable());
  // Under inner product a node's own code need not be near it.
  if (table.codec->metric() != Metric::kInnerProduct) {
    VECCKPT_RETURN_IF_ERROR(repair.MakeFindable());
  }
  orphans = repair.orphans();
  repaired = repair.added();
  return Status::Ok();
}

GraphBuilder::GraphBuilder(const Codec& codec, Bytes codes, uint32_t node_count,
                           std::span<const uint64_t> seeds, const GraphView* base,
                           const GraphBuildOptions& options)
    : state_(std::make_unique<State>(codec, codes, node_count, seeds, base, options)) {}

GraphBuilder::~GraphBuilder() = default;

Status GraphBuilder::Build() {
  State& state = *state_;
  VECCKPT_RETURN_IF_ERROR(state.CheckInput());
  if (state.node_count == 0) return Status::Ok();
  if (state.CancelSeen()) return Status::Cancelled();
  try {
    if (state.options.copy_codes) state.CopyCodes();
    state.penalties = NormPenalties(*state.table.codec, state.table.codes, state.node_count);
    if (!state.penalties.empty()) state.table.penalties = state.penalties.data();
    VECCKPT_RETURN_IF_ERROR(state.InsertWithoutHubs());
    if (state.options.on_repair) state.options.on_repair();
    VECCKPT_RETURN_IF_ERROR(state.Repair());
  } catch (...) {
    return StatusOfException();
  }
  return Status::Ok();
}

void GraphBuilder::Links0(uint32_t node, uint32_t* out) const {
  const std::span<const uint32_t> links = state_->graph->links0().Links(node);
  out = std::copy(links.begin(), links.end(), out);
  std::fill_n(out, 2 * size_t{state_->options.m} - links.size(), kNoNode);
}

GraphBuilder::Upper GraphBuilder::UpperLevels() const {
  Upper upper;
  upper.offsets.push_back(0);
  if (state_->node_count == 0) return upper;
  const MutableGraph& graph = *state_->graph;
  upper.nodes.assign(graph.upper_nodes().begin(), graph.upper_nodes().end());
  upper.offsets.assign(graph.upper_offsets().begin(), graph.upper_offsets().end());
  upper.links.reserve(size_t{upper.offsets.back()} * graph.m());
  for (size_t row = 0; row < upper.offsets.back(); ++row) {
    const std::span<const uint32_t> links = graph.upper().Links(row);
    upper.links.insert(upper.links.end(), links.begin(), links.end());
    upper.links.insert(upper.links.end(), graph.m() - links.size(), kNoNode);
  }
  upper.entry_node = graph.entry_node();
  upper.entry_rank = graph.entry_rank();
  upper.max_level = graph.max_level();
  return upper;
}

const std::vector<uint32_t>& GraphBuilder::orphans() const {
  return state_->orphans;
}

uint32_t GraphBuilder::repaired() const {
  return state_->repaired;
}

uint64_t GraphBuilder::MemoryNeeded(uint64_t node_count, uint32_t m, uint32_t threads) {
  // A node has 1 / (m - 1) upper lists in the mean, and so many nodes have an offset and a rank.
  const uint64_t upper = (LinkRows::BytesPerRow(m) + 16) / std::max(m - 1, 1u) + 1;
  // Level, lock, place in the insertion order, penalty; a walk of each thread; the repair's marks and lists.
  const uint64_t other = 1 + 1 + 4 + 4 + uint64_t{threads + 1} + 9;
  // What a walk works with, and huge pages that are used in part.
  const uint64_t constant = uint64_t{threads + 4} * (2u << 20);
  return node_count * (LinkRows::BytesPerRow(2 * m) + upper + other) + constant;
}

}  // namespace vecckpt
