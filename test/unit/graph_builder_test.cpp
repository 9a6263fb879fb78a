// Building, absorbing and repairing graphs, seen through the search that will use them.

#include "hnsw/graph_builder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "built_graph.hpp"
#include "hnsw/graph_search.hpp"

namespace vecckpt {
namespace {

constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();
constexpr uint32_t kM = 16;

// Vectors with their codec, codes and seeds.
struct Data {
  Data(Metric metric, uint32_t dims, std::vector<float> values)
      : vectors(std::move(values)),
        count(static_cast<uint32_t>(vectors.size() / dims)),
        codec(CodecFor(metric, dims, vectors)),
        codes(EncodeAll(*codec, vectors)),
        seeds(SeedsUpTo(count)) {}

  Result<BuiltGraph> Build(uint32_t nodes, const GraphView* base, const GraphBuildOptions& options) const {
    GraphBuilder builder(*codec, codes.bytes(), nodes, std::span(seeds).first(nodes), base, options);
    VECCKPT_RETURN_IF_ERROR(builder.Build());
    return BuiltGraph::Read(builder, nodes, options.m);
  }

  std::vector<float> vectors;
  uint32_t count;
  std::unique_ptr<Codec> codec;
  CodeArray codes;
  std::vector<uint64_t> seeds;
};

GraphBuildOptions Options(uint32_t threads) {
  GraphBuildOptions options;
  options.m = kM;
  options.threads.count = threads;
  return options;
}

Data Clustered() {
  return Data(Metric::kL2, 32, ClusteredVectors(5000, 32, 50, 1));
}

bool Nearer(const SeenNode& a, const SeenNode& b) {
  return a.distance != b.distance ? a.distance < b.distance : a.node < b.node;
}

// The share of the true 10 nearest nodes that searches of `width` find, orphans scored.
double Recall(const Data& data, const BuiltGraph& graph, size_t width, const std::vector<float>& queries) {
  const uint32_t dims = data.codec->dims();
  const size_t query_count = queries.size() / dims;
  size_t found = 0;
  for (size_t q = 0; q < query_count; ++q) {
    const std::unique_ptr<QueryScorer> scorer = data.codec->Prepare(&queries[q * dims]);
    const auto score = [&](uint32_t node) { return SeenNode{node, scorer->Distance(data.codes.at(node))}; };
    std::vector<SeenNode> all, seen;
    for (uint32_t node = 0; node < graph.node_count; ++node) all.push_back(score(node));
    std::partial_sort(all.begin(), all.begin() + 10, all.end(), Nearer);
    GraphStream stream(graph.View(), data.codes.bytes(), data.codec->stride(), *scorer);
    EXPECT_TRUE(AdvanceAndTake(stream, width, kNoLimit, &seen).ok());
    for (const uint32_t orphan : graph.orphans) seen.push_back(score(orphan));
    std::partial_sort(seen.begin(), seen.begin() + 10, seen.end(), Nearer);
    std::set<uint32_t> nearest;
    for (size_t i = 0; i < 10; ++i) nearest.insert(all[i].node);
    for (size_t i = 0; i < 10; ++i) found += nearest.count(seen[i].node);
  }
  return static_cast<double>(found) / static_cast<double>(10 * query_count);
}

double Recall(const Data& data, const BuiltGraph& graph, size_t width) {
  const uint32_t dims = data.codec->dims();
  std::vector<float> queries = ClusteredVectors(100, dims, 50, 1);
  for (size_t q = 0; q < 100; ++q) queries[q * dims + q % dims] += 0.5f;
  return Recall(data, graph, width, queries);
}

// Lists are well-formed, and a search reaches every node but the orphans, which it does not reach.
void CheckSound(const Data& data, const BuiltGraph& graph) {
  const size_t length = 2 * size_t{graph.m};
  for (uint32_t node = 0; node < graph.node_count; ++node) {
    std::set<uint32_t> links;
    bool ended = false;
    for (size_t j = 0; j < length; ++j) {
      const uint32_t link = graph.links0[node * length + j];
      ASSERT_TRUE(link == kNoNode || (!ended && link < graph.node_count && link != node));
      ended = ended || link == kNoNode;
      ASSERT_TRUE(ended || links.insert(link).second);
    }
  }
  ASSERT_EQ(graph.upper.offsets.size(), graph.upper.nodes.size() + 1);
  ASSERT_EQ(graph.upper.links.size(), size_t{graph.upper.offsets.back()} * graph.m);
  ASSERT_TRUE(std::is_sorted(graph.orphans.begin(), graph.orphans.end()));
  const std::unique_ptr<QueryScorer> scorer = data.codec->Prepare(data.vectors.data());
  GraphStream stream(graph.View(), data.codes.bytes(), data.codec->stride(), *scorer);
  std::vector<SeenNode> seen;
  ASSERT_TRUE(AdvanceAndTake(stream, graph.node_count, kNoLimit, &seen).ok());
  std::vector<uint32_t> nodes(graph.orphans);
  for (const SeenNode& one : seen) nodes.push_back(one.node);
  std::sort(nodes.begin(), nodes.end());
  ASSERT_EQ(nodes.size(), graph.node_count);
  ASSERT_EQ(std::unique(nodes.begin(), nodes.end()), nodes.end());
}

TEST(GraphBuilder, FindsTheNearest) {
  const Data data = Clustered();
  for (const uint32_t threads : {1, 2, 4}) {
    const Result<BuiltGraph> graph = data.Build(data.count, nullptr, Options(threads));
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    CheckSound(data, *graph);
    EXPECT_GE(Recall(data, *graph, 100), 0.95);
    EXPECT_GE(graph->upper.max_level, 1u);
    EXPECT_NEAR(graph->upper.nodes.size(), 5000.0 / kM, 80);
  }
}

TEST(GraphBuilder, FindsTheNearestUnderEveryMetric) {
  for (const Metric metric : {Metric::kCosine, Metric::kL1}) {
    const Data data(metric, 32, ClusteredVectors(3000, 32, 50, 1));
    const Result<BuiltGraph> graph = data.Build(data.count, nullptr, Options(2));
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    CheckSound(data, *graph);
    EXPECT_GE(Recall(data, *graph, 100), 0.95);
  }
}

// How many nodes, besides the orphans, a search for their own vector closed at `width` does not see.
size_t LostNodes(const Data& data, const BuiltGraph& graph, size_t width) {
  const uint32_t dims = data.codec->dims();
  size_t lost = 0;
  for (uint32_t node = 0; node < graph.node_count; ++node) {
    if (std::binary_search(graph.orphans.begin(), graph.orphans.end(), node)) continue;
    const std::unique_ptr<QueryScorer> scorer = data.codec->Prepare(&data.vectors[size_t{node} * dims]);
    GraphStream stream(graph.View(), data.codes.bytes(), data.codec->stride(), *scorer);
    std::vector<SeenNode> seen;
    EXPECT_TRUE(AdvanceAndTake(stream, width, kNoLimit, &seen).ok());
    lost += std::none_of(seen.begin(), seen.end(), [&](const SeenNode& one) { return one.node == node; });
  }
  return lost;
}

void ExpectFindable(const Data& data, const BuiltGraph& graph) {
  CheckSound(data, graph);
  EXPECT_LE(LostNodes(data, graph, 10), graph.node_count / 1000);  // those without a free link near them
  EXPECT_EQ(LostNodes(data, graph, 40), 0u);
  EXPECT_LE(graph.orphans.size(), graph.node_count / 1000);
}

// Vectors with the given number of dims, nodes and clusters; one thread, so that the outcome never varies.
TEST(GraphBuilder, EveryNodeIsFoundByItsOwnVector) {
  const struct {
    Metric metric;
    uint32_t dims, nodes, clusters;
  } cases[] = {{Metric::kL2, 16, 20000, 1},
               {Metric::kL2, 96, 6000, 1},
               {Metric::kL2, 24, 10000, 40},
               {Metric::kCosine, 48, 4000, 10},
               {Metric::kL1, 24, 4000, 10}};
  for (const auto& one : cases) {
    const Data data(one.metric, one.dims, ClusteredVectors(one.nodes, one.dims, one.clusters, 3));
    const Result<BuiltGraph> graph = data.Build(one.nodes, nullptr, Options(1));
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    SCOPED_TRACE(one.dims);
    ExpectFindable(data, *graph);
    EXPECT_GT(graph->repaired, 0u);
  }
}

TEST(GraphBuilder, EveryNodeIsFoundByItsOwnVectorAfterAbsorbs) {
  for (const uint32_t dims : {16, 64}) {
    const Data data(Metric::kL2, dims, ClusteredVectors(6000, dims, 1, 4));
    Result<BuiltGraph> graph = data.Build(4000, nullptr, Options(1));
    for (const uint32_t nodes : {4500, 5000, 6000}) {
      ASSERT_TRUE(graph.ok()) << graph.status().message();
      const GraphView base = graph->View();
      graph = data.Build(nodes, &base, Options(1));
    }
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    ExpectFindable(data, *graph);
  }
}

// Where lists are too short for a search as narrow as 10, nodes are findable at 40.
TEST(GraphBuilder, ShortListsNeedWiderSearches) {
  const Data data(Metric::kL2, 16, ClusteredVectors(4000, 16, 1, 5));
  GraphBuildOptions options = Options(1);
  options.m = 4;
  const Result<BuiltGraph> graph = data.Build(4000, nullptr, options);
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  CheckSound(data, *graph);
  EXPECT_GT(LostNodes(data, *graph, 10), 0u);
  EXPECT_EQ(LostNodes(data, *graph, 40), 0u);
  EXPECT_LE(graph->orphans.size(), 4u);
}

// Distances that underflow to zero: no search can tell one node from another, yet all stay reachable.
TEST(GraphBuilder, NodesThatCannotBeToldApartStayReachable) {
  std::vector<float> vectors;
  for (int i = 0; i < 1500; ++i) {
    vectors.push_back(static_cast<float>(i) * 1e-30f);
    vectors.push_back(i == 0 ? 1.0f : 0.0f);
  }
  const Data data(Metric::kL2, 2, vectors);
  const Result<BuiltGraph> graph = data.Build(1500, nullptr, Options(2));
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  CheckSound(data, *graph);
}

TEST(GraphBuilder, OneThreadIsRepeatable) {
  const Data data = Clustered();
  const Result<BuiltGraph> a = data.Build(1500, nullptr, Options(1)),
                           b = data.Build(1500, nullptr, Options(1));
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->links0, b->links0);
  EXPECT_EQ(a->upper.nodes, b->upper.nodes);
  EXPECT_EQ(a->upper.links, b->upper.links);
  EXPECT_EQ(a->upper.entry_node, b->upper.entry_node);
}

TEST(GraphBuilder, ACopyOfTheCodesMakesNoDifference) {
  const Data data = Clustered();
  GraphBuildOptions options = Options(1);
  const Result<BuiltGraph> mapped = data.Build(1500, nullptr, options);
  options.copy_codes = true;
  const Result<BuiltGraph> copied = data.Build(1500, nullptr, options);
  ASSERT_TRUE(mapped.ok() && copied.ok());
  EXPECT_EQ(mapped->links0, copied->links0);
  EXPECT_EQ(mapped->upper.links, copied->upper.links);
}

TEST(GraphBuilder, LevelsComeFromSeedsWhateverTheThreads) {
  const Data data = Clustered();
  const Result<BuiltGraph> a = data.Build(2000, nullptr, Options(1)),
                           b = data.Build(2000, nullptr, Options(3));
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->upper.nodes, b->upper.nodes);
  EXPECT_EQ(a->upper.offsets, b->upper.offsets);
}

TEST(GraphBuilder, NoNodesAndFewNodes) {
  const Data data = Clustered();
  for (const uint32_t nodes : {0, 1, 2, 3, 20}) {
    const Result<BuiltGraph> graph = data.Build(nodes, nullptr, Options(2));
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    CheckSound(data, *graph);
    EXPECT_EQ(graph->upper.entry_node == kNoNode, nodes == 0);
  }
}

TEST(GraphBuilder, AbsorbingIsAsGoodAsBuildingInOneGo) {
  const Data data = Clustered();
  const Result<BuiltGraph> whole = data.Build(5000, nullptr, Options(2));
  const Result<BuiltGraph> part = data.Build(3000, nullptr, Options(2));
  ASSERT_TRUE(whole.ok() && part.ok());
  const GraphView base = part->View();
  std::atomic<uint64_t> inserted{0};
  GraphBuildOptions options = Options(2);
  options.inserted = &inserted;
  const Result<BuiltGraph> absorbed = data.Build(5000, &base, options);
  ASSERT_TRUE(absorbed.ok()) << absorbed.status().message();
  EXPECT_EQ(inserted.load(), 2000u);
  CheckSound(data, *absorbed);
  EXPECT_GE(Recall(data, *absorbed, 100), Recall(data, *whole, 100) - 0.02);
}

TEST(GraphBuilder, ABaseIsCopiedAsItIs) {
  const Data data = Clustered();
  const Result<BuiltGraph> graph = data.Build(1000, nullptr, Options(2));
  ASSERT_TRUE(graph.ok());
  const GraphView base = graph->View();
  const Result<BuiltGraph> copy = data.Build(1000, &base, Options(2));
  ASSERT_TRUE(copy.ok()) << copy.status().message();
  EXPECT_EQ(copy->links0, graph->links0);
  EXPECT_EQ(copy->upper.nodes, graph->upper.nodes);
  EXPECT_EQ(copy->upper.offsets, graph->upper.offsets);
  EXPECT_EQ(copy->upper.links, graph->upper.links);
  EXPECT_EQ(copy->upper.entry_node, graph->upper.entry_node);
  EXPECT_EQ(copy->upper.entry_rank, graph->upper.entry_rank);
  EXPECT_EQ(copy->upper.max_level, graph->upper.max_level);
}

TEST(GraphBuilder, AnEmptyBaseAndOneNodeBasesWork) {
  const Data data = Clustered();
  for (const uint32_t nodes : {0, 1, 5}) {
    const Result<BuiltGraph> small = data.Build(nodes, nullptr, Options(1));
    ASSERT_TRUE(small.ok());
    const GraphView base = small->View();
    const Result<BuiltGraph> graph = data.Build(300, &base, Options(2));
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    CheckSound(data, *graph);
  }
}

// Inner product with uneven norms: lists by inner product alone left most nodes without a way in.
TEST(GraphBuilder, UnevenNormsLeaveNobodyOut) {
  const uint32_t dims = 16;
  std::vector<float> vectors = ClusteredVectors(4000, dims, 4000, 7);
  std::mt19937_64 random(8);
  std::lognormal_distribution<float> norm(0, 1);
  for (size_t i = 0; i < 4000; ++i) {
    const float factor = norm(random);
    for (uint32_t d = 0; d < dims; ++d) vectors[i * dims + d] *= factor;
  }
  const Data data(Metric::kInnerProduct, dims, vectors);
  const Result<BuiltGraph> graph = data.Build(4000, nullptr, Options(2));
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_LT(graph->repaired, 100u);
  EXPECT_EQ(graph->orphans.size(), 0u);
  CheckSound(data, *graph);
}

// Most vectors point anywhere, so that norms count little; the others, in three dimensions, would need them
// to count much. All their lists are full of the same longest vectors, with fewer places left than repairs
// ask for.
TEST(GraphBuilder, FilledListsMakeRoomForRepairs) {
  const uint32_t dims = 64;
  std::mt19937_64 random(9);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> uniform(0, 4);
  std::vector<float> vectors(6000 * dims, 0.0f);
  for (size_t i = 0; i < 6000; ++i) {
    for (uint32_t d = 0; d < dims; ++d) {
      if (i % 8 < 5) vectors[i * dims + d] = normal(random) / 8;
      if (i % 8 >= 5 && d < 3) vectors[i * dims + d] = uniform(random);
    }
  }
  const Data data(Metric::kInnerProduct, dims, vectors);
  const Result<BuiltGraph> graph = data.Build(6000, nullptr, Options(1));
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_GT(graph->repaired, 100u);
  EXPECT_EQ(graph->orphans.size(), 0u);
  CheckSound(data, *graph);
}

TEST(GraphBuilder, WhatCannotBeRepairedIsAnOrphan) {
  const Data data = Clustered();
  BuiltGraph graph;
  graph.m = 2;
  graph.node_count = 7;
  // 0 to 4 are complete; 5 links to 0, all of whose neighbours are full; 6 has no links at all.
  for (uint32_t node = 0; node < 5; ++node) {
    for (uint32_t other = 0; other < 5; ++other) {
      if (other != node) graph.links0.push_back(other);
    }
  }
  for (const uint32_t link : {0u, kNoNode, kNoNode, kNoNode}) graph.links0.push_back(link);
  graph.links0.resize(7 * 4, kNoNode);
  graph.upper.entry_node = 0;
  graph.upper.offsets.push_back(0);
  const GraphView base = graph.View();
  GraphBuildOptions options = Options(1);
  options.m = 2;
  Result<BuiltGraph> copy = data.Build(7, &base, options);
  ASSERT_TRUE(copy.ok()) << copy.status().message();
  EXPECT_EQ(copy->orphans, (std::vector<uint32_t>{5, 6}));
  EXPECT_EQ(copy->repaired, 0u);
  CheckSound(data, *copy);

  // With a free link in node 3, a neighbour's neighbour, 6 can be linked in, and after that 5, which now
  // links there only: it takes a second pass.
  graph.links0[3 * 4 + 3] = kNoNode;
  graph.links0[5 * 4] = 6;
  graph.links0[6 * 4] = 0;
  const GraphView better = graph.View();
  copy = data.Build(7, &better, options);
  ASSERT_TRUE(copy.ok()) << copy.status().message();
  EXPECT_EQ(copy->orphans, std::vector<uint32_t>{});
  EXPECT_EQ(copy->repaired, 2u);
  CheckSound(data, *copy);
}

// Vectors that point everywhere from the origin.
std::vector<float> IsotropicVectors(size_t count, uint32_t dims, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> vectors(count * dims);
  for (float& value : vectors) value = normal(random);
  return vectors;
}

// The same, but for one zero vector.
Data IsotropicWithHub(size_t count, uint32_t dims, uint32_t hub) {
  std::vector<float> vectors = IsotropicVectors(count, dims, 10);
  std::fill_n(vectors.begin() + size_t{hub} * dims, dims, 0.0f);
  return Data(Metric::kL2, dims, vectors);
}

TEST(GraphBuilder, AHubDoesNotSpoilTheGraph) {
  const Data without(Metric::kL2, 64, IsotropicVectors(10000, 64, 10));
  const Data with = IsotropicWithHub(10000, 64, 5);
  const std::vector<float> queries = IsotropicVectors(200, 64, 11);
  const Result<BuiltGraph> plain = without.Build(without.count, nullptr, Options(1));
  const Result<BuiltGraph> graph = with.Build(with.count, nullptr, Options(1));
  ASSERT_TRUE(plain.ok() && graph.ok());
  CheckSound(with, *graph);
  EXPECT_LE(graph->orphans.size(), 2u);
  EXPECT_TRUE(std::binary_search(graph->orphans.begin(), graph->orphans.end(), 5u));
  EXPECT_GE(Recall(with, *graph, 100, queries), Recall(without, *plain, 100, queries) - 0.01);
}

TEST(GraphBuilder, AnyNodeCanBeAHub) {
  const Data plain_data(Metric::kL2, 64, IsotropicVectors(2000, 64, 10));
  const Result<BuiltGraph> plain = plain_data.Build(2000, nullptr, Options(1));
  ASSERT_TRUE(plain.ok());
  const uint32_t highest = plain->upper.entry_node;
  ASSERT_GT(highest, 0u);
  for (const uint32_t hub : {0u, highest, 700u}) {
    SCOPED_TRACE(hub);
    const Data data = IsotropicWithHub(2000, 64, hub);
    const Result<BuiltGraph> graph = data.Build(2000, nullptr, Options(1)),
                             again = data.Build(2000, nullptr, Options(1)),
                             by_threads = data.Build(2000, nullptr, Options(3));
    ASSERT_TRUE(graph.ok() && again.ok() && by_threads.ok());
    CheckSound(data, *graph);
    EXPECT_EQ(graph->orphans, std::vector<uint32_t>{hub});
    EXPECT_EQ(std::count(graph->links0.begin(), graph->links0.end(), hub), 0);
    EXPECT_EQ(graph->links0[size_t{hub} * 2 * kM], kNoNode);
    EXPECT_EQ(graph->links0, again->links0);
    CheckSound(data, *by_threads);
    EXPECT_TRUE(std::binary_search(by_threads->orphans.begin(), by_threads->orphans.end(), hub));
    EXPECT_LE(by_threads->orphans.size(), 3u);
  }
}

// The base has left the hub out, has too few nodes to tell, or does not have it yet.
TEST(GraphBuilder, AbsorbsLeaveHubsOut) {
  const struct { uint32_t base_nodes, hub; } cases[] = {{2000, 5}, {60, 5}, {1500, 2000}};
  for (const auto& one : cases) {
    SCOPED_TRACE(one.base_nodes);
    const Data data = IsotropicWithHub(3000, 64, one.hub);
    const Result<BuiltGraph> part = data.Build(one.base_nodes, nullptr, Options(1));
    ASSERT_TRUE(part.ok());
    EXPECT_EQ(part->orphans.size(), one.base_nodes == 2000 ? 1u : 0u);
    const GraphView base = part->View();
    std::atomic<uint64_t> inserted{0};
    GraphBuildOptions options = Options(1);
    options.inserted = &inserted;
    Result<BuiltGraph> graph = data.Build(2900, &base, options);
    for (const uint32_t nodes : {2900u, 3000u}) {
      ASSERT_TRUE(graph.ok()) << graph.status().message();
      CheckSound(data, *graph);
      EXPECT_EQ(graph->orphans, std::vector<uint32_t>{one.hub});
      EXPECT_EQ(std::count(graph->links0.begin(), graph->links0.end(), one.hub), 0);
      EXPECT_GE(inserted.load() + 1, nodes - one.base_nodes);  // the hub may be new
      EXPECT_LE(inserted.load(), nodes - one.base_nodes);
      const BuiltGraph next_base = *graph;
      const GraphView next = next_base.View();
      if (nodes == 2900) graph = data.Build(3000, &next, options);
    }
  }
}

TEST(GraphBuilder, ObeysTheCancelFlag) {
  const Data data = Clustered();
  std::atomic<bool> cancel{true};
  GraphBuildOptions options = Options(2);
  options.cancel = &cancel;
  EXPECT_EQ(data.Build(5000, nullptr, options).status().code(), StatusCode::kCancelled);

  // Cancelled while it runs, by the codec itself after some distances.
  class CancellingCodec final : public Codec {
   public:
    CancellingCodec(const Codec& codec, std::atomic<bool>* cancel) : codec_(codec), cancel_(cancel) {}
    CodeKind kind() const override { return codec_.kind(); }
    Metric metric() const override { return codec_.metric(); }
    uint32_t dims() const override { return codec_.dims(); }
    size_t stride() const override { return codec_.stride(); }
    std::vector<std::byte> Parameters() const override { return codec_.Parameters(); }
    bool SameAs(const Codec& other) const override { return codec_.SameAs(other); }
    bool Holds(const VectorStatistics& statistics) const override { return codec_.Holds(statistics); }
    VectorStatistics StatisticsOf(const std::byte* code) const override { return codec_.StatisticsOf(code); }
    void Encode(const float* vector, std::byte* code) const override { codec_.Encode(vector, code); }
    void Decode(const std::byte* code, float* vector) const override { codec_.Decode(code, vector); }
    double CodeError(const std::byte* code) const override { return codec_.CodeError(code); }
    void Transcode(const Codec& other, const std::byte* from, std::byte* to) const override {
      codec_.Transcode(other, from, to);
    }
    float CodeDistance(const std::byte* a, const std::byte* b) const override {
      if (calls_.fetch_add(1) == 20000) {
        if (cancel_ == nullptr) throw std::bad_alloc();
        cancel_->store(true);
      }
      return codec_.CodeDistance(a, b);
    }
    std::unique_ptr<QueryScorer> Prepare(const float* query) const override { return codec_.Prepare(query); }

   private:
    const Codec& codec_;
    std::atomic<bool>* cancel_;
    mutable std::atomic<uint64_t> calls_{0};
  };
  cancel = false;
  std::atomic<uint64_t> inserted{0};
  options.inserted = &inserted;
  const CancellingCodec cancelling(*data.codec, &cancel);
  GraphBuilder builder(cancelling, data.codes.bytes(), data.count, data.seeds, nullptr, options);
  EXPECT_EQ(builder.Build().code(), StatusCode::kCancelled);
  EXPECT_GT(inserted.load(), 0u);
  EXPECT_LT(inserted.load(), 4000u);

  // What is thrown in a thread comes back as a Status.
  options.cancel = nullptr;
  const CancellingCodec throwing(*data.codec, nullptr);
  GraphBuilder failing(throwing, data.codes.bytes(), data.count, data.seeds, nullptr, options);
  EXPECT_EQ(failing.Build().code(), StatusCode::kOutOfMemory);
}

TEST(GraphBuilder, RefusesBadArguments) {
  const Data data = Clustered();
  const auto code_of = [&](uint32_t nodes, uint32_t m, const GraphView* base) {
    GraphBuildOptions options = Options(1);
    options.m = m;
    return data.Build(nodes, base, options).status().code();
  };
  EXPECT_EQ(code_of(10, 0, nullptr), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of(10, 1, nullptr), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of(10, 100000, nullptr), StatusCode::kInvalidArgument);
  const Result<BuiltGraph> graph = data.Build(100, nullptr, Options(1));
  ASSERT_TRUE(graph.ok());
  const GraphView base = graph->View();
  EXPECT_EQ(code_of(99, kM, &base), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of(200, kM + 1, &base), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of(200, kM, &base), StatusCode::kOk);
  GraphBuilder few_codes(*data.codec, data.codes.bytes().first(64), 100, std::span(data.seeds).first(100),
                         nullptr, Options(1));
  EXPECT_EQ(few_codes.Build().code(), StatusCode::kInvalidArgument);
}

TEST(GraphBuilder, ADamagedBaseIsCorruption) {
  const Data data = Clustered();
  const Result<BuiltGraph> sound = data.Build(1500, nullptr, Options(1));
  ASSERT_TRUE(sound.ok());
  ASSERT_GE(sound->upper.max_level, 2u);
  const auto code_of = [&](auto&& damage) {
    BuiltGraph graph = *sound;
    damage(graph);
    const GraphView base = graph.View();
    return data.Build(1600, &base, Options(2)).status().code();
  };
  const StatusCode corruption = StatusCode::kCorruption;
  EXPECT_EQ(StatusCode::kOk, code_of([](BuiltGraph&) {}));
  EXPECT_EQ(corruption, code_of([](BuiltGraph& g) { g.links0[0] = 1500; }));
  EXPECT_EQ(corruption, code_of([](BuiltGraph& g) { g.links0[0] = 0; }));
  EXPECT_EQ(corruption, code_of([](BuiltGraph& g) { g.links0.pop_back(); }));
  EXPECT_EQ(corruption, code_of([](BuiltGraph& g) { g.upper.entry_node = 1500; }));
  EXPECT_EQ(corruption, code_of([](BuiltGraph& g) { g.upper.entry_rank = kNoNode; }));
  EXPECT_EQ(corruption, code_of([](BuiltGraph& g) { ++g.upper.max_level; }));
  EXPECT_EQ(corruption, code_of([](BuiltGraph& g) { g.upper.nodes[0] = 1500; }));
  EXPECT_EQ(corruption, code_of([](BuiltGraph& g) { g.upper.nodes[0] = g.upper.nodes[1]; }));
  EXPECT_EQ(corruption, code_of([](BuiltGraph& g) { g.upper.offsets[1] = 0; }));
  EXPECT_EQ(corruption, code_of([](BuiltGraph& g) { g.upper.offsets[1] = 1000000; }));
  EXPECT_EQ(corruption, code_of([](BuiltGraph& g) { g.upper.offsets.pop_back(); }));
  EXPECT_EQ(corruption, code_of([](BuiltGraph& g) { g.upper.links.pop_back(); }));
  EXPECT_EQ(corruption, code_of([](BuiltGraph& g) { g.upper.links[0] = g.upper.nodes.size(); }));
  // A link of the highest level to a node that has level 1 only.
  EXPECT_EQ(corruption, code_of([](BuiltGraph& g) {
              const std::vector<uint32_t>& offsets = g.upper.offsets;
              uint32_t low = 0;
              while (offsets[low + 1] - offsets[low] != 1) ++low;
              g.upper.links[(offsets[g.upper.entry_rank + 1] - 1) * size_t{kM}] = low;
            }));
}

TEST(GraphBuilder, RandomDamageOfABaseNeverCrashes) {
  const Data data = Clustered();
  const Result<BuiltGraph> sound = data.Build(200, nullptr, Options(1));
  ASSERT_TRUE(sound.ok());
  std::mt19937_64 random(9);
  for (int round = 0; round < 400; ++round) {
    BuiltGraph graph = *sound;
    std::vector<uint32_t>* const arrays[] = {&graph.links0, &graph.upper.nodes, &graph.upper.offsets,
                                             &graph.upper.links};
    std::vector<uint32_t>& array = *arrays[random() % 4];
    array[random() % array.size()] = static_cast<uint32_t>(random() >> (random() % 64));
    const GraphView base = graph.View();
    const StatusCode code = data.Build(220, &base, Options(1)).status().code();
    EXPECT_TRUE(code == StatusCode::kOk || code == StatusCode::kCorruption);
  }
}

TEST(GraphBuilder, MemoryNeededGrowsWithItsArguments) {
  const uint64_t million = GraphBuilder::MemoryNeeded(1000000, 16, 2);
  EXPECT_GT(million, 234u * 1000000);
  EXPECT_LT(million, 400u * 1000000);
  EXPECT_GT(GraphBuilder::MemoryNeeded(1000000, 32, 2), million + 100 * 1000000);
  EXPECT_GT(GraphBuilder::MemoryNeeded(1000000, 16, 8), million);
  EXPECT_GT(GraphBuilder::MemoryNeeded(2000000, 16, 2), million * 19 / 10);
}

}  // namespace
}  // namespace vecckpt
