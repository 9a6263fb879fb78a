// See graph_builder.hpp. The only file that includes hnswlib, by own_search.hpp; it uses hnswlib's public
// members to copy a graph in and to read it out, and compiles with versions 0.6.2 to 0.8.0.
//
// hnswlib numbers nodes in the order in which its addPoint calls arrive (its *slots* here), which with
// several threads is not the order of ids: State keeps both directions. A node's id is its data and label.

#include "hnsw/graph_builder.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <mutex>
#include <new>
#include <set>
#include <stdexcept>
#include <string>

#include "base/checksum.hpp"
#include "hnsw/build_threads.hpp"
#include "hnsw/own_search.hpp"

namespace vecckpt {

namespace {

constexpr uint32_t kMinM = 2;
constexpr uint32_t kMaxM = 1000;
// hnswlib keeps node counts and ids in int here and there.
constexpr uint32_t kMaxNodes = 0x7FFFFFFF;
// No graph of kMaxNodes nodes has more levels, save by a chance of one in 2^30.
constexpr int kMaxLevel = 31;
// How many nodes a loop over all of them handles before it looks at the cancel flag.
constexpr uint32_t kCancelInterval = 4096;
// How wide the rounds of MakeFindable search: merged_search.hpp's least ef_s, and, for nodes that have no
// place in a graph of long searches and short lists, the default ef_search.
constexpr size_t kOwnSearchWidths[] = {10, 10, 10, 40, 40, 40};
// When more than one node in so many is linked in, an absorb too searches for all again.
constexpr uint32_t kFewLinkedShare = 64;
// No more than one node in so many becomes an orphan although it can be reached: orphans cost every search.
constexpr uint32_t kMaxIsolatedShare = 1000;
// A hub is the only link of at least so many nodes and of more than one node in so many.
constexpr uint32_t kHubMinDependents = 64;
constexpr uint32_t kHubDependentsShare = 100;
// Hubs become orphans, so there may be only a few: so many, or one node in so many.
constexpr uint32_t kMaxHubs = 16;
constexpr uint32_t kMaxHubShare = 1000;
// Without its hubs a graph may turn out to have others, but one that goes on so is better taken as it is.
constexpr int kMaxHubRounds = 2;

// hnswlib's data of a node is the node's id; the distance of two ids is that of their codes.
class IdSpace final : public hnswlib::SpaceInterface<float> {
 public:
  explicit IdSpace(const CodeTable& table) : table_(table) {}
  size_t get_data_size() override { return sizeof(uint32_t); }
  hnswlib::DISTFUNC<float> get_dist_func() override { return Distance; }
  void* get_dist_func_param() override { return &table_; }

 private:
  static float Distance(const void* a, const void* b, const void* table) {
    uint32_t node_a, node_b;
    std::memcpy(&node_a, a, sizeof(node_a));
    std::memcpy(&node_b, b, sizeof(node_b));
    return static_cast<const CodeTable*>(table)->Distance(node_a, node_b);
  }

  CodeTable table_;
};

// floor(-ln(u) / ln(m)) for a u in (0, 1) made from a hash of the seed.
int LevelOf(uint64_t seed, uint32_t m) {
  const double u = (static_cast<double>(Checksum(AsBytes(seed)) >> 11) + 0.5) * 0x1p-53;
  return std::min(static_cast<int>(-std::log(u) / std::log(m)), kMaxLevel);
}

// What the exception that is being handled means. REQUIRES: called inside a catch block.
Status StatusOfException() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return Status::OutOfMemory("out of memory while building a graph");
  } catch (const std::exception& e) {
    const std::string what = e.what();
    // hnswlib reports a failed malloc so.
    if (what.find("Not enough memory") != std::string::npos) return Status::OutOfMemory(what);
    return Status::Internal("could not build a graph: " + what);
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
        table{&codec, all_codes.data(), codec.stride()},
        space(table) {}

  const Bytes codes;
  const uint32_t node_count;
  const std::span<const uint64_t> seeds;
  const uint32_t first_new;  // nodes of the base as given do not count as progress
  GraphView base;            // without nodes if there is none, or none any more
  const GraphBuildOptions options;
  const CodeTable table;
  IdSpace space;
  std::unique_ptr<Hnsw> hnsw;
  std::vector<uint32_t> slot_of;  // node -> slot
  std::vector<uint32_t> orphans;
  uint32_t repaired = 0;

  bool CancelSeen() const { return options.cancel != nullptr && options.cancel->load(); }
  uint32_t NodeAt(uint32_t slot) const { return vecckpt::NodeAt(*hnsw, slot); }
  std::span<uint32_t> Links(uint32_t slot, int level) const { return LinksOf(*hnsw, slot, level); }
  bool HasFreeLink(uint32_t slot) const { return Links(slot, 0).size() < hnsw->maxM0_; }
  void AddLink(uint32_t from, uint32_t to);

  Status CheckInput() const;
  Status BaseLevels(std::vector<int>* levels) const;
  Status AddNode(uint32_t slot, uint32_t node, int level);
  Status CopyBase();
  Status SetLinks(uint32_t slot, int level, std::span<const uint32_t> links);
  Status InsertAll();
  void Insert(uint32_t node);

  std::set<uint32_t> hubs;  // nodes left out of the graph
  size_t MaxHubs() const { return std::max(kMaxHubs, node_count / kMaxHubShare); }
  void FindHubsOfBase();
  Status AddHubs();
  Status FindHubs(std::set<uint32_t>* found) const;
  Status InsertWithoutHubs();

  // Repair, on slots.
  std::vector<bool> reached;
  std::vector<uint32_t> pending;  // reached, links not followed yet
  void Reach(uint32_t slot);
  Status Close();
  uint32_t NearestWithFreeLink(uint32_t slot, std::span<const uint32_t> among, uint32_t best) const;
  bool LinkIn(uint32_t slot);
  Status Repair();

  // MakeFindable, on slots.
  std::vector<bool> isolated;  // orphans without any link to them, by choice; hubs among them
  Status SearchAll(const std::vector<bool>& marks, size_t width, std::vector<uint32_t>* lost) const;
  Status LinkInLost(const std::vector<uint32_t>& lost, size_t width, std::vector<bool>* touched);
  Status Isolate(std::span<const uint32_t> lost);
  Status MakeFindable();
};

Status GraphBuilder::State::CheckInput() const {
  if (options.m < kMinM || options.m > kMaxM) {
    return Status::InvalidArgument("graph cannot have m = " + std::to_string(options.m));
  }
  if (node_count > kMaxNodes) {
    return Status::InvalidArgument("graph cannot have " + std::to_string(node_count) + " nodes");
  }
  if (seeds.size() != node_count || codes.size() / table.stride < node_count) {
    return Status::InvalidArgument("graph builder got too few codes or seeds");
  }
  if (base.node_count > 0 && (base.m != options.m || base.node_count > node_count)) {
    return Status::InvalidArgument("base graph does not fit the graph to build");
  }
  return Status::Ok();
}

// Every base node's level, from the checked offsets of the base's upper lists.
Status GraphBuilder::State::BaseLevels(std::vector<int>* levels) const {
  levels->assign(base.node_count, 0);
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
  int highest = 0;
  for (size_t rank = 0; rank < ranks; ++rank) {
    const uint32_t node = base.upper_nodes[rank];
    const int64_t level = int64_t{base.upper_offsets[rank + 1]} - base.upper_offsets[rank];
    if (node >= base.node_count || (*levels)[node] != 0 || level < 1 || level > kMaxLevel) {
      return Status::Corruption("upper levels of base graph are damaged");
    }
    (*levels)[node] = static_cast<int>(level);
    highest = std::max(highest, static_cast<int>(level));
  }
  if (base.entry_rank >= ranks || base.upper_nodes[base.entry_rank] != base.entry_node ||
      (*levels)[base.entry_node] != highest || base.max_level != static_cast<uint32_t>(highest)) {
    return Status::Corruption("entry point of base graph is not on its highest level");
  }
  return Status::Ok();
}

Status GraphBuilder::State::SetLinks(uint32_t slot, int level, std::span<const uint32_t> links) {
  unsigned* list = hnsw->get_linklist_at_level(slot, level);
  unsigned short count = 0;
  for (const uint32_t link : links) {
    if (link == kNoNode) break;
    const bool known = level == 0 ? link < base.node_count : link < base.upper_nodes.size();
    if (!known) return Status::Corruption("link of base graph is out of range");
    const uint32_t node = level == 0 ? link : base.upper_nodes[link];
    if (node == slot || hnsw->element_levels_[node] < level) {
      return Status::Corruption("link of base graph leads to a node that cannot be there");
    }
    list[1 + count++] = node;
  }
  hnsw->setListCount(list, count);
  return Status::Ok();
}

// Adds a node without links, past hnswlib. REQUIRES: slot is the next one.
Status GraphBuilder::State::AddNode(uint32_t slot, uint32_t node, int level) {
  std::memset(hnsw->get_linklist0(slot), 0, hnsw->size_data_per_element_);
  std::memcpy(hnsw->getDataByInternalId(slot), &node, sizeof(node));
  hnsw->setExternalLabel(slot, node);
  if (level > 0) {
    // hnswlib frees it with free(); the odd byte is its own habit.
    const size_t size = hnsw->size_links_per_element_ * level + 1;
    hnsw->linkLists_[slot] = static_cast<char*>(calloc(size, 1));
    if (hnsw->linkLists_[slot] == nullptr) {
      return Status::OutOfMemory("out of memory while copying a graph");
    }
  }
  hnsw->element_levels_[slot] = level;
  hnsw->cur_element_count = slot + 1;
  return Status::Ok();
}

// A copied node's slot is its id.
Status GraphBuilder::State::CopyBase() {
  const uint32_t nodes = base.node_count;
  const size_t length = 2 * size_t{base.m};
  if (base.links0.size() != nodes * length || base.entry_node >= nodes) {
    return Status::Corruption("base graph has wrong sizes");
  }
  std::vector<int> levels;
  VECCKPT_RETURN_IF_ERROR(BaseLevels(&levels));
  // Nodes first: SetLinks checks the levels of those it links to.
  for (uint32_t node = 0; node < nodes; ++node) VECCKPT_RETURN_IF_ERROR(AddNode(node, node, levels[node]));
  for (uint32_t node = 0; node < nodes; ++node) {
    if (node % kCancelInterval == 0 && CancelSeen()) return Status::Cancelled();
    VECCKPT_RETURN_IF_ERROR(SetLinks(node, 0, base.links0.subspan(node * length, length)));
  }
  for (size_t rank = 0; rank < base.upper_nodes.size(); ++rank) {
    const uint32_t node = base.upper_nodes[rank];
    for (int level = 1; level <= levels[node]; ++level) {
      const size_t first = (size_t{base.upper_offsets[rank]} + level - 1) * base.m;
      VECCKPT_RETURN_IF_ERROR(SetLinks(node, level, base.upper_links.subspan(first, base.m)));
    }
  }
  hnsw->enterpoint_node_ = base.entry_node;
  hnsw->maxlevel_ = static_cast<int>(base.max_level);
  FindHubsOfBase();
  return Status::Ok();
}

// Only hubs have neither links nor links to them. They stay out, or the new nodes would gather around them.
void GraphBuilder::State::FindHubsOfBase() {
  std::vector<bool> linked(base.node_count, false);
  linked[base.entry_node] = true;
  for (uint32_t slot = 0; slot < base.node_count; ++slot) {
    for (int level = 0; level <= hnsw->element_levels_[slot]; ++level) {
      for (const uint32_t link : Links(slot, level)) linked[link] = linked[slot] = true;
    }
  }
  std::set<uint32_t> found(hubs);
  for (uint32_t slot = 0; slot < base.node_count; ++slot) {
    if (!linked[slot]) found.insert(slot);
    if (found.size() > MaxHubs()) return;  // a damaged base
  }
  hubs.swap(found);
}

void GraphBuilder::State::Insert(uint32_t node) {
  hnsw->addPoint(&node, node, LevelOf(seeds[node], options.m));
  if (options.inserted != nullptr && node >= first_new) options.inserted->fetch_add(1);
}

Status GraphBuilder::State::InsertAll() {
  uint32_t first = base.node_count;
  if (first == 0) {
    while (hubs.contains(first)) ++first;
    Insert(first++);  // alone: the others need an entry point
  }
  WorkRange nodes(first, node_count, options.cancel);
  return RunInThreads(options.threads, &nodes, [&] {
    for (uint32_t node; nodes.Take(&node);) {
      if (!hubs.contains(node)) Insert(node);
    }
  });
}

// Gives hubs their slots: no links, no levels, no path to them.
Status GraphBuilder::State::AddHubs() {
  isolated.assign(node_count, false);
  for (const uint32_t hub : hubs) {
    uint32_t slot = hub;
    if (hub >= base.node_count) {
      slot = static_cast<uint32_t>(hnsw->cur_element_count);
      VECCKPT_RETURN_IF_ERROR(AddNode(slot, hub, 0));
    }
    isolated[slot] = true;
  }
  return Status::Ok();
}

Status GraphBuilder::State::FindHubs(std::set<uint32_t>* found) const {
  std::vector<uint32_t> dependents(node_count, 0);  // by slot
  for (uint32_t slot = 0; slot < node_count; ++slot) {
    if (slot % kCancelInterval == 0 && CancelSeen()) return Status::Cancelled();
    const std::span<const uint32_t> links = Links(slot, 0);
    if (links.size() == 1) ++dependents[links[0]];
  }
  for (uint32_t slot = 0; slot < node_count; ++slot) {
    if (dependents[slot] >= kHubMinDependents && dependents[slot] > node_count / kHubDependentsShare) {
      found->insert(NodeAt(slot));
    }
  }
  return Status::Ok();
}

// Phases 1 and 2. A hub, such as the zero vector among rows that point everywhere, is nearer to most nodes
// than any other node is. hnswlib links no node to what is nearer to one of its links than to itself: most
// nodes get the hub as their only link, and its list has no room to link back. So if there are a few hubs,
// all begins anew without them; a base is kept unless a hub is in it.
Status GraphBuilder::State::InsertWithoutHubs() {
  const uint64_t inserted_before = options.inserted != nullptr ? options.inserted->load() : 0;
  for (int round = 0;; ++round) {
    hnsw.reset();  // there is memory for one
    hnsw = std::make_unique<Hnsw>(&space, node_count, options.m, options.ef_construction);
    // With mult_ 0 hnswlib's own level is always 0, and the one that Insert passes counts.
    hnsw->mult_ = 0;
    if (base.node_count > 0) VECCKPT_RETURN_IF_ERROR(CopyBase());
    VECCKPT_RETURN_IF_ERROR(InsertAll());
    VECCKPT_RETURN_IF_ERROR(AddHubs());
    std::set<uint32_t> found;
    if (round < kMaxHubRounds) VECCKPT_RETURN_IF_ERROR(FindHubs(&found));
    if (found.empty() || hubs.size() + found.size() > MaxHubs()) return Status::Ok();
    if (*found.begin() < base.node_count) base = GraphView{};
    hubs.merge(found);
    if (options.inserted != nullptr) options.inserted->store(inserted_before);
  }
}

void GraphBuilder::State::Reach(uint32_t slot) {
  if (reached[slot]) return;
  reached[slot] = true;
  pending.push_back(slot);
}

Status GraphBuilder::State::Close() {
  uint32_t steps = 0;
  while (!pending.empty()) {
    const uint32_t slot = pending.back();
    pending.pop_back();
    for (const uint32_t link : Links(slot, 0)) Reach(link);
    if (++steps % kCancelInterval == 0 && CancelSeen()) return Status::Cancelled();
  }
  return Status::Ok();
}

// REQUIRES: HasFreeLink(from).
void GraphBuilder::State::AddLink(uint32_t from, uint32_t to) {
  unsigned* list = hnsw->get_linklist0(from);
  const unsigned short count = hnsw->getListCount(list);
  list[1 + count] = to;
  hnsw->setListCount(list, count + 1);
}

// The nearest to `slot` of `best` (kNoNode: none) and of those reached slots of `among` that have a free
// link.
uint32_t GraphBuilder::State::NearestWithFreeLink(uint32_t slot, std::span<const uint32_t> among,
                                                  uint32_t best) const {
  const uint32_t node = NodeAt(slot);
  float best_distance = best == kNoNode ? 0 : table.Distance(node, NodeAt(best));
  for (const uint32_t candidate : among) {
    if (!reached[candidate] || !HasFreeLink(candidate)) continue;
    const float distance = table.Distance(node, NodeAt(candidate));
    if (best == kNoNode || distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

// Links an unreached slot from a reached one among those it links to or, failing that, their links.
bool GraphBuilder::State::LinkIn(uint32_t slot) {
  const std::span<const uint32_t> links = Links(slot, 0);
  uint32_t from = NearestWithFreeLink(slot, links, kNoNode);
  if (from == kNoNode) {
    for (const uint32_t link : links) from = NearestWithFreeLink(slot, Links(link, 0), from);
  }
  if (from == kNoNode) return false;
  AddLink(from, slot);
  return true;
}

// Makes every node reachable over level 0 from the entry point, where a free link allows it. The search
// starts level 0 from the entry point too, besides from where its descent lands, so nothing more is needed.
// Passes go on while they gain something: what one reaches may be what another needs.
Status GraphBuilder::State::Repair() {
  reached.assign(node_count, false);
  Reach(hnsw->enterpoint_node_);
  VECCKPT_RETURN_IF_ERROR(Close());
  orphans.clear();
  std::vector<uint32_t> waiting;
  for (uint32_t slot = 0; slot < node_count; ++slot) {
    if (isolated[slot]) {
      orphans.push_back(NodeAt(slot));
    } else if (!reached[slot]) {
      waiting.push_back(slot);
    }
  }
  for (bool gained = true; gained && !waiting.empty();) {
    gained = false;
    std::vector<uint32_t> left;
    for (size_t i = 0; i < waiting.size(); ++i) {
      if (i % kCancelInterval == 0 && CancelSeen()) return Status::Cancelled();
      const uint32_t slot = waiting[i];
      if (reached[slot]) continue;
      if (!LinkIn(slot)) {
        left.push_back(slot);
        continue;
      }
      ++repaired;
      gained = true;
      Reach(slot);
      VECCKPT_RETURN_IF_ERROR(Close());
    }
    waiting.swap(left);
  }
  for (const uint32_t slot : waiting) {
    if (!reached[slot]) orphans.push_back(NodeAt(slot));
  }
  std::sort(orphans.begin(), orphans.end());
  reached.clear();
  pending = {};
  return Status::Ok();
}

// Threads search for the marked slots that are not isolated; `lost` gets those that are not found, ascending,
// so that the threads make no difference.
Status GraphBuilder::State::SearchAll(const std::vector<bool>& marks, size_t width,
                                      std::vector<uint32_t>* lost) const {
  lost->clear();
  std::mutex mutex;
  WorkRange slots(0, node_count, options.cancel);
  VECCKPT_RETURN_IF_ERROR(RunInThreads(options.threads, &slots, [&] {
    OwnSearch search(hnsw.get(), table, width);
    std::vector<uint32_t> not_found;
    for (uint32_t slot; slots.Take(&slot);) {
      if (marks[slot] && !isolated[slot] && !search.Finds(slot)) not_found.push_back(slot);
    }
    const std::lock_guard<std::mutex> lock(mutex);
    lost->insert(lost->end(), not_found.begin(), not_found.end());
  }));
  std::sort(lost->begin(), lost->end());
  return Status::Ok();
}

// Links each lost slot from the nearest of those its search followed that has a free link: the same search
// will follow that list again. `touched` gets the slots that another search may have to find another way
// now: the neighbours of what was linked, whose searches may close earlier, and what could not be linked.
Status GraphBuilder::State::LinkInLost(const std::vector<uint32_t>& lost, size_t width,
                                       std::vector<bool>* touched) {
  OwnSearch search(hnsw.get(), table, width);
  for (const uint32_t slot : lost) {
    if (CancelSeen()) return Status::Cancelled();
    (*touched)[slot] = true;
    if (search.Finds(slot)) continue;  // thanks to a link made for another
    const std::vector<uint32_t>& followed = search.Followed();
    const auto from = std::find_if(followed.begin(), followed.end(),
                                   [&](uint32_t candidate) { return HasFreeLink(candidate); });
    if (from == followed.end()) continue;
    AddLink(*from, slot);
    ++repaired;
    for (const uint32_t link : Links(*from, 0)) (*touched)[link] = true;
    for (const uint32_t link : Links(slot, 0)) (*touched)[link] = true;
  }
  return Status::Ok();
}

// Takes away all links to lost slots, so that later builds on this graph find them unreached again.
Status GraphBuilder::State::Isolate(std::span<const uint32_t> lost) {
  for (const uint32_t slot : lost) isolated[slot] = true;
  for (uint32_t slot = 0; slot < node_count; ++slot) {
    if (slot % kCancelInterval == 0 && CancelSeen()) return Status::Cancelled();
    for (int level = 0; level <= hnsw->element_levels_[slot]; ++level) {
      const std::span<uint32_t> links = Links(slot, level);
      const auto end =
          std::remove_if(links.begin(), links.end(), [&](uint32_t link) { return isolated[link]; });
      const auto count = static_cast<unsigned short>(end - links.begin());
      if (count < links.size()) hnsw->setListCount(hnsw->get_linklist_at_level(slot, level), count);
    }
  }
  return Status::Ok();
}

// Makes every node findable: a search for its own code, as narrow as searches get, sees it. Reachable is not
// enough, because hnswlib prunes links until some nodes are linked to only from where a search for them does
// not come by.
//
// After an absorb the base's nodes are searched for too. An absorb of an eighth changes the lists of six
// nodes in seven, and among the others some get lost as well: new nodes near them make searches close
// earlier. Links made here can do the same, so all are searched for again; in an absorb, only what was
// touched, as the next absorb finds the few that this misses. What is still lost in the end becomes an
// orphan.
Status GraphBuilder::State::MakeFindable() {
  std::vector<bool> marks(node_count, true);
  std::vector<uint32_t> lost;
  for (const size_t width : kOwnSearchWidths) {
    VECCKPT_RETURN_IF_ERROR(SearchAll(marks, width, &lost));
    if (lost.empty()) break;
    marks.assign(node_count, base.node_count == 0 || lost.size() > node_count / kFewLinkedShare);
    VECCKPT_RETURN_IF_ERROR(LinkInLost(lost, width, &marks));
  }
  if (!lost.empty()) VECCKPT_RETURN_IF_ERROR(SearchAll(marks, std::end(kOwnSearchWidths)[-1], &lost));
  if (lost.empty() && orphans.empty()) return Status::Ok();
  VECCKPT_RETURN_IF_ERROR(
      Isolate(std::span(lost).first(std::min<size_t>(lost.size(), node_count / kMaxIsolatedShare))));
  // What Repair had to give up may have been linked in, and what was reached from a slot that is isolated now
  // may not be reached any more.
  return Repair();
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
    VECCKPT_RETURN_IF_ERROR(state.InsertWithoutHubs());
    VECCKPT_RETURN_IF_ERROR(state.Repair());
    // Under inner product a node's own code need not be near it.
    if (state.table.codec->metric() != Metric::kInnerProduct) VECCKPT_RETURN_IF_ERROR(state.MakeFindable());
    state.slot_of.resize(state.node_count);
    for (uint32_t slot = 0; slot < state.node_count; ++slot) state.slot_of[state.NodeAt(slot)] = slot;
  } catch (...) {
    return StatusOfException();
  }
  return Status::Ok();
}

void GraphBuilder::Links0(uint32_t node, uint32_t* out) const {
  const std::span<const uint32_t> links = state_->Links(state_->slot_of[node], 0);
  for (const uint32_t slot : links) *out++ = state_->NodeAt(slot);
  std::fill_n(out, 2 * size_t{state_->options.m} - links.size(), kNoNode);
}

GraphBuilder::Upper GraphBuilder::UpperLevels() const {
  const State& state = *state_;
  Upper upper;
  upper.offsets.push_back(0);
  if (state.node_count == 0) return upper;
  std::vector<uint32_t> rank_of(state.node_count, kNoNode);  // by slot
  for (uint32_t node = 0; node < state.node_count; ++node) {
    const uint32_t slot = state.slot_of[node];
    const int level = state.hnsw->element_levels_[slot];
    if (level == 0) continue;
    rank_of[slot] = static_cast<uint32_t>(upper.nodes.size());
    upper.nodes.push_back(node);
    upper.offsets.push_back(upper.offsets.back() + static_cast<uint32_t>(level));
  }
  upper.links.reserve(size_t{upper.offsets.back()} * state.options.m);
  for (const uint32_t node : upper.nodes) {
    const uint32_t slot = state.slot_of[node];
    for (int level = 1; level <= state.hnsw->element_levels_[slot]; ++level) {
      const std::span<const uint32_t> links = state.Links(slot, level);
      for (const uint32_t link : links) upper.links.push_back(rank_of[link]);
      upper.links.insert(upper.links.end(), state.options.m - links.size(), kNoNode);
    }
  }
  upper.entry_node = state.NodeAt(state.hnsw->enterpoint_node_);
  upper.entry_rank = rank_of[state.hnsw->enterpoint_node_];
  upper.max_level = static_cast<uint32_t>(state.hnsw->maxlevel_);
  return upper;
}

const std::vector<uint32_t>& GraphBuilder::orphans() const {
  return state_->orphans;
}

uint32_t GraphBuilder::repaired() const {
  return state_->repaired;
}

uint64_t GraphBuilder::MemoryNeeded(uint64_t node_count, uint32_t m, uint32_t threads) {
  const uint64_t level0 = (2 * uint64_t{m} + 1) * 4 + 4 + 8;  // links and their count, data, label
  // A node has 1 / (m - 1) upper lists in the mean; 16 bytes for malloc.
  const uint64_t upper = (uint64_t{m} * 4 + 4 + 16) / std::max(m, 2u) * 2;
  // Pointer to upper lists, level, mutex; label map: a node of 32 bytes and buckets, old and new, while it
  // grows; 2 bytes of visited marks a thread; slot_of; Repair's marks and lists.
  const uint64_t other = 8 + 4 + sizeof(std::mutex) + 32 + 24 + 2 * uint64_t{threads + 1} + 4 + 9;
  // hnswlib's update locks, and what an insertion works with in each thread.
  const uint64_t constant = 65536 * sizeof(std::mutex) + uint64_t{threads + 1} * (1u << 20);
  return node_count * (level0 + upper + other) + constant;
}

}  // namespace vecckpt
