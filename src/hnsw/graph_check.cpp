// See graph_check.hpp. The walk is breadth first over three bit sets, because a list of the nodes still to be
// visited could take 32 times the memory.

#include "hnsw/graph_check.hpp"

#include <bit>
#include <utility>
#include <vector>

namespace vecckpt {

namespace {

constexpr size_t kCancelInterval = 4096;  // words of a bit set between looks at the cancel flag

class NodeBits {
 public:
  explicit NodeBits(uint32_t count) : words_((size_t{count} + 63) / 64) {}
  bool Has(uint32_t node) const { return words_[node / 64] >> (node % 64) & 1; }
  void Add(uint32_t node) { words_[node / 64] |= uint64_t{1} << (node % 64); }
  std::vector<uint64_t>& words() { return words_; }

 private:
  std::vector<uint64_t> words_;
};

bool CancelSeen(const std::atomic<bool>* cancel, size_t step) {
  return step % kCancelInterval == 0 && cancel != nullptr && cancel->load(std::memory_order_relaxed);
}

// Adds to `reached` every node that level 0 leads to from the entry point.
Status Reach(const GraphView& graph, const std::atomic<bool>* cancel, NodeBits* reached) {
  const size_t length = size_t{graph.m} * 2;
  if (graph.entry_node >= graph.node_count) return Status::Ok();
  NodeBits now(graph.node_count);
  NodeBits next(graph.node_count);
  reached->Add(graph.entry_node);
  now.Add(graph.entry_node);
  for (bool more = true; more; std::swap(now, next)) {
    more = false;
    for (size_t word = 0; word < now.words().size(); ++word) {
      if (CancelSeen(cancel, word)) return Status::Cancelled();
      // The word is emptied: `now` is the next but one.
      for (uint64_t bits = std::exchange(now.words()[word], 0); bits != 0; bits &= bits - 1) {
        const size_t node = word * 64 + static_cast<size_t>(std::countr_zero(bits));
        for (const uint32_t link : graph.links0.subspan(node * length, length)) {
          if (link == kNoNode) break;
          if (link >= graph.node_count || reached->Has(link)) continue;
          reached->Add(link);
          next.Add(link);
          more = true;
        }
      }
    }
  }
  return Status::Ok();
}

}  // namespace

Status CheckGraph(const GraphView& graph, std::span<const uint32_t> orphans, const std::atomic<bool>* cancel,
                  GraphDefects* defects) {
  *defects = GraphDefects();
  NodeBits known(graph.node_count);
  VECCKPT_RETURN_IF_ERROR(Reach(graph, cancel, &known));
  for (const uint32_t node : orphans) {
    if (node < graph.node_count) known.Add(node);
  }
  for (uint32_t node = 0; node < graph.node_count; ++node) {
    if (known.Has(node)) continue;
    if (defects->unreachable++ == 0) defects->first_unreachable = node;
  }
  return Status::Ok();
}

}  // namespace vecckpt
