// Every rule works on runs of idle neighbours, computed once a call. The number of
// segments is small, so plain loops over them do.

#include "index/policy.hpp"

#include <algorithm>
#include <limits>
#include <optional>

#include "hnsw/graph_builder.hpp"
#include "hnsw/node_key.hpp"

namespace vecckpt {

namespace {

// Bytes of the table of distinct codes: 8 / 0.7 a node for its slots, 8 for the first ordinal, 8 for the
// seed, 4 for the list of further ordinals; 12 for each of these.
constexpr uint64_t kTableBytesPerNode = 32;
constexpr uint64_t kTableBytesPerCopy = 12;

uint64_t Live(const PolicySegment& segment) {
  return segment.entries - std::min(segment.entries, segment.dead);
}

bool IsGraph(const PolicySegment& segment) {
  return segment.kind == SegmentKind::kGraph;
}

// More flat segments than this, and merging has fallen behind.
constexpr uint64_t kManyFlats = 8;

// What a set of inputs amounts to.
struct Sum {
  uint64_t live = 0;
  uint64_t entries = 0;
  uint64_t nodes = 0;

  void Add(const PolicySegment& segment) {
    live += Live(segment);
    entries += segment.entries;
    nodes += segment.nodes;
  }
};

// First and one past the last index into the segments.
struct Window {
  size_t begin = 0;
  size_t end = 0;
  size_t size() const { return end - begin; }
};

class Planner {
 public:
  explicit Planner(const PolicyInput& input);
  std::vector<PlannedJob> Plan();

 private:
  bool Adjacent(size_t left, size_t right) const;
  // Segments `index` and `index + 1` are idle neighbours.
  bool Joined(size_t index) const {
    return index + 1 < segments_.size() && joined_[index] && !busy_[index] && !busy_[index + 1];
  }
  bool Fits(const Sum& sum) const {
    if (sum.nodes > kMostKeyedNodes || sum.entries > kMaxEntries) return false;
    if (input_.memory_limit == 0) return true;
    return GraphJobMemory(sum.nodes, sum.entries, input_.m, input_.threads) <= input_.memory_limit;
  }
  static bool WorthAGraph(const Sum& sum) { return std::min(sum.live, sum.nodes) >= kGraphEntries; }

  void PlanSeal();
  bool PlanRebuild();
  bool PlanAbsorb();
  bool PlanBuild();
  void PlanMerge();
  std::optional<Window> AbsorbWindow(size_t base) const;
  void StartGraph(Window window, bool keep_base_graph) {
    Start(JobKind::kGraph, window, true, keep_base_graph);
  }
  void Start(JobKind kind, Window window, bool large, bool keep_base_graph);

  uint64_t FlatCount() const {
    return static_cast<uint64_t>(
        std::count_if(segments_.begin(), segments_.end(), [](const auto& s) { return !IsGraph(s); }));
  }

  static constexpr uint64_t kMaxEntries = std::numeric_limits<uint32_t>::max() - 1;

  const PolicyInput& input_;
  const std::vector<PolicySegment>& segments_;
  std::vector<bool> joined_;  // neighbours, busy or not
  std::vector<bool> busy_;
  bool large_running_;
  std::vector<PlannedJob> jobs_;
};

Planner::Planner(const PolicyInput& input)
    : input_(input), segments_(input.segments), large_running_(input.large_running) {
  joined_.assign(segments_.size(), false);
  busy_.assign(segments_.size(), false);
  for (size_t i = 0; i < segments_.size(); ++i) {
    busy_[i] = segments_[i].busy;
    if (i + 1 < segments_.size()) joined_[i] = Adjacent(i, i + 1);
  }
}

bool Planner::Adjacent(size_t left, size_t right) const {
  uint64_t covered_to = segments_[left].range.end;
  const uint64_t gap_end = segments_[right].range.begin;
  for (const PolicyRange& gap : input_.uncovered) {
    if (gap.range.end <= covered_to || gap.range.begin >= gap_end) continue;
    if (gap.entries > 0) return false;
    if (gap.range.begin <= covered_to) covered_to = gap.range.end;
  }
  // Positions that are nobody's may be what the running seal reads.
  return covered_to >= gap_end || !input_.seal_running;
}

void Planner::Start(JobKind kind, Window window, bool large, bool keep_base_graph) {
  PlannedJob job;
  job.kind = kind;
  job.large = large;
  job.keep_base_graph = keep_base_graph;
  for (size_t i = window.begin; i < window.end; ++i) {
    job.segments.push_back(segments_[i].id);
    busy_[i] = true;
  }
  jobs_.push_back(std::move(job));
}

void Planner::PlanSeal() {
  uint64_t least = 1;
  if (!input_.seal_all) {
    // Merges that fall behind are helped by fewer and larger seals.
    const uint64_t pressure = std::max<uint64_t>(1, FlatCount() / kManyFlats);
    least = std::min(kSealEntries * pressure * pressure, kGraphEntries);
  }
  const PolicyRange* best = nullptr;
  for (const PolicyRange& gap : input_.uncovered) {
    if (gap.entries < least) continue;
    if (best == nullptr || gap.entries > best->entries) best = &gap;
  }
  if (best == nullptr) return;

  uint64_t stride = input_.stride;
  if (stride == 0) {
    for (const PolicySegment& segment : segments_) stride = std::max(stride, segment.stride);
  }
  uint64_t most = kSealPositions;
  if (stride > 0) most = std::min(most, std::max(kSealBytes / stride, kSealEntries));
  PlannedJob job;
  job.kind = JobKind::kSeal;
  job.range = best->range;
  if (job.range.end - job.range.begin > most) job.range.end = job.range.begin + most;
  jobs_.push_back(std::move(job));
}

bool Planner::PlanRebuild() {
  for (size_t i = 0; i < segments_.size(); ++i) {
    const PolicySegment& segment = segments_[i];
    if (busy_[i] || !IsGraph(segment)) continue;
    // Nodes that an absorb left without entries are as dead as entries.
    const uint64_t live = Live(segment);
    const uint64_t all = std::max(segment.entries, segment.nodes);
    if (all - live <= all / 4) continue;
    if (!Fits({live, live, std::min(segment.nodes, live)})) continue;
    StartGraph({i, i + 1}, false);
    return true;
  }
  return false;
}

// What `base` would take in; nothing if that is not worth it.
std::optional<Window> Planner::AbsorbWindow(size_t base) const {
  const uint64_t base_live = Live(segments_[base]);
  Window window{base, base + 1};
  Sum sum;
  sum.Add(segments_[base]);
  auto take = [&](size_t index) {
    if (Live(segments_[index]) > base_live) return false;
    Sum with = sum;
    with.Add(segments_[index]);
    if (!Fits(with)) return false;
    sum = with;
    return true;
  };
  while (Joined(window.end - 1) && take(window.end)) ++window.end;
  while (window.begin > 0 && Joined(window.begin - 1) && take(window.begin - 1)) --window.begin;
  if (window.size() == 1 || (sum.live - base_live) * 8 < base_live) return std::nullopt;
  return window;
}

bool Planner::PlanAbsorb() {
  for (size_t i = 0; i < segments_.size(); ++i) {
    if (busy_[i] || !IsGraph(segments_[i])) continue;
    if (std::optional<Window> window = AbsorbWindow(i)) {
      StartGraph(*window, true);
      return true;
    }
  }
  return false;
}

bool Planner::PlanBuild() {
  for (size_t begin = 0; begin < segments_.size(); ++begin) {
    Sum sum;
    for (size_t i = begin; i < segments_.size() && !busy_[i] && !IsGraph(segments_[i]); ++i) {
      if (i > begin && !Joined(i - 1)) break;
      Sum with = sum;
      with.Add(segments_[i]);
      if (!Fits(with)) break;
      sum = with;
      const bool last = !Joined(i) || IsGraph(segments_[i + 1]) || [&] {
        Sum next = sum;
        next.Add(segments_[i + 1]);
        return !Fits(next);
      }();
      if (last && WorthAGraph(sum)) {
        StartGraph({begin, i + 1}, false);
        return true;
      }
    }
  }
  return false;
}

// Of all windows that may be merged, the one that costs the fewest rewritten entries for each segment it
// saves. Equal sizes are thereby merged kMergeFan at a time.
void Planner::PlanMerge() {
  const uint64_t graph_nodes = MaxGraphNodes(input_.memory_limit, input_.m, input_.threads);
  std::optional<Window> best;
  double best_cost = 0;
  bool best_large = false;
  for (size_t begin = 0; begin < segments_.size(); ++begin) {
    Sum sum;
    uint64_t largest = 0;
    for (size_t i = begin; i < segments_.size() && !busy_[i] && !IsGraph(segments_[i]); ++i) {
      if (i > begin && !Joined(i - 1)) break;
      sum.Add(segments_[i]);
      if (sum.entries > kMaxEntries) break;
      // Where not even the smallest graph fits, all segments stay flat and size does not matter.
      const bool graphs_fit = graph_nodes >= kGraphEntries;
      if (graphs_fit && sum.nodes > graph_nodes) break;
      largest = std::max(largest, Live(segments_[i]));
      const size_t count = i + 1 - begin;
      if (count < kMergeFan || largest > sum.live - largest) continue;
      const bool large = sum.entries > kSmallMergeEntries;
      if (large ? large_running_ : input_.merge_running) continue;
      const double cost = static_cast<double>(sum.entries) / static_cast<double>(count - 1);
      if (!best || cost < best_cost) {
        best = Window{begin, i + 1};
        best_large = large;
        best_cost = cost;
      }
    }
  }
  if (best) Start(JobKind::kMerge, *best, best_large, false);
}

std::vector<PlannedJob> Planner::Plan() {
  if (!input_.seal_running) PlanSeal();
  if (!large_running_) large_running_ = PlanRebuild() || PlanAbsorb() || PlanBuild();
  PlanMerge();
  return std::move(jobs_);
}

}  // namespace

PolicySegment PolicyViewOf(const Segment& segment) {
  PolicySegment view;
  view.id = segment.id();
  view.kind = segment.kind();
  view.range = segment.range();
  view.nodes = segment.node_count();
  view.entries = segment.entry_count();
  view.stride = segment.header().stride;
  return view;
}

std::vector<PolicyRange> UncoveredRanges(const std::vector<PositionRange>& covered, PositionRange log) {
  std::vector<PolicyRange> uncovered;
  uint64_t position = log.begin;
  const auto add = [&](uint64_t end) {
    end = std::min(end, log.end);
    if (position < end) uncovered.push_back({{position, end}, end - position});
  };
  for (const PositionRange& range : covered) {
    add(range.begin);
    position = std::max(position, range.end);
  }
  add(log.end);
  return uncovered;
}

std::vector<PlannedJob> PlanJobs(const PolicyInput& input) {
  return Planner(input).Plan();
}

uint64_t GraphJobMemory(uint64_t nodes, uint64_t entries, uint32_t m, uint32_t threads) {
  const uint64_t copies = entries - std::min(entries, nodes);
  return GraphBuilder::MemoryNeeded(nodes, m, threads) + nodes * kTableBytesPerNode +
         copies * kTableBytesPerCopy;
}

uint64_t MaxGraphNodes(uint64_t memory_limit, uint32_t m, uint32_t threads) {
  uint64_t most = kMostKeyedNodes;
  if (memory_limit == 0) return most;
  uint64_t fits = 0;  // known to fit, unless 0
  while (fits < most) {
    const uint64_t middle = fits + (most - fits + 1) / 2;
    if (GraphJobMemory(middle, middle, m, threads) <= memory_limit) {
      fits = middle;
    } else {
      most = middle - 1;
    }
  }
  return fits;
}

}  // namespace vecckpt
