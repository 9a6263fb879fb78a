// A read-only view of an HNSW graph as it lies in a segment file (or in memory, in tests).
//
// Level 0: `links0` holds 2m node ids a node, ended by kNoNode where the list is not full.
// Levels above: only some nodes have them; they are numbered by *rank* 0..upper_nodes.size()-1, and upper
// lists hold ranks, so that descending never looks anything up. The lists of rank r for levels 1, 2, ... are
// the lists number upper_offsets[r], upper_offsets[r] + 1, ... below upper_offsets[r + 1]; a list has m
// ranks, ended by kNoNode. An entry point of level 0 (no upper levels at all) is given by `entry_node`.
//
// The view trusts nothing: whoever follows a link or offset checks it against the sizes first.

#pragma once

#include <cstdint>
#include <span>

#include "hnsw/types.hpp"

namespace vecckpt {

struct GraphView {
  uint32_t node_count = 0;
  uint32_t m = 0;
  uint32_t entry_node = kNoNode;
  uint32_t entry_rank = kNoNode;  // rank of entry_node, or kNoNode when no node has upper levels
  uint32_t max_level = 0;
  std::span<const uint32_t> links0;         // node_count * 2m
  std::span<const uint32_t> upper_nodes;    // rank -> node
  std::span<const uint32_t> upper_offsets;  // rank -> first list; one more at the end
  std::span<const uint32_t> upper_links;    // lists * m ranks
  // Node n has entries unless entry_offsets[n] == entry_offsets[n + 1]; empty: every node has. Nodes without
  // are traversed only.
  std::span<const uint32_t> entry_offsets;
  // Bit n % 64 of word n / 64 is set: all entries of node n are known to be dead, and it is traversed only
  // too. Advice, which may be behind the log. Empty: none is known to be.
  std::span<const uint64_t> dead;
  // Codes and links may have to be read from the disk: they are asked for before they are looked at.
  bool cold = false;
  // Nodes that are scored apart from the graph: a search passes them by. Ascending.
  std::span<const uint32_t> orphans;
};

}  // namespace vecckpt
