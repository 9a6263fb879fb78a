// The nodes of a segment that is being written: distinct codes, and which ordinals belong to each.
//
// Codes go straight into the codes section of the writer. What stays in memory is, a node, a slot of 8 bytes
// in a hash table that is at most 70 % full and the node's first ordinal; further ordinals of a node form a
// ring. So memory does not grow with dims: an earlier code is read back, to compare it with a new one of
// equal hash, from a mapping of the file, and only the latest few megabytes of codes are kept besides.
//
// Thread safety: one thread at a time.

#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/bytes.hpp"
#include "base/status.hpp"
#include "os/mapping.hpp"
#include "segment/segment_writer.hpp"

namespace vecckpt {

class NodeTable {
 public:
  static constexpr uint64_t kNoOrdinal = ~uint64_t{0};

  // REQUIRES: `writer` outlives the table and has begun its codes section; until FinishCodes nobody else
  // writes to it.
  NodeTable(SegmentWriter* writer, size_t stride) : writer_(writer), stride_(stride) {}

  // Makes room for this many nodes in all.
  void Reserve(uint64_t nodes);

  // A new node of this code, in any case: for nodes that keep their number.
  Result<uint32_t> Add(const std::byte* code);
  // The node of this code, a new one if there is none.
  Result<uint32_t> FindOrAdd(const std::byte* code);
  Status AddOrdinal(uint32_t node, uint64_t ordinal);
  // Takes out ordinals for which `gone(ordinal)` is true. Nodes stay.
  template <typename Predicate>
  void RemoveOrdinals(Predicate gone);

  // No codes come any more: what only FindOrAdd needs is freed, and codes() can be used.
  Status FinishCodes();
  // All codes. REQUIRES: FinishCodes returned ok. Valid as long as the table.
  Bytes codes() const;
  // kIoError if a page of the codes could not be read back.
  Status CheckReadable() const;

  // Writes the entries section. kCancelled when `cancel` (may be null) is seen.
  Status WriteEntries(const std::atomic<bool>* cancel);
  // How many nodes have no ordinal.
  uint32_t CountEmpty() const;

  uint32_t node_count() const { return static_cast<uint32_t>(first_ordinals_.size()); }
  uint64_t entry_count() const { return entry_count_; }
  // One of the node's ordinals, kNoOrdinal if it has none.
  uint64_t AnyOrdinal(uint32_t node) const;
  size_t memory_bytes() const;

 private:
  struct Slot {
    uint32_t hash;
    uint32_t node;  // kNoNode: free
  };

  Slot& FindSlot(uint32_t hash, const std::byte* code);
  void Rehash(uint64_t slots);
  Result<uint32_t> Append(const std::byte* code);
  const std::byte* CodeOf(uint32_t node) const;
  Status Remap();
  template <typename Function>
  void ForEachOrdinal(uint32_t node, Function function) const;

  SegmentWriter* writer_;
  size_t stride_;

  std::vector<Slot> slots_;
  Mapping mapping_;
  uint32_t mapped_nodes_ = 0;
  std::vector<std::byte> recent_codes_;  // of the nodes from mapped_nodes_ on

  std::vector<uint64_t> first_ordinals_;
  std::vector<uint32_t> last_further_;  // a node's last one in `further_*`, or kNoNode; empty until needed
  std::vector<uint64_t> further_ordinals_;
  std::vector<uint32_t> further_next_;  // the last one's next is the first
  uint64_t entry_count_ = 0;
};

template <typename Predicate>
void NodeTable::RemoveOrdinals(Predicate gone) {
  for (std::vector<uint64_t>* ordinals : {&first_ordinals_, &further_ordinals_}) {
    for (uint64_t& ordinal : *ordinals) {
      if (ordinal == kNoOrdinal || !gone(ordinal)) continue;
      ordinal = kNoOrdinal;
      --entry_count_;
    }
  }
}

}  // namespace vecckpt
