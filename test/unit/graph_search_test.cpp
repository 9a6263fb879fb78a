// The resumable search: resuming equals starting anew, every reachable node is found, damage is noticed.
// Graphs are random here, with values on a line as codes, so that ties are frequent.

#include "hnsw/graph_search.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "built_graph.hpp"

namespace vecckpt {
namespace {

constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

// Codes are single floats, a node's distance is |query - value|.
class LineScorer final : public QueryScorer {
 public:
  explicit LineScorer(float query) : query_(query) {}
  float Distance(const std::byte* code) const override {
    float value;
    std::memcpy(&value, code, sizeof(value));
    return std::fabs(query_ - value);
  }
  void Distances(const std::byte* codes, size_t count, float* out) const override {
    for (size_t i = 0; i < count; ++i) out[i] = Distance(codes + i * sizeof(float));
  }
  void DistancesOf(const std::byte* codes, std::span<const uint32_t> nodes, float* out,
                   const FetchBelow&) const override {
    for (size_t i = 0; i < nodes.size(); ++i) out[i] = Distance(codes + nodes[i] * sizeof(float));
  }
  double LowerBound(float distance, const std::byte*) const override { return distance; }

 private:
  float query_;
};

struct RandomGraph {
  BuiltGraph graph;
  std::vector<float> values;

  RandomGraph(uint32_t nodes, uint32_t m, uint64_t seed) {
    std::mt19937_64 random(seed);
    graph.node_count = nodes;
    graph.m = m;
    for (uint32_t i = 0; i < nodes; ++i) values.push_back(static_cast<float>(random() % (nodes / 2)));
    graph.links0.resize(size_t{nodes} * 2 * m, kNoNode);
    for (uint32_t i = 0; i < nodes; ++i) {
      const size_t count = random() % (2 * m + 1);
      for (size_t j = 0; j < count; ++j) graph.links0[i * size_t{2} * m + j] = random() % nodes;
    }
    AddUpperLevels(random);
  }

  // Every fifth node has a level 1, every tenth a level 2, with all lists among their like.
  void AddUpperLevels(std::mt19937_64& random) {
    GraphBuilder::Upper& upper = graph.upper;
    upper.offsets.push_back(0);
    for (uint32_t i = 0; i < graph.node_count; i += 5) {
      upper.nodes.push_back(i);
      upper.offsets.push_back(upper.offsets.back() + (i % 10 == 0 ? 2 : 1));
    }
    const uint32_t ranks = static_cast<uint32_t>(upper.nodes.size());
    for (uint32_t rank = 0; rank < ranks; ++rank) {
      for (uint32_t level = 1; level <= upper.offsets[rank + 1] - upper.offsets[rank]; ++level) {
        for (uint32_t j = 0; j < graph.m; ++j) {
          const uint32_t link = random() % ranks;
          upper.links.push_back(level == 1 ? link : link / 2 * 2);
        }
      }
    }
    upper.entry_rank = 0;
    upper.entry_node = 0;
    upper.max_level = 2;
  }

  Bytes codes() const { return AsBytes(std::span<const float>(values)); }
  GraphStream Search(const QueryScorer& scorer, bool cold = false) const {
    GraphView view = graph.View();
    view.cold = cold;
    return GraphStream(view, codes(), sizeof(float), scorer);
  }
};

std::set<uint32_t> NodesOf(const std::vector<SeenNode>& seen) {
  std::set<uint32_t> nodes;
  for (const SeenNode& one : seen) EXPECT_TRUE(nodes.insert(one.node).second) << "seen twice";
  return nodes;
}

TEST(GraphSearch, ResumingVisitsWhatAFreshSearchVisits) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 300; ++round) {
    const RandomGraph graph(50 + random() % 400, 2 + random() % 6, round);
    const LineScorer scorer(static_cast<float>(random() % 300));
    GraphStream resumed = graph.Search(scorer);
    std::vector<SeenNode> seen;
    size_t width = 0;
    while (width < 600) {
      width += 1 + random() % (1 + width);
      ASSERT_TRUE(AdvanceAndTake(resumed, width, kNoLimit, &seen).ok());
      GraphStream fresh = graph.Search(scorer);
      std::vector<SeenNode> fresh_seen;
      ASSERT_TRUE(AdvanceAndTake(fresh, width, kNoLimit, &fresh_seen).ok());
      ASSERT_EQ(NodesOf(seen), NodesOf(fresh_seen)) << "round " << round << ", width " << width;
      ASSERT_EQ(resumed.seen_count(), seen.size());
      ASSERT_EQ(resumed.distance_count(), fresh.distance_count());
      ASSERT_EQ(resumed.exhausted(), fresh.exhausted());
    }
  }
}

// Nodes without entries lead on to others, but do not fill a width.
TEST(GraphSearch, NodesWithoutEntriesAreTraversedOnly) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 100; ++round) {
    const RandomGraph graph(50 + random() % 400, 2 + random() % 6, round);
    std::vector<uint32_t> offsets{0};
    for (size_t i = 0; i < graph.values.size(); ++i)
      offsets.push_back(offsets.back() + (random() % 4 == 0 ? 1 : 0));
    const auto has_entries = [&offsets](uint32_t node) { return offsets[node] != offsets[node + 1]; };
    GraphView view = graph.graph.View();
    const LineScorer scorer(static_cast<float>(random() % 300));
    GraphStream all(view, graph.codes(), sizeof(float), scorer);
    std::vector<SeenNode> reachable;
    ASSERT_TRUE(AdvanceAndTake(all, 1000, kNoLimit, &reachable).ok());
    std::erase_if(reachable, [&](const SeenNode& one) { return !has_entries(one.node); });

    view.entry_offsets = offsets;
    GraphStream resumed(view, graph.codes(), sizeof(float), scorer);
    std::vector<SeenNode> seen;
    for (const size_t width : {1, 3, 10, 40, 1000}) {
      ASSERT_TRUE(AdvanceAndTake(resumed, width, kNoLimit, &seen).ok());
      const auto with_entries =
          std::count_if(seen.begin(), seen.end(), [&](const SeenNode& one) { return has_entries(one.node); });
      ASSERT_GE(static_cast<size_t>(with_entries), std::min(width, reachable.size())) << "round " << round;
      GraphStream fresh(view, graph.codes(), sizeof(float), scorer);
      std::vector<SeenNode> fresh_seen;
      ASSERT_TRUE(AdvanceAndTake(fresh, width, kNoLimit, &fresh_seen).ok());
      ASSERT_EQ(NodesOf(seen), NodesOf(fresh_seen)) << "round " << round << ", width " << width;
    }
    ASSERT_TRUE(resumed.exhausted());
    std::erase_if(seen, [&](const SeenNode& one) { return !has_entries(one.node); });
    ASSERT_EQ(NodesOf(seen), NodesOf(reachable));
  }
}

// A plain search that sorts everything at each step, from the entry point and `landing`.
std::vector<uint32_t> PlainSearch(const RandomGraph& graph, const LineScorer& scorer, size_t width,
                                  uint32_t landing) {
  const auto key = [&](uint32_t node) {
    return std::pair(scorer.Distance(graph.codes().data() + node * sizeof(float)), node);
  };
  std::set<std::pair<float, uint32_t>> seen{key(0), key(landing)}, unexpanded = seen;
  while (!unexpanded.empty()) {
    const std::pair<float, uint32_t> next = *unexpanded.begin();
    if (seen.size() >= width && *std::next(seen.begin(), width - 1) < next) break;
    unexpanded.erase(next);
    for (uint32_t j = 0; j < 2 * graph.graph.m; ++j) {
      const uint32_t link = graph.graph.links0[next.second * size_t{2} * graph.graph.m + j];
      if (link == kNoNode) break;
      if (seen.insert(key(link)).second) unexpanded.insert(key(link));
    }
  }
  std::vector<uint32_t> nodes;
  for (const auto& [distance, node] : seen) nodes.push_back(node);
  std::sort(nodes.begin(), nodes.end());
  return nodes;
}

TEST(GraphSearch, SeesWhatAPlainSearchSees) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 100; ++round) {
    const RandomGraph graph(50 + random() % 400, 2 + random() % 6, round);
    const LineScorer scorer(static_cast<float>(random() % 300));
    for (const size_t width : {1, 2, 5, 17, 60, 1000}) {
      // Interrupted at once, a search has seen its start nodes: the entry point, and where the descent
      // landed.
      GraphStream begun = graph.Search(scorer), stream = graph.Search(scorer, round % 2 == 1);
      std::vector<SeenNode> starts, seen;
      ASSERT_TRUE(AdvanceAndTake(begun, width, 1, &starts).ok());
      ASSERT_LE(starts.size(), 2u);
      const uint32_t landing = starts.front().node != 0 ? starts.front().node : starts.back().node;
      ASSERT_TRUE(AdvanceAndTake(stream, width, kNoLimit, &seen).ok());
      std::vector<uint32_t> nodes;
      for (const SeenNode& one : seen) nodes.push_back(one.node);
      std::sort(nodes.begin(), nodes.end());
      ASSERT_EQ(nodes, PlainSearch(graph, scorer, width, landing))
          << "round " << round << ", width " << width;
    }
  }
}

TEST(GraphSearch, ALimitOfSeenNodesInterruptsOnly) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 50; ++round) {
    const RandomGraph graph(400, 4, round);
    const LineScorer scorer(50);
    GraphStream whole = graph.Search(scorer), pieces = graph.Search(scorer);
    std::vector<SeenNode> whole_seen, piece_seen;
    ASSERT_TRUE(AdvanceAndTake(whole, 60, kNoLimit, &whole_seen).ok());
    for (size_t limit = 1; limit < 500; limit += 1 + random() % 50) {
      ASSERT_TRUE(AdvanceAndTake(pieces, 60, limit, &piece_seen).ok());
      ASSERT_LT(piece_seen.size(), limit + 2 + 2 * 4);
    }
    EXPECT_EQ(NodesOf(whole_seen), NodesOf(piece_seen));
  }
}

TEST(GraphSearch, ASmallerWidthDoesNothing) {
  const RandomGraph graph(300, 4, 1);
  const LineScorer scorer(10);
  GraphStream stream = graph.Search(scorer);
  std::vector<SeenNode> seen;
  ASSERT_TRUE(AdvanceAndTake(stream, 50, kNoLimit, &seen).ok());
  const size_t before = seen.size();
  ASSERT_TRUE(AdvanceAndTake(stream, 20, kNoLimit, &seen).ok());
  ASSERT_TRUE(AdvanceAndTake(stream, 0, kNoLimit, &seen).ok());
  EXPECT_EQ(seen.size(), before);
}

TEST(GraphSearch, AnEmptyGraphIsExhausted) {
  GraphView view;
  view.m = 16;
  const LineScorer scorer(0);
  GraphStream stream(view, {}, sizeof(float), scorer);
  EXPECT_TRUE(stream.exhausted());
  std::vector<SeenNode> seen;
  EXPECT_TRUE(AdvanceAndTake(stream, 10, kNoLimit, &seen).ok());
  EXPECT_TRUE(seen.empty());
  EXPECT_TRUE(stream.exhausted());
}

TEST(GraphSearch, MemoryFollowsWhatIsSeen) {
  const RandomGraph graph(20000, 8, 1);
  const LineScorer scorer(100);
  GraphStream stream = graph.Search(scorer);
  std::vector<SeenNode> seen;
  ASSERT_TRUE(AdvanceAndTake(stream, 10, kNoLimit, &seen).ok());
  const size_t small = stream.memory_bytes();
  EXPECT_LT(small, 20000u);
  ASSERT_TRUE(AdvanceAndTake(stream, 15000, kNoLimit, &seen).ok());
  EXPECT_GT(stream.memory_bytes(), small + 15000 * sizeof(SeenNode));
}

// Every search of a damaged graph ends, with kCorruption or with nodes that are there.
StatusCode SearchDamaged(const BuiltGraph& graph, Bytes codes) {
  const LineScorer scorer(70);
  GraphStream stream(graph.View(), codes, sizeof(float), scorer);
  std::vector<SeenNode> seen;
  const Status status = AdvanceAndTake(stream, 100000, kNoLimit, &seen);
  for (const SeenNode& one : seen) EXPECT_LT(one.node, graph.node_count);
  return status.code();
}

TEST(GraphSearch, DamageIsCorruption) {
  const RandomGraph sound(200, 4, 5);
  ASSERT_EQ(SearchDamaged(sound.graph, sound.codes()), StatusCode::kOk);
  const auto damaged = [&](auto&& damage) {
    BuiltGraph graph = sound.graph;
    damage(graph);
    return SearchDamaged(graph, sound.codes());
  };
  const StatusCode corruption = StatusCode::kCorruption;
  EXPECT_EQ(corruption, damaged([](BuiltGraph& g) { g.upper.entry_node = 200; }));
  EXPECT_EQ(corruption, damaged([](BuiltGraph& g) { g.upper.entry_node = kNoNode; }));
  EXPECT_EQ(corruption, damaged([](BuiltGraph& g) { g.upper.entry_rank = 40; }));
  EXPECT_EQ(corruption, damaged([](BuiltGraph& g) { g.upper.entry_rank = 1; }));
  EXPECT_EQ(corruption, damaged([](BuiltGraph& g) { g.upper.max_level = 3; }));
  EXPECT_EQ(corruption, damaged([](BuiltGraph& g) { g.upper.max_level = 0xFFFFFFFF; }));
  EXPECT_EQ(corruption, damaged([](BuiltGraph& g) { g.upper.links[0] = 40; }));
  EXPECT_EQ(corruption, damaged([](BuiltGraph& g) { g.upper.nodes[g.upper.links[0]] = 200; }));
  EXPECT_EQ(corruption, damaged([](BuiltGraph& g) { g.upper.offsets[0] = 0xFFFFFFFF; }));
  EXPECT_EQ(corruption, damaged([](BuiltGraph& g) { g.upper.offsets[1] = 0xFFFFFFFF; }));
  EXPECT_EQ(corruption, damaged([](BuiltGraph& g) { g.upper.offsets.pop_back(); }));
  EXPECT_EQ(corruption, damaged([](BuiltGraph& g) { g.upper.links.clear(); }));
  EXPECT_EQ(corruption, damaged([](BuiltGraph& g) { g.links0[0] = 200; }));
  EXPECT_EQ(corruption, damaged([](BuiltGraph& g) { g.links0.resize(g.links0.size() - 1); }));
  EXPECT_EQ(corruption, damaged([](BuiltGraph& g) { g.node_count = 201; }));
  EXPECT_EQ(corruption, damaged([](BuiltGraph& g) { g.m = 0; }));
  EXPECT_EQ(corruption, SearchDamaged(sound.graph, sound.codes().first(199 * sizeof(float))));
}

TEST(GraphSearch, RandomDamageNeverCrashes) {
  const RandomGraph sound(200, 4, 5);
  std::mt19937_64 random(6);
  for (int round = 0; round < 3000; ++round) {
    BuiltGraph graph = sound.graph;
    for (int i = 0; i < 3; ++i) {
      std::vector<uint32_t>* const arrays[] = {&graph.links0, &graph.upper.nodes, &graph.upper.offsets,
                                               &graph.upper.links};
      std::vector<uint32_t>& array = *arrays[random() % 4];
      array[random() % array.size()] = static_cast<uint32_t>(random() >> (random() % 64));
    }
    const StatusCode code = SearchDamaged(graph, sound.codes());
    EXPECT_TRUE(code == StatusCode::kOk || code == StatusCode::kCorruption);
  }
}

}  // namespace
}  // namespace vecckpt
