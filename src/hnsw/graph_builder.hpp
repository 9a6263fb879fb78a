// Builds one HNSW graph over codes, several threads at once.
//
// Phases: (1) a base graph, if any, is copied in as nodes 0..base_nodes-1; (2) the remaining nodes are
// inserted by `threads` threads (graph_inserter.hpp), and once or twice more without hubs, if there are any:
// nodes that are the only link of many others; (3) nodes are made reachable over level 0 from the entry
// point, and, except under inner product, findable by a narrow search for their own code (graph_repair.hpp);
// (4) the result is read out. Codes are read from the caller's bytes, which are normally a mapping of the
// output file, or from a copy in huge pages, which is faster by a seventh.
//
// Every node's level comes from a hash of its seed (its first position), never from a random generator, so
// that a build by one thread is repeatable.
//
// Thread safety: one thread calls the methods; Build starts and joins its own threads, all signals blocked.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <functional>
#include <span>
#include <vector>

#include "base/status.hpp"
#include "hnsw/build_threads.hpp"
#include "hnsw/codec.hpp"
#include "hnsw/graph_view.hpp"

namespace vecckpt {

struct GraphBuildOptions {
  uint32_t m = 16;
  uint32_t ef_construction = 64;
  BuildThreads threads;
  bool copy_codes = false;                    // costs node_count * stride bytes of memory
  const std::atomic<bool>* cancel = nullptr;  // polled between insertions
  std::atomic<uint64_t>* inserted = nullptr;  // counts nodes inserted, for progress
  std::function<void()> on_repair = nullptr;  // called once, when all are inserted
};

class GraphBuilder {
 public:
  // REQUIRES: codec and codes outlive the builder; codes holds node_count codes; seeds has node_count values.
  // `base`: a graph over the first base->node_count codes, or null; its m must equal options.m.
  GraphBuilder(const Codec& codec, Bytes codes, uint32_t node_count, std::span<const uint64_t> seeds,
               const GraphView* base, const GraphBuildOptions& options);
  ~GraphBuilder();

  // Phases 1 to 3. kCancelled when the cancel flag was seen, kOutOfMemory, kCorruption for a bad base graph.
  Status Build();

  // REQUIRES for all below: Build returned ok.
  // Writes node's level-0 list: 2m ids, ended by kNoNode where not full.
  void Links0(uint32_t node, uint32_t* out) const;
  struct Upper {
    uint32_t entry_node = kNoNode;
    uint32_t entry_rank = kNoNode;
    uint32_t max_level = 0;
    std::vector<uint32_t> nodes;  // as in GraphView
    std::vector<uint32_t> offsets;
    std::vector<uint32_t> links;
  };
  Upper UpperLevels() const;
  // Nodes that no path reaches, ascending: those that could not be repaired, a few (one in 1,000 at most)
  // that no search for their own code would see, and hubs (16 or one in 1,000 at most), which have no links
  // either.
  const std::vector<uint32_t>& orphans() const;
  // How many links phase 3 added.
  uint32_t repaired() const;

  // Anonymous memory in bytes that building a graph of this many nodes takes, an upper estimate.
  static uint64_t MemoryNeeded(uint64_t node_count, uint32_t m, uint32_t threads);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vecckpt
