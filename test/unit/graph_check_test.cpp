// Graphs as the builder leaves them have no defects; cut links, lost orphans and links of the wrong level are
// seen, counted and named.

#include "hnsw/graph_check.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "built_graph.hpp"

namespace vecckpt {
namespace {

GraphDefects DefectsOf(const GraphView& graph, const std::vector<uint32_t>& orphans) {
  GraphDefects defects;
  const Status status = CheckGraph(graph, orphans, nullptr, &defects);
  EXPECT_TRUE(status.ok()) << status.message();
  return defects;
}

GraphDefects DefectsOf(const BuiltGraph& graph) {
  return DefectsOf(graph.View(), graph.orphans);
}

BuiltGraph Build(Metric metric, size_t count, uint32_t m, uint64_t seed) {
  constexpr uint32_t kDims = 16;
  const std::vector<float> vectors = ClusteredVectors(count, kDims, 20, seed);
  const auto codec = CodecFor(metric, kDims, vectors);
  const CodeArray codes = EncodeAll(*codec, vectors);
  const std::vector<uint64_t> seeds = SeedsUpTo(count);
  GraphBuildOptions options;
  options.m = m;
  options.ef_construction = 20;
  GraphBuilder builder(*codec, codes.bytes(), static_cast<uint32_t>(count), seeds, nullptr, options);
  EXPECT_TRUE(builder.Build().ok());
  return BuiltGraph::Read(builder, static_cast<uint32_t>(count), m);
}

TEST(GraphCheck, BuiltGraphsAreSound) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    for (const size_t count : {size_t{1}, size_t{2}, size_t{63}, size_t{64}, size_t{65}, size_t{3000}}) {
      for (const uint32_t m : {2u, 8u}) {
        const GraphDefects defects = DefectsOf(Build(metric, count, m, count + m));
        EXPECT_EQ(defects.unreachable, 0u) << count;
        EXPECT_EQ(defects.first_unreachable, kNoNode);
      }
    }
  }
}

TEST(GraphCheck, EmptyGraph) {
  EXPECT_EQ(DefectsOf(GraphView(), {}).unreachable, 0u);
}

// Takes all links to a node away.
void Isolate(BuiltGraph* graph, uint32_t node) {
  const size_t length = size_t{graph->m} * 2;
  for (size_t list = 0; list < graph->node_count; ++list) {
    const auto begin = graph->links0.begin() + static_cast<std::ptrdiff_t>(list * length);
    const auto end = begin + static_cast<std::ptrdiff_t>(length);
    std::fill(std::remove(begin, end, node), end, kNoNode);
  }
}

TEST(GraphCheck, NodesWithoutAWayInAreSeenUnlessTheyAreOrphans) {
  BuiltGraph graph = Build(Metric::kL2, 3000, 8, 1);
  const uint32_t lost[] = {2999, 70, 1500};
  for (const uint32_t node : lost) {
    ASSERT_NE(node, graph.upper.entry_node);
    Isolate(&graph, node);
  }
  GraphDefects defects = DefectsOf(graph);
  EXPECT_EQ(defects.unreachable, 3u);
  EXPECT_EQ(defects.first_unreachable, 70u);
  graph.orphans.push_back(70);
  defects = DefectsOf(graph);
  EXPECT_EQ(defects.unreachable, 2u);
  EXPECT_EQ(defects.first_unreachable, 1500u);
  graph.orphans.insert(graph.orphans.end(), {1500, 2999});
  EXPECT_EQ(DefectsOf(graph).unreachable, 0u);
}

// A chain through all nodes, from the last to the first: as deep as a walk can be, against the order of the
// bits.
TEST(GraphCheck, ChainIsFollowedToItsEnd) {
  constexpr uint32_t kCount = 1000;
  GraphView graph;
  graph.node_count = kCount;
  graph.m = 2;
  graph.entry_node = kCount - 1;
  std::vector<uint32_t> links0(kCount * 4, kNoNode);
  for (uint32_t node = 1; node < kCount; ++node) links0[node * 4] = node - 1;
  graph.links0 = links0;
  EXPECT_EQ(DefectsOf(graph, {}).unreachable, 0u);
  links0[400 * 4] = kNoNode;
  const GraphDefects defects = DefectsOf(graph, {});
  EXPECT_EQ(defects.unreachable, 400u);
  EXPECT_EQ(defects.first_unreachable, 0u);
}

TEST(GraphCheck, WhatIsOutOfRangeIsNotFollowed) {
  GraphView graph;
  graph.node_count = 3;
  graph.m = 2;
  graph.entry_node = 0;
  const std::vector<uint32_t> links0 = {7, 1, kNoNode, 2, 3, kNoNode, kNoNode, kNoNode, 1, 0, 0, 0};
  graph.links0 = links0;
  EXPECT_EQ(DefectsOf(graph, {}).unreachable, 1u);
  EXPECT_EQ(DefectsOf(graph, {5, 2}).unreachable, 0u);
  graph.entry_node = 3;
  EXPECT_EQ(DefectsOf(graph, {}).unreachable, 3u);
}

TEST(GraphCheck, CancelIsSeen) {
  const BuiltGraph graph = Build(Metric::kL2, 100, 8, 3);
  const std::atomic<bool> cancel{true};
  GraphDefects defects;
  EXPECT_EQ(CheckGraph(graph.View(), graph.orphans, &cancel, &defects).code(), StatusCode::kCancelled);
}

}  // namespace
}  // namespace vecckpt
