// A liveness bitmap of any bytes: Open gives a Status or bits enough for the nodes it was asked for. Such a
// bitmap may mislead a search, but every entry still comes, once, wherever the bits and counts are wrong.
//
// Each input is tried as it is, and as the bitmap of a segment of the seeds, with a header made right.

#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "fuzzing.hpp"
#include "hnsw/exact.hpp"
#include "index/merged_search.hpp"
#include "segment/liveness_bitmap.hpp"
#include "segment/segment.hpp"

namespace vecckpt {
namespace {

constexpr uint32_t kEfSearch = 12;
constexpr uint64_t kTailEntries = 3;

std::shared_ptr<const Segment> OpenGraph() {
  auto segment = Segment::Open(VECCKPT_FUZZ_SEEDS "/segment/graph_float");
  EXPECT(segment.ok());
  return std::move(*segment);
}

void SearchEverything(const std::shared_ptr<const Segment>& graph,
                      const std::shared_ptr<const LivenessBitmap>& liveness) {
  SearchOptions options;
  options.dims = graph->header().dims;
  options.metric = static_cast<Metric>(graph->header().metric);
  options.ef_search = kEfSearch;
  options.iterative = IterativeScan::kRelaxedOrder;
  options.max_scan_tuples = std::numeric_limits<uint64_t>::max();
  const std::vector<float> query(options.dims, 0.5f);
  MergedSearch search(options, query.data());
  EXPECT(search.AddSegment(graph, liveness).ok());
  for (uint64_t ordinal = 0; ordinal < kTailEntries; ++ordinal) search.AddExact(ordinal, 0, 0.5);
  search.Start();
  std::multiset<std::pair<uint64_t, uint64_t>> returned;
  for (;;) {
    const Result<MergedSearch::Step> step = search.Next();
    EXPECT(step.ok());
    EXPECT(step->action != MergedSearch::Action::kLimit);
    if (step->action == MergedSearch::Action::kDone) break;
    if (step->action == MergedSearch::Action::kRerank) {
      search.Resolve(static_cast<double>(step->ordinal));
    } else {
      returned.emplace(step->segment_id, step->ordinal);
    }
  }
  EXPECT(returned.size() == graph->entry_count() + kTailEntries);
  for (const auto& entry : returned) EXPECT(returned.count(entry) == 1);
}

void Check(std::vector<std::byte> bytes) {
  static const auto graph = OpenGraph();
  LivenessHeader header{};
  if (!bytes.empty()) std::memcpy(&header, bytes.data(), std::min(bytes.size(), sizeof(header)));
  const auto claimed = LivenessBitmap::Open(MemoryFile(bytes).path(), header.segment_id, header.node_count,
                                            std::numeric_limits<uint64_t>::max());
  if (claimed.ok()) {
    const auto words = (*claimed)->dead_nodes();
    EXPECT(words.size() * 64 >= header.node_count);
    // All of them can be read.
    EXPECT(std::count_if(words.begin(), words.end(), [](uint64_t word) { return word != 0; }) >= 0);
  }

  header.magic = kLivenessMagic;
  header.version = kLivenessVersion;
  header.segment_id = graph->id();
  header.node_count = graph->node_count();
  const size_t size = sizeof(header) + (size_t{header.node_count} + 63) / 64 * sizeof(uint64_t);
  bytes.resize(size);
  std::memcpy(bytes.data(), &header, sizeof(header));
  const auto liveness =
      LivenessBitmap::Open(MemoryFile(bytes).path(), graph->id(), graph->node_count(), graph->entry_count());
  EXPECT(liveness.ok() == (header.live_entries <= graph->entry_count()));
  if (liveness.ok()) SearchEverything(graph, *liveness);
}

}  // namespace
}  // namespace vecckpt

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  vecckpt::Check({bytes, bytes + size});
  return 0;
}
