// The absorb policy: single rules, and a simulation of a whole life.

#include "index/policy.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "hnsw/node_key.hpp"

namespace vecckpt {
namespace {

constexpr uint64_t kStride = 3072;  // 768 dimensions

PolicySegment Flat(uint64_t id, uint64_t begin, uint64_t entries) {
  return {id, SegmentKind::kFlat, {begin, begin + entries}, entries, entries, 0, kStride, false};
}

PolicySegment Graph(uint64_t id, uint64_t begin, uint64_t entries) {
  PolicySegment segment = Flat(id, begin, entries);
  segment.kind = SegmentKind::kGraph;
  return segment;
}

using Ids = std::vector<uint64_t>;

TEST(PolicyTest, NothingToDo) {
  EXPECT_TRUE(PlanJobs({}).empty());
  PolicyInput input;
  input.segments = {Graph(1, 0, 100000), Flat(2, 100000, 300)};
  input.uncovered = {{{100300, 100400}, kSealEntries - 1}};
  EXPECT_TRUE(PlanJobs(input).empty());
}

std::vector<PositionRange> Uncovered(const std::vector<PositionRange>& covered, PositionRange log) {
  std::vector<PositionRange> ranges;
  for (const PolicyRange& range : UncoveredRanges(covered, log)) {
    EXPECT_EQ(range.entries, range.range.end - range.range.begin);
    ranges.push_back(range.range);
  }
  return ranges;
}

TEST(PolicyTest, UncoveredRanges) {
  using Ranges = std::vector<PositionRange>;
  EXPECT_EQ(Uncovered({}, {0, 0}), Ranges());
  EXPECT_EQ(Uncovered({}, {3, 7}), Ranges({{3, 7}}));
  EXPECT_EQ(Uncovered({{0, 10}}, {0, 10}), Ranges());
  EXPECT_EQ(Uncovered({{0, 10}, {10, 20}}, {0, 25}), Ranges({{20, 25}}));
  EXPECT_EQ(Uncovered({{5, 10}, {15, 20}}, {0, 25}), Ranges({{0, 5}, {10, 15}, {20, 25}}));
  // The log's beginning was freed; its end is older than a segment.
  EXPECT_EQ(Uncovered({{5, 10}, {15, 20}}, {8, 18}), Ranges({{10, 15}}));
  EXPECT_EQ(Uncovered({{5, 10}, {15, 20}}, {12, 14}), Ranges({{12, 14}}));
  EXPECT_EQ(Uncovered({{5, 10}}, {20, 25}), Ranges({{20, 25}}));
  EXPECT_EQ(Uncovered({{30, 40}}, {20, 25}), Ranges({{20, 25}}));
}

TEST(PolicyTest, SealsTheLongestRangeWithinTheCap) {
  PolicyInput input;
  input.stride = 64;
  input.uncovered = {{{0, 400}, 300}, {{1000, 201000}, 200000}, {{300000, 300300}, 300}};
  std::vector<PlannedJob> jobs = PlanJobs(input);
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].kind, JobKind::kSeal);
  EXPECT_EQ(jobs[0].range, (PositionRange{1000, 1000 + kSealPositions}));

  input.stride = 64000;
  jobs = PlanJobs(input);
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].range, (PositionRange{1000, 1000 + kSealBytes / 64000}));

  input.seal_running = true;
  EXPECT_TRUE(PlanJobs(input).empty());
}

TEST(PolicyTest, SealAllTakesAnythingButTheEmpty) {
  PolicyInput input;
  input.seal_all = true;
  input.uncovered = {{{0, 100}, 0}, {{100, 200}, 1}};
  std::vector<PlannedJob> jobs = PlanJobs(input);
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].range, (PositionRange{100, 200}));
  input.uncovered.pop_back();
  EXPECT_TRUE(PlanJobs(input).empty());
}

TEST(PolicyTest, RebuildsTheDead) {
  PolicyInput input;
  input.segments = {Graph(1, 0, 20000), Graph(2, 20000, 1000)};
  input.segments[0].dead = 1000;
  input.segments[1].dead = 250;
  EXPECT_TRUE(PlanJobs(input).empty());
  input.segments[1].dead = 251;
  std::vector<PlannedJob> jobs = PlanJobs(input);
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].kind, JobKind::kGraph);
  EXPECT_EQ(jobs[0].segments, Ids{2});
  EXPECT_FALSE(jobs[0].keep_base_graph);
}

TEST(PolicyTest, RebuildsWhereNodesHaveNoEntries) {
  PolicyInput input;
  input.segments = {Graph(1, 0, 20000)};
  input.segments[0].entries = 15000;
  EXPECT_TRUE(PlanJobs(input).empty());
  input.segments[0].dead = 1;
  std::vector<PlannedJob> jobs = PlanJobs(input);
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].segments, Ids{1});
  EXPECT_FALSE(jobs[0].keep_base_graph);
}

TEST(PolicyTest, AbsorbsAnEighth) {
  PolicyInput input;
  input.segments = {Graph(1, 0, 80000), Graph(2, 80000, 9000), Flat(3, 89000, 999)};
  EXPECT_TRUE(PlanJobs(input).empty());
  input.segments[2] = Flat(3, 89000, 1000);
  std::vector<PlannedJob> jobs = PlanJobs(input);
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].segments, (Ids{1, 2, 3}));
  EXPECT_TRUE(jobs[0].keep_base_graph);
  input.large_running = true;
  EXPECT_TRUE(PlanJobs(input).empty());
}

// An emptied or small segment before a large one would otherwise stay for ever.
TEST(PolicyTest, AbsorbsOlderOnesToo) {
  PolicyInput input;
  input.segments = {Graph(1, 0, 5000), Graph(2, 5000, 80000), Flat(3, 85000, 6000)};
  input.segments[0].dead = 0;
  std::vector<PlannedJob> jobs = PlanJobs(input);
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].segments, (Ids{1, 2, 3}));
}

TEST(PolicyTest, BusyAndGapsSeparate) {
  PolicyInput input;
  input.segments = {Graph(1, 0, 8000), Flat(2, 8000, 500), Flat(3, 8500, 500)};
  ASSERT_EQ(PlanJobs(input).size(), 1u);
  input.segments[1].busy = true;
  EXPECT_TRUE(PlanJobs(input).empty());

  // Uncovered entries between them; then only freed positions; then positions a seal may be reading.
  input.segments = {Graph(1, 0, 8000), Flat(2, 9000, 1000)};
  input.uncovered = {{{8000, 9000}, 100}};
  EXPECT_TRUE(PlanJobs(input).empty());
  input.uncovered = {{{8000, 9000}, 0}};
  EXPECT_EQ(PlanJobs(input).size(), 1u);
  input.seal_running = true;
  EXPECT_EQ(PlanJobs(input).size(), 1u);
  input.uncovered = {{{8000, 8400}, 0}};
  EXPECT_TRUE(PlanJobs(input).empty());
}

TEST(PolicyTest, FlatSegmentsAcrossGapsStayApart) {
  PolicyInput input;
  input.seal_running = true;
  for (uint64_t i = 0; i < 4; ++i) input.segments.push_back(Flat(i + 1, i * 10000, 2500));
  EXPECT_EQ(PlanJobs(input).size(), 0u);
  input.seal_running = false;
  for (uint64_t i = 0; i < 3; ++i) input.uncovered.push_back({{i * 10000 + 2500, i * 10000 + 10000}, 10});
  EXPECT_EQ(PlanJobs(input).size(), 0u);
  input.large_running = true;
  EXPECT_EQ(PlanJobs(input).size(), 0u);
  for (PolicyRange& gap : input.uncovered) gap.entries = 0;
  std::vector<PlannedJob> jobs = PlanJobs(input);
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].kind, JobKind::kMerge);
  EXPECT_FALSE(jobs[0].large);
  input.large_running = false;
  jobs = PlanJobs(input);
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].kind, JobKind::kGraph);
  EXPECT_TRUE(jobs[0].large);
}

TEST(PolicyTest, BuildsFromFlatSegments) {
  PolicyInput input;
  input.merge_running = true;
  input.segments = {Flat(1, 0, 3000), Flat(2, 3000, 1095)};
  EXPECT_TRUE(PlanJobs(input).empty());
  input.segments[1] = Flat(2, 3000, 1096);
  std::vector<PlannedJob> jobs = PlanJobs(input);
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].kind, JobKind::kGraph);
  EXPECT_EQ(jobs[0].segments, (Ids{1, 2}));
  EXPECT_FALSE(jobs[0].keep_base_graph);
  // Copies of few vectors are few nodes.
  input.segments[0].nodes = 10;
  EXPECT_TRUE(PlanJobs(input).empty());
}

TEST(PolicyTest, MergesLikeSizes) {
  PolicyInput input;
  input.segments = {Flat(1, 0, 1024), Flat(2, 1024, 256), Flat(3, 1280, 256), Flat(4, 1536, 256)};
  EXPECT_TRUE(PlanJobs(input).empty());
  input.segments.push_back(Flat(5, 1792, 256));
  std::vector<PlannedJob> jobs = PlanJobs(input);
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].kind, JobKind::kMerge);
  EXPECT_EQ(jobs[0].segments, (Ids{2, 3, 4, 5}));
  input.merge_running = true;
  EXPECT_TRUE(PlanJobs(input).empty());
}

TEST(PolicyTest, NoGraphIsLargerThanSearchesFollow) {
  EXPECT_EQ(MaxGraphNodes(0, 16, 1), kMostKeyedNodes);
  PolicyInput input;
  input.segments = {Flat(1, 0, kMostKeyedNodes / 2), Flat(2, kMostKeyedNodes / 2, kMostKeyedNodes / 2)};
  std::vector<PlannedJob> jobs = PlanJobs(input);
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].segments, (Ids{1, 2}));
  input.segments[1] = Flat(2, kMostKeyedNodes / 2, kMostKeyedNodes / 2 + 1);
  jobs = PlanJobs(input);
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].segments, Ids{1});
}

TEST(PolicyTest, MemoryLimitDividesTheWork) {
  PolicyInput input;
  input.memory_limit = GraphJobMemory(10000, 10000, 16, 1);
  EXPECT_EQ(MaxGraphNodes(input.memory_limit, 16, 1), 10000u);

  // Five flats of 6,000 in a limit of 10,000: one graph each, and none takes another in.
  for (uint64_t i = 0; i < 5; ++i) input.segments.push_back(Flat(i + 1, i * 6000, 6000));
  for (uint64_t i = 0; i < 5; ++i) {
    std::vector<PlannedJob> jobs = PlanJobs(input);
    ASSERT_EQ(jobs.size(), 1u) << i;
    EXPECT_EQ(jobs[0].segments, Ids{i + 1});
    input.segments[i].kind = SegmentKind::kGraph;
  }
  EXPECT_TRUE(PlanJobs(input).empty());
}

// A life of an index: entries arrive at a rate, jobs take time in proportion to their work.
class Simulation {
 public:
  struct Options {
    uint64_t entries = 1000000;
    double rate = 2000;        // entries a second
    uint64_t live_window = 0;  // entries older than this many are dead, 0: none
    uint64_t memory_limit = 0;
    double insertions = 4700;  // graph nodes inserted a second
  };
  struct Outcome {
    size_t graphs = 0;  // most at any time
    size_t flats = 0;
    uint64_t tail = 0;
    double inserted = 0;   // graph insertions an entry
    double rewritten = 0;  // entries written to a file an entry
  };

  explicit Simulation(const Options& options) : options_(options) {}

  Outcome Run() {
    const double step = 0.01;
    double arrived = 0;
    while (log_end_ < options_.entries) {
      now_ += step;
      arrived += step * options_.rate;
      log_end_ = std::min(options_.entries, static_cast<uint64_t>(arrived));
      Tick();
    }
    // What is still running ends, and nothing is left to do.
    for (int idle = 0; idle < 1000000 && !(running_.empty() && Input().uncovered.empty()); ++idle) {
      now_ += step;
      seal_all_ = true;
      Tick();
    }
    EXPECT_TRUE(running_.empty());
    EXPECT_TRUE(PlanJobs(Input()).empty());
    CheckCoverage();
    outcome_.inserted /= static_cast<double>(log_end_);
    outcome_.rewritten /= static_cast<double>(log_end_);
    return outcome_;
  }

  const std::vector<PolicySegment>& segments() const { return segments_; }

 private:
  struct Running {
    PlannedJob job;
    PolicySegment result;
    double ends = 0;
  };

  uint64_t DeadBelow() const {
    if (options_.live_window == 0 || log_end_ < options_.live_window) return 0;
    return log_end_ - options_.live_window;
  }

  PolicyInput Input() {
    PolicyInput input;
    input.memory_limit = options_.memory_limit;
    input.stride = kStride;
    input.seal_all = seal_all_;
    const uint64_t dead_below = DeadBelow();
    uint64_t covered = 0;
    for (const PolicySegment& segment : segments_) {
      EXPECT_LE(covered, segment.range.begin);
      AddUncovered(&input, covered, segment.range.begin);
      covered = segment.range.end;
      PolicySegment seen = segment;
      // `first_live_` remembers what a rewrite has already left out.
      const uint64_t first = first_live_[segment.id];
      if (dead_below > first) seen.dead = std::min(seen.entries, dead_below - first);
      input.segments.push_back(seen);
    }
    AddUncovered(&input, covered, log_end_);
    for (const Running& running : running_) {
      input.seal_running |= running.job.kind == JobKind::kSeal;
      input.merge_running |= running.job.kind == JobKind::kMerge && !running.job.large;
      input.large_running |= running.job.large;
    }
    return input;
  }

  void AddUncovered(PolicyInput* input, uint64_t begin, uint64_t end) {
    for (const Running& running : running_) {
      if (running.job.kind != JobKind::kSeal) continue;
      if (running.job.range.begin >= begin && running.job.range.begin < end) {
        EXPECT_LE(running.job.range.end, end);
        AddRange(input, begin, running.job.range.begin);
        begin = running.job.range.end;
      }
    }
    AddRange(input, begin, end);
  }

  static void AddRange(PolicyInput* input, uint64_t begin, uint64_t end) {
    if (begin < end) input->uncovered.push_back({{begin, end}, end - begin});
  }

  void Tick() {
    for (size_t i = 0; i < running_.size();) {
      if (running_[i].ends > now_) {
        ++i;
        continue;
      }
      Publish(running_[i]);
      running_.erase(running_.begin() + static_cast<long>(i));
    }
    PolicyInput input = Input();
    uint64_t tail = 0;
    for (const PolicyRange& range : input.uncovered) tail += range.entries;
    outcome_.tail = std::max(outcome_.tail, tail);
    for (PlannedJob& job : PlanJobs(input)) StartJob(input, std::move(job));
    size_t graphs = 0;
    for (const PolicySegment& segment : segments_) graphs += segment.kind == SegmentKind::kGraph;
    outcome_.graphs = std::max(outcome_.graphs, graphs);
    outcome_.flats = std::max(outcome_.flats, segments_.size() - graphs);
  }

  void StartJob(const PolicyInput& input, PlannedJob job) {
    for (const Running& running : running_) {
      EXPECT_FALSE(running.job.kind == job.kind && running.job.large == job.large);
      EXPECT_FALSE(running.job.large && job.large);
    }
    Running running;
    running.result.id = ++last_id_;
    running.result.stride = kStride;
    uint64_t live = 0;
    uint64_t inserted = 0;
    if (job.kind == JobKind::kSeal) {
      EXPECT_LE(job.range.end, log_end_);
      live = job.range.end - job.range.begin;
      running.result.range = job.range;
      first_live_[running.result.id] = job.range.begin;
    } else {
      EXPECT_FALSE(job.segments.empty());
      uint64_t base_live = 0;
      for (size_t i = 0; i < job.segments.size(); ++i) {
        const size_t at = Find(job.segments[i]);
        ASSERT_LT(at, segments_.size());
        EXPECT_FALSE(segments_[at].busy);
        segments_[at].busy = true;
        if (i > 0) {
          EXPECT_EQ(segments_[at - 1].id, job.segments[i - 1]);
          EXPECT_EQ(segments_[at - 1].range.end, segments_[at].range.begin);
        }
        const uint64_t kept = input.segments[at].entries - input.segments[at].dead;
        live += kept;
        if (job.keep_base_graph && segments_[at].kind == SegmentKind::kGraph) {
          base_live = std::max(base_live, kept);
        }
        EXPECT_TRUE(job.kind != JobKind::kMerge || segments_[at].kind == SegmentKind::kFlat);
      }
      running.result.range.begin = segments_[Find(job.segments.front())].range.begin;
      running.result.range.end = segments_[Find(job.segments.back())].range.end;
      first_live_[running.result.id] = std::max(DeadBelow(), first_live_[job.segments.front()]);
      if (job.kind == JobKind::kGraph) {
        inserted = live - base_live;
        running.result.kind = SegmentKind::kGraph;
        if (options_.memory_limit > 0) {
          EXPECT_LE(GraphJobMemory(live, live, 16, 1), options_.memory_limit);
        }
      }
    }
    running.result.entries = running.result.nodes = live;
    const double entries = static_cast<double>(live);
    const double insertions = static_cast<double>(inserted);
    outcome_.rewritten += entries;
    outcome_.inserted += insertions;
    running.ends = now_ + 0.005 + entries * 10e-6 + insertions / options_.insertions;
    running.job = std::move(job);
    running_.push_back(std::move(running));
  }

  size_t Find(uint64_t id) const {
    size_t at = 0;
    while (at < segments_.size() && segments_[at].id != id) ++at;
    return at;
  }

  void Publish(const Running& running) {
    for (uint64_t id : running.job.segments) segments_.erase(segments_.begin() + static_cast<long>(Find(id)));
    auto at = std::find_if(segments_.begin(), segments_.end(), [&](const PolicySegment& segment) {
      return segment.range.begin >= running.result.range.end;
    });
    segments_.insert(at, running.result);
  }

  void CheckCoverage() const {
    uint64_t covered = 0;
    for (const PolicySegment& segment : segments_) {
      EXPECT_EQ(segment.range.begin, covered);
      covered = segment.range.end;
    }
    EXPECT_EQ(covered, log_end_);
  }

  Options options_;
  Outcome outcome_;
  std::vector<PolicySegment> segments_;
  std::vector<Running> running_;
  std::map<uint64_t, uint64_t> first_live_;
  uint64_t log_end_ = 0;
  uint64_t last_id_ = 0;
  double now_ = 0;
  bool seal_all_ = false;
};

// Bounds are what was measured, with some room.
void ExpectWithin(const Simulation::Outcome& outcome, const Simulation::Outcome& bound) {
  EXPECT_LE(outcome.graphs, bound.graphs);
  EXPECT_LE(outcome.flats, bound.flats);
  EXPECT_LE(outcome.tail, bound.tail);
  EXPECT_LE(outcome.inserted, bound.inserted);
  EXPECT_LE(outcome.rewritten, bound.rewritten);
}

TEST(PolicySimulationTest, SteadyInserts) {
  Simulation simulation({});
  ExpectWithin(simulation.Run(), {.graphs = 4, .flats = 16, .tail = 2000, .inserted = 2.5, .rewritten = 18});
}

TEST(PolicySimulationTest, SlowInserts) {
  Simulation simulation({.rate = 500});
  ExpectWithin(simulation.Run(), {.graphs = 4, .flats = 12, .tail = 2000, .inserted = 3, .rewritten = 23});
}

// Four times as fast as nodes can be inserted: the backlog waits in flat segments, not in the tail.
TEST(PolicySimulationTest, FastInserts) {
  Simulation simulation({.rate = 20000});
  ExpectWithin(simulation.Run(), {.graphs = 4, .flats = 56, .tail = 6000, .inserted = 2, .rewritten = 8});
}

// Old entries die as new ones arrive: emptied segments must not pile up.
TEST(PolicySimulationTest, Queue) {
  Simulation simulation({.rate = 1000, .live_window = 50000});
  ExpectWithin(simulation.Run(), {.graphs = 3, .flats = 9, .tail = 2000, .inserted = 2.5, .rewritten = 16});
  uint64_t entries = 0;
  for (const PolicySegment& segment : simulation.segments()) entries += segment.entries;
  EXPECT_LE(entries, 50000u * 3 / 2);
}

TEST(PolicySimulationTest, LittleMemory) {
  Simulation simulation({.memory_limit = GraphJobMemory(100000, 100000, 16, 1)});
  ExpectWithin(simulation.Run(), {.graphs = 14, .flats = 12, .tail = 2000, .inserted = 2, .rewritten = 15});
}

TEST(PolicySimulationTest, NoMemoryForAnyGraph) {
  Simulation simulation({.memory_limit = 1});
  ExpectWithin(simulation.Run(), {.graphs = 0, .flats = 16, .tail = 2000, .inserted = 0, .rewritten = 13});
}

}  // namespace
}  // namespace vecckpt
