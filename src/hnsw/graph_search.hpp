// A resumable search of one graph: a *stream* of its nodes, the nearest first.
//
// The stream keeps every node it has seen (seen_nodes.hpp). Advance(width) expands the nearest unexpanded
// node until that node is farther than the width-th nearest seen one (the stream is *closed at width*) or
// none is left. It starts level 0 from two nodes, the one where the descent through the upper levels lands
// and the entry point: from there level-0 links reach every node but the orphans (graph_builder.hpp). Nodes
// without entries, or known to be dead, are expanded like others, but do not count towards a width. They are
// given out with the others, because whoever looks at a node next sees what it has. Property, tested:
// resuming from a smaller width to `width` visits exactly the nodes that a fresh search with ef = width
// visits.
//
// Thread safety: one thread at a time; the graph and the scorer may be shared.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.hpp"
#include "hnsw/codec.hpp"
#include "hnsw/graph_view.hpp"
#include "hnsw/seen_nodes.hpp"

namespace vecckpt {

class GraphStream {
 public:
  // A stream over nothing, until Restart.
  GraphStream();
  // As a new one, Restarted.
  GraphStream(const GraphView& graph, Bytes codes, size_t stride, const QueryScorer& scorer);
  ~GraphStream();
  GraphStream(GraphStream&&) noexcept;
  GraphStream& operator=(GraphStream&&) noexcept;

  // Begins another search, in the memory of the one before.
  // REQUIRES: graph, codes and scorer outlive it. `codes` holds node_count codes of `stride` bytes.
  void Restart(const GraphView& graph, Bytes codes, size_t stride, const QueryScorer& scorer);

  // Advances until closed at `width`, or until `max_seen` nodes have been seen in all (the last list followed
  // may bring up to 2m more). kCorruption if a link or offset is out of range. A width smaller than before
  // does nothing. What was newly seen and is nearer than nodes that TakeNext gave goes to `nearer`.
  Status Advance(size_t width, size_t max_seen, std::vector<SeenNode>* nearer);

  // Appends the nearest `count` nodes that were neither given out by it nor went to `nearer`, in order.
  void TakeNext(size_t count, std::vector<SeenNode>* out);
  // Whether there are any, and a distance that none of them is nearer than.
  bool has_more() const;
  float distance_of_more() const;  // REQUIRES: has_more()

  // Whether a node counts towards a width. REQUIRES: it was given out.
  bool Counts(uint32_t node) const;

  // Of all codes scored so far.
  const CodeExtremes& extremes() const;
  // Every node that can be reached has been expanded.
  bool exhausted() const;
  size_t seen_count() const;
  // Distances computed so far, upper levels included.
  uint64_t distance_count() const;
  // What is in use: memory kept from an earlier search does not count.
  size_t memory_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vecckpt
