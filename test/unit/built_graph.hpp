// A graph that was read out of a GraphBuilder, with its codes: what a segment file would hold.

#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "hnsw/codec.hpp"
#include "hnsw/graph_builder.hpp"
#include "hnsw/graph_search.hpp"
#include "hnsw/graph_view.hpp"

namespace vecckpt {

// Codes side by side, aligned as in a segment.
class CodeArray {
 public:
  CodeArray(size_t stride, size_t count) : stride_(stride), blocks_((stride * count + 63) / 64) {}
  std::byte* at(size_t i) { return blocks_.data()->bytes + i * stride_; }
  const std::byte* at(size_t i) const { return blocks_.data()->bytes + i * stride_; }
  Bytes bytes() const { return {at(0), blocks_.size() * 64}; }

 private:
  struct alignas(64) Block {
    std::byte bytes[64];
  };
  size_t stride_;
  std::vector<Block> blocks_;
};

// Advances a stream and takes whatever it has seen and not given out.
inline Status AdvanceAndTake(GraphStream& stream, size_t width, size_t max_seen,
                             std::vector<SeenNode>* seen) {
  Status status = stream.Advance(width, max_seen, seen);
  stream.TakeNext(std::numeric_limits<size_t>::max(), seen);
  return status;
}

struct BuiltGraph {
  uint32_t node_count = 0;
  uint32_t m = 0;
  std::vector<uint32_t> links0;
  GraphBuilder::Upper upper;
  std::vector<uint32_t> orphans;
  uint32_t repaired = 0;

  static BuiltGraph Read(const GraphBuilder& builder, uint32_t node_count, uint32_t m) {
    BuiltGraph graph;
    graph.node_count = node_count;
    graph.m = m;
    graph.links0.resize(size_t{node_count} * 2 * m);
    for (uint32_t node = 0; node < node_count; ++node) {
      builder.Links0(node, graph.links0.data() + size_t{node} * 2 * m);
    }
    graph.upper = builder.UpperLevels();
    graph.orphans = builder.orphans();
    graph.repaired = builder.repaired();
    return graph;
  }

  GraphView View() const {
    GraphView view;
    view.node_count = node_count;
    view.m = m;
    view.entry_node = upper.entry_node;
    view.entry_rank = upper.entry_rank;
    view.max_level = upper.max_level;
    view.links0 = links0;
    view.upper_nodes = upper.nodes;
    view.upper_offsets = upper.offsets;
    view.upper_links = upper.links;
    return view;
  }
};

// `count` vectors of `dims` values around `clusters` centres.
inline std::vector<float> ClusteredVectors(size_t count, size_t dims, size_t clusters, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> centres(clusters * dims);
  for (float& value : centres) value = 2 * normal(random);
  std::vector<float> vectors(count * dims);
  for (size_t i = 0; i < count; ++i) {
    const size_t cluster = random() % clusters;
    for (size_t d = 0; d < dims; ++d) vectors[i * dims + d] = centres[cluster * dims + d] + normal(random);
  }
  return vectors;
}

inline std::unique_ptr<Codec> CodecFor(Metric metric, uint32_t dims, const std::vector<float>& vectors) {
  VectorStatistics statistics;
  statistics.Add(vectors.data(), vectors.size());
  return std::move(Codec::Train(CodeKind::kNone, metric, dims, statistics).value());
}

inline CodeArray EncodeAll(const Codec& codec, const std::vector<float>& vectors) {
  const size_t count = vectors.size() / codec.dims();
  CodeArray codes(codec.stride(), count);
  for (size_t i = 0; i < count; ++i) codec.Encode(vectors.data() + i * codec.dims(), codes.at(i));
  return codes;
}

inline std::vector<uint64_t> SeedsUpTo(size_t count) {
  std::vector<uint64_t> seeds(count);
  for (size_t i = 0; i < count; ++i) seeds[i] = i;
  return seeds;
}

}  // namespace vecckpt
