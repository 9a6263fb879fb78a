// The jobs: what they keep, what they leave out, and what they leave behind when they fail.

#include "index/jobs.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <cstring>
#include <filesystem>
#include <numeric>
#include <set>
#include <thread>

#include "fake_log.hpp"
#include "index/policy.hpp"

namespace vecckpt {
namespace {

std::vector<size_t> Sequence(size_t begin, size_t end) {
  std::vector<size_t> positions(end - begin);
  std::iota(positions.begin(), positions.end(), begin);
  return positions;
}

// Everything alive but the positions for which `dead` is true.
template <typename Predicate>
std::shared_ptr<Liveness> LivenessWithout(const FakeLog& log, Predicate dead) {
  auto liveness = std::make_shared<Liveness>(FakeLog::kSlots);
  for (size_t begin = 0; begin < log.size(); begin += FakeLog::kSlots) {
    const size_t end = std::min(begin + FakeLog::kSlots, log.size());
    uint64_t bits = 0;
    for (size_t position = begin; position < end; ++position) {
      if (dead(position)) bits |= uint64_t{1} << (position - begin);
    }
    liveness->SetExtent(FakeLog::ExtentOfSequence(FakeLog::SequenceAt(begin)), FakeLog::SequenceAt(begin),
                        static_cast<uint32_t>(end - begin), {bits});
  }
  return liveness;
}

// Every entry lies at a node whose code is that of its vector, and every extent has its record.
void ExpectRightCodes(const FakeLog& log, const Segment& segment) {
  std::vector<std::byte> code(segment.codec().stride());
  for (uint32_t node = 0; node < segment.node_count(); ++node) {
    for (uint64_t ordinal : FakeLog::Ordinals(segment, node)) {
      const size_t position = FakeLog::PositionOf(ordinal);
      segment.codec().Encode(log.Vector(position), code.data());
      ASSERT_EQ(std::memcmp(code.data(), segment.code(node), code.size()), 0) << position;
      const ExtentRecord* record = segment.ExtentOf(ordinal);
      ASSERT_NE(record, nullptr);
      EXPECT_EQ(record->sequence, FakeLog::SequenceAt(position));
      EXPECT_EQ(record->running_hash, record->sequence * 1000);
    }
  }
}

size_t FileCount(const FakeLog& log) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(log.directory().path())) {
    ++count;
  }
  return count;
}

TEST(JobsTest, SealWritesEveryEntry) {
  FakeLog log(Metric::kL2, 10);
  log.AddRandom(300, 1);
  const auto segment = log.Seal(20, 300);
  EXPECT_EQ(segment->kind(), SegmentKind::kFlat);
  EXPECT_EQ(FakeLog::Positions(*segment), Sequence(20, 300));
  EXPECT_EQ(segment->node_count(), 280u);
  ExpectRightCodes(log, *segment);
  const SegmentHeader& header = segment->header();
  EXPECT_EQ(header.range, (PositionRange{20, 300}));
  EXPECT_EQ(header.end_hash, 900u);
  EXPECT_EQ(header.max_lsn, 1500u);
  EXPECT_EQ(header.identity, 77u);
  EXPECT_EQ(header.m, 8u);
  EXPECT_EQ(header.ef_construction, 40u);
  EXPECT_EQ(header.slots_per_extent, FakeLog::kSlots);
  EXPECT_EQ(FileCount(log), 1u);
}

TEST(JobsTest, EqualCodesShareANode) {
  FakeLog log(Metric::kCosine, 3);
  for (float scale : {1.0f, 2.0f, 4.0f, -1.0f}) {
    for (int i = 0; i < 3; ++i) log.Add(std::vector<float>{scale, scale * (1 + i), 0});
  }
  const auto segment = log.Seal(0, 12);
  EXPECT_EQ(segment->node_count(), 6u);
  EXPECT_EQ(FakeLog::Positions(*segment), Sequence(0, 12));
  ExpectRightCodes(log, *segment);
}

TEST(JobsTest, SealRefusesWrongShapes) {
  FakeLog log(Metric::kL2, 4);
  log.AddRandom(40, 2);
  JobContext context;
  SealInput input{log.Output(0, 40), log.Read(0, 40)};
  input.entries.vectors.pop_back();
  EXPECT_EQ(RunSeal(input, context).status().code(), StatusCode::kInvalidArgument);
  input.entries = log.Read(0, 40);
  input.entries.extents.pop_back();
  EXPECT_EQ(RunSeal(input, context).status().code(), StatusCode::kInvalidArgument);
  input.entries = log.Read(0, 40);
  input.output.geometry.dims = 0;
  EXPECT_EQ(RunSeal(input, context).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(FileCount(log), 0u);
}

TEST(JobsTest, SealOfNothing) {
  FakeLog log(Metric::kL2, 4);
  const auto segment = log.Seal(0, 0);
  EXPECT_EQ(segment->node_count(), 0u);
  EXPECT_EQ(segment->entry_count(), 0u);
}

TEST(JobsTest, MergeLeavesOutTheDead) {
  FakeLog log(Metric::kInnerProduct, 6);
  log.AddRandom(600, 3);
  const auto merged = log.Merge({log.Seal(0, 200), log.Seal(200, 210), log.Seal(210, 600)},
                                LivenessWithout(log, [](size_t position) { return position % 3 == 0; }));
  EXPECT_EQ(merged->kind(), SegmentKind::kFlat);
  EXPECT_EQ(merged->range(), (PositionRange{0, 600}));
  EXPECT_EQ(merged->node_count(), 400u);
  for (size_t position : FakeLog::Positions(*merged)) EXPECT_NE(position % 3, 0u);
  ExpectRightCodes(log, *merged);

  const auto empty = log.Merge({merged}, LivenessWithout(log, [](size_t) { return true; }));
  EXPECT_EQ(empty->node_count(), 0u);
  EXPECT_EQ(empty->range(), (PositionRange{0, 600}));
}

// A value that the other codec cannot hold makes a new one, and codes are brought to its scale.
TEST(JobsTest, MergeOfDifferentCodecs) {
  FakeLog log(Metric::kL2, 4);
  log.AddRandom(100, 4);
  for (int i = 0; i < 100; ++i) log.Add(std::vector<float>{1e30f * static_cast<float>(i + 1), 0, 2e30f, 0});
  const auto small = log.Seal(0, 100);
  const auto large = log.Seal(100, 200);
  ASSERT_FALSE(small->codec().SameAs(large->codec()));
  const auto merged = log.Merge({small, large});
  EXPECT_TRUE(merged->codec().SameAs(large->codec()));
  EXPECT_EQ(merged->entry_count(), 200u);

  GraphInput input = log.ToGraph({log.Graph(0, 100), large});
  const auto graph = log.Graph(input);
  EXPECT_TRUE(graph->codec().SameAs(large->codec()));
  EXPECT_EQ(FakeLog::Positions(*graph), Sequence(0, 200));
}

TEST(JobsTest, LowerSequenceOfAnExtentIsGone) {
  FakeLog log(Metric::kL2, 4);
  log.AddRandom(64, 5);
  JobContext context;
  SealInput old_input{log.Output(0, 32), log.Read(0, 32)};
  const auto before = log.Open(RunSeal(old_input, context));
  // The extent of the first sequence is taken into use again.
  SealInput new_input{log.Output(32, 64), log.Read(32, 64)};
  for (uint64_t& ordinal : new_input.entries.ordinals) {
    if (ordinal / FakeLog::kSlots == FakeLog::ExtentOfSequence(2)) {
      ordinal = uint64_t{FakeLog::ExtentOfSequence(0)} * FakeLog::kSlots + ordinal % FakeLog::kSlots;
    }
  }
  for (ExtentRecord& record : new_input.entries.extents) {
    if (record.sequence == 2) record.extent = FakeLog::ExtentOfSequence(0);
  }
  const auto after = log.Open(RunSeal(new_input, context));
  for (const auto& segments : {std::vector{before, after}, std::vector{after, before}}) {
    MergeInput merge{log.Output(0, 64), segments, nullptr};
    const auto merged = log.Open(RunMerge(merge, context));
    EXPECT_EQ(merged->entry_count(), 48u);
    EXPECT_EQ(merged->ExtentOf(old_input.entries.ordinals[0])->sequence, 2u);
  }

  // The same, batch after batch.
  auto builder = FlatSegmentBuilder::Create(log.Output(0, 64), {100.0f});
  ASSERT_TRUE(builder.ok());
  ASSERT_TRUE((*builder)->Add(old_input.entries).ok());
  EXPECT_EQ((*builder)->entry_count(), 32u);
  ASSERT_TRUE((*builder)->Add(new_input.entries).ok());
  EXPECT_EQ((*builder)->entry_count(), 48u);
  const auto built = log.Open((*builder)->Finish({0, 64}, 1, 2));
  EXPECT_EQ(built->entry_count(), 48u);
}

TEST(JobsTest, FlatSegmentBuilderTakesBatches) {
  // Enough codes that earlier ones are read back from the file.
  FakeLog log(Metric::kL2, 1024);
  log.AddRandom(2500, 6);
  for (int i = 0; i < 500; ++i) {
    const float* original = log.Vector(static_cast<size_t>(i));
    log.Add(std::vector<float>(original, original + 1024));
  }
  VectorStatistics statistics;
  statistics.Add(log.Vector(0), log.size() * 1024);
  auto builder = FlatSegmentBuilder::Create(log.Output(0, 1), statistics);
  ASSERT_TRUE(builder.ok());
  for (size_t begin = 0; begin < 3000; begin += 250) {
    ASSERT_TRUE((*builder)->Add(log.Read(begin, begin + 250)).ok());
    EXPECT_LE((*builder)->memory_bytes(), uint64_t{9} << 20);
  }
  const auto segment = log.Open((*builder)->Finish({0, 3000}, 11, 12));
  EXPECT_EQ(segment->node_count(), 2500u);
  EXPECT_EQ(FakeLog::Positions(*segment), Sequence(0, 3000));
  ExpectRightCodes(log, *segment);
  EXPECT_EQ(segment->header().end_hash, 11u);
  EXPECT_EQ(segment->header().max_lsn, 12u);
  EXPECT_EQ(segment->range(), (PositionRange{0, 3000}));
}

TEST(JobsTest, UnfinishedBuilderLeavesNoFile) {
  FakeLog log(Metric::kL2, 4);
  log.AddRandom(40, 7);
  {
    auto builder = FlatSegmentBuilder::Create(log.Output(0, 40), {100.0f});
    ASSERT_TRUE(builder.ok());
    ASSERT_TRUE((*builder)->Add(log.Read(0, 40)).ok());
    EXPECT_EQ(FileCount(log), 1u);
  }
  auto builder = FlatSegmentBuilder::Create(log.Output(0, 40), {0.0f});
  ASSERT_TRUE(builder.ok());
  log.Add(std::vector<float>{1e30f, 0, 0, 0});
  EXPECT_EQ((*builder)->Add(log.Read(0, 41)).code(), StatusCode::kInvalidArgument);
  builder->reset();
  EXPECT_EQ(FileCount(log), 0u);
}

TEST(JobsTest, GraphOfFlatSegments) {
  FakeLog log(Metric::kL2, 8);
  log.AddRandom(2000, 8);
  GraphInput input = log.ToGraph({log.Seal(0, 900), log.Seal(900, 2000)});
  input.threads = 2;
  JobContext context;
  const auto graph = log.Open(RunGraph(input, context));
  EXPECT_EQ(graph->kind(), SegmentKind::kGraph);
  EXPECT_EQ(graph->graph().m, 8u);
  EXPECT_GT(graph->header().max_level, 0u);
  EXPECT_EQ(FakeLog::Positions(*graph), Sequence(0, 2000));
  ExpectRightCodes(log, *graph);
  EXPECT_EQ(context.total, 2000u);
  EXPECT_EQ(context.done, 2000u);
}

TEST(JobsTest, OneThreadBuildsTheSameAgain) {
  FakeLog log(Metric::kCosine, 8);
  log.AddRandom(1000, 9);
  const auto flat = log.Seal(0, 1000);
  const auto a = log.Graph(log.ToGraph({flat}));
  const auto b = log.Graph(log.ToGraph({flat}));
  for (uint32_t i = 0; i < kSectionCount; ++i) {
    EXPECT_EQ(a->header().sections[i].checksum, b->header().sections[i].checksum) << i;
  }
}

TEST(JobsTest, AbsorbKeepsNodesOfTheBase) {
  FakeLog log(Metric::kL2, 8);
  log.AddRandom(1500, 10);
  // A newer entry equal to one of the base.
  const std::vector<float> copy(log.Vector(100), log.Vector(101));
  log.Add(copy);
  const auto base = log.Graph(0, 1000);
  const auto small = log.Graph(1000, 1200);
  const auto flat = log.Seal(1200, 1501);
  for (bool with_dead : {false, true}) {
    GraphInput input = log.ToGraph({base, small, flat});
    const auto dead = [](size_t position) {
      return position % 10 == 0 && position != 100 && position < 1500;
    };
    if (with_dead) input.liveness = LivenessWithout(log, dead);
    JobContext context;
    const auto graph = log.Open(RunGraph(input, context));
    EXPECT_EQ(graph->range(), (PositionRange{0, 1501}));
    ExpectRightCodes(log, *graph);
    EXPECT_EQ(std::memcmp(graph->codes().data(), base->codes().data(), base->codes().size()), 0);
    const uint64_t fresh = with_dead ? 450 : 500;  // distinct codes of the newer ones
    EXPECT_EQ(graph->node_count(), 1000 + fresh);
    EXPECT_EQ(context.total, fresh);
    EXPECT_EQ(context.done, fresh);
    EXPECT_EQ(graph->entry_count(), with_dead ? 1501u - 149 : 1501u);
    for (uint32_t node = 0; node < base->node_count(); ++node) {
      const size_t position = FakeLog::PositionOf(FakeLog::Ordinals(*base, node)[0]);
      const auto ordinals = FakeLog::Ordinals(*graph, node);
      EXPECT_EQ(ordinals.size(), position == 100 ? 2u : with_dead && dead(position) ? 0u : 1u);
    }
  }
}

// The larger graph is the base, also where it is the newer one.
TEST(JobsTest, AbsorbOfOlderSegments) {
  FakeLog log(Metric::kL2, 8);
  log.AddRandom(1000, 11);
  const auto flat = log.Seal(0, 50);
  const auto small = log.Graph(50, 200);
  const auto base = log.Graph(200, 1000);
  const auto graph = log.Graph(log.ToGraph({flat, small, base}));
  EXPECT_EQ(FakeLog::Positions(*graph), Sequence(0, 1000));
  EXPECT_EQ(std::memcmp(graph->codes().data(), base->codes().data(), base->codes().size()), 0);
}

TEST(JobsTest, RebuildDropsDeadNodes) {
  FakeLog log(Metric::kL2, 8);
  log.AddRandom(1000, 12);
  GraphInput input = log.ToGraph({log.Graph(0, 1000)});
  input.keep_base_graph = false;
  input.liveness = LivenessWithout(log, [](size_t position) { return position < 600; });
  const auto graph = log.Graph(input);
  EXPECT_EQ(graph->node_count(), 400u);
  EXPECT_EQ(graph->range(), (PositionRange{0, 1000}));
  EXPECT_EQ(FakeLog::Positions(*graph), Sequence(600, 1000));
  ExpectRightCodes(log, *graph);

  input.liveness = LivenessWithout(log, [](size_t) { return true; });
  input.output = log.Output(0, 1000);
  const auto empty = log.Graph(input);
  EXPECT_EQ(empty->kind(), SegmentKind::kGraph);
  EXPECT_EQ(empty->node_count(), 0u);

  // An empty one is no obstacle to what comes after.
  log.AddRandom(100, 13);
  EXPECT_EQ(log.Graph(log.ToGraph({empty, log.Seal(1000, 1100)}))->node_count(), 100u);
}

TEST(JobsTest, MemoryLimit) {
  FakeLog log(Metric::kL2, 8);
  log.AddRandom(500, 14);
  const auto flat = log.Seal(0, 500);
  GraphInput input = log.ToGraph({flat});
  input.memory_limit = GraphJobMemory(500, 500, 8, 1) - 1;
  JobContext context;
  EXPECT_EQ(RunGraph(input, context).status().code(), StatusCode::kOutOfMemory);
  EXPECT_EQ(FileCount(log), 1u);
  input.memory_limit += 1;
  EXPECT_TRUE(RunGraph(input, context).ok());
}

TEST(JobsTest, CancelledJobsLeaveNoFile) {
  FakeLog log(Metric::kL2, 64);
  log.AddRandom(8000, 15);
  const auto flat = log.Seal(0, 8000);
  const size_t before = FileCount(log);
  {
    JobContext context;
    context.cancel = true;
    EXPECT_EQ(RunSeal({log.Output(0, 100), log.Read(0, 100)}, context).status().code(),
              StatusCode::kCancelled);
    EXPECT_EQ(RunMerge({log.Output(0, 8000), {flat}, nullptr}, context).status().code(),
              StatusCode::kCancelled);
    EXPECT_EQ(RunGraph(log.ToGraph({flat}), context).status().code(), StatusCode::kCancelled);
  }
  // In the midst of building.
  JobContext context;
  std::thread canceller([&] {
    while (context.done < 100) std::this_thread::yield();
    context.cancel = true;
  });
  EXPECT_EQ(RunGraph(log.ToGraph({flat}), context).status().code(), StatusCode::kCancelled);
  canceller.join();
  EXPECT_LT(context.done, 8000u);
  EXPECT_EQ(FileCount(log), before);
}

// Flips a bit of the middle of a section in the file itself, which whoever has it mapped sees.
void FlipIn(const Segment& segment, SectionKind kind) {
  const SectionRecord& record = segment.header().sections[static_cast<uint32_t>(kind)];
  std::fstream file(segment.path(), std::ios::in | std::ios::out | std::ios::binary);
  const auto place = static_cast<std::streamoff>(record.offset + record.size / 2);
  file.seekg(place);
  const char byte = static_cast<char>(file.get());
  file.seekp(place);
  file.put(static_cast<char>(byte ^ 1));
}

// What was damaged since it was written, with the file in use, is not copied into a segment whose checksums
// are right.
TEST(JobsTest, DamagedInputsAreNotCopied) {
  for (const SectionKind kind : {SectionKind::kCodes, SectionKind::kLinks0, SectionKind::kEntries}) {
    FakeLog log(Metric::kL2, 8, CodeKind::kNone);
    log.AddRandom(600, 3);
    const auto graph = log.Graph(0, 300);
    const auto flat = log.Seal(300, 600);
    FlipIn(kind == SectionKind::kLinks0 ? *graph : *flat, kind);
    const GraphInput input = log.ToGraph({graph, flat});
    JobContext context;
    EXPECT_EQ(RunGraph(input, context).status().code(), StatusCode::kCorruption);
    EXPECT_FALSE(std::filesystem::exists(input.output.path));
    if (kind == SectionKind::kLinks0) continue;
    MergeInput merge;
    merge.output = log.Output(300, 600);
    merge.segments = {flat};
    EXPECT_EQ(RunMerge(merge, context).status().code(), StatusCode::kCorruption);
    EXPECT_FALSE(std::filesystem::exists(merge.output.path));
  }
}

// A file cut short while it is in use ends jobs and searches with an error, not the process.
TEST(JobsTest, InputsThatCannotBeRead) {
  FakeLog log(Metric::kL2, 8, CodeKind::kNone);
  log.AddRandom(3000, 3);
  const auto graph = log.Graph(0, 2000);
  const auto flat = log.Seal(2000, 3000);
  for (const auto& segment : {graph, flat}) std::filesystem::resize_file(segment->path(), 4096);
  JobContext context;
  EXPECT_EQ(RunGraph(log.ToGraph({graph, flat}), context).status().code(), StatusCode::kCorruption);
  MergeInput merge;
  merge.output = log.Output(2000, 3000);
  merge.segments = {flat};
  EXPECT_EQ(RunMerge(merge, context).status().code(), StatusCode::kCorruption);
  EXPECT_EQ(graph->Verify(Segment::Depth::kAll).code(), StatusCode::kCorruption);
}

TEST(JobsTest, RefusesOtherGeometry) {
  FakeLog log(Metric::kL2, 8);
  log.AddRandom(100, 16);
  GraphInput input = log.ToGraph({log.Seal(0, 100)});
  input.output.geometry.dims = 9;
  JobContext context;
  EXPECT_EQ(RunGraph(input, context).status().code(), StatusCode::kInvalidArgument);
  input.segments.clear();
  EXPECT_EQ(RunGraph(input, context).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(RunMerge({input.output, {}, nullptr}, context).status().code(), StatusCode::kInvalidArgument);
}

// Bounds hold for the vectors that were sealed, whatever way their codes have come since: all of them, or,
// where they are statistical, all but one in 1,000.
void ExpectBoundsHold(const FakeLog& log, const Segment& segment) {
  size_t all = 0, violated = 0;
  for (size_t q = 0; q < log.size(); q += 97) {
    const auto scorer = segment.codec().Prepare(log.Vector(q));
    for (uint32_t node = 0; node < segment.node_count(); ++node) {
      const double bound = scorer->LowerBound(scorer->Distance(segment.code(node)), segment.code(node));
      for (uint64_t ordinal : FakeLog::Ordinals(segment, node)) {
        const float* vector = log.Vector(FakeLog::PositionOf(ordinal));
        violated += bound > ExactDistance(log.geometry().metric, log.Vector(q), vector, log.geometry().dims);
        ++all;
      }
    }
  }
  EXPECT_LE(violated, segment.codec().kind() == CodeKind::kSq4 ? all / 1000 : 0);
}

// `count` vectors around a point that is `offset` away from the origin in every other direction.
void AddAround(FakeLog* log, size_t count, float offset, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> vector(log->geometry().dims);
  for (size_t i = 0; i < count; ++i) {
    for (size_t d = 0; d < vector.size(); ++d) vector[d] = normal(random) + (d % 2 == 0 ? offset : -offset);
    log->Add(vector);
  }
}

constexpr Metric kScalarMetrics[] = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine};

class ScalarJobsTest : public ::testing::TestWithParam<CodeKind> {};

TEST_P(ScalarJobsTest, CodecsAreHandedOn) {
  for (const Metric metric : kScalarMetrics) {
    FakeLog log(metric, 24, GetParam());
    log.AddRandom(1500, 20);
    const auto base = log.Graph(0, 1000);
    EXPECT_EQ(base->header().code_kind, static_cast<uint8_t>(GetParam()));
    const auto alone = log.Seal(1000, 1300);
    EXPECT_FALSE(alone->codec().SameAs(base->codec()));
    const auto first = log.Seal(1000, 1300, base);
    const auto second = log.Seal(1300, 1500, first);
    EXPECT_TRUE(first->codec().SameAs(base->codec()));
    const auto merged = log.Merge({first, second});
    EXPECT_TRUE(merged->codec().SameAs(base->codec()));
    const auto absorbed = log.Graph(log.ToGraph({base, merged}));
    EXPECT_TRUE(absorbed->codec().SameAs(base->codec()));
    for (const auto& segment : {first, merged, absorbed}) {
      ExpectRightCodes(log, *segment);  // copied, not transcoded
      ExpectBoundsHold(log, *segment);
    }
    GraphInput rebuild = log.ToGraph({absorbed});
    rebuild.keep_base_graph = false;
    EXPECT_TRUE(log.Graph(rebuild)->codec().SameAs(base->codec()));
  }
}

// A mean of quite other vectors would waste the codes' range.
TEST_P(ScalarJobsTest, UnsuitableCodecsAreNotTaken) {
  FakeLog log(Metric::kL2, 24, GetParam());
  AddAround(&log, 300, 0, 21);
  AddAround(&log, 300, 1000, 22);
  const auto near = log.Seal(0, 300);
  const auto far = log.Seal(300, 600, near);
  EXPECT_FALSE(far->codec().SameAs(near->codec()));
  EXPECT_LT(far->codec().CodeError(far->code(0)), GetParam() == CodeKind::kSq8 ? 0.1 : 2);
  // Another code kind's codec is of no use either.
  log.geometry().code_kind = CodeKind::kNone;
  const auto flat = log.Seal(0, 300, near);
  EXPECT_EQ(flat->header().code_kind, static_cast<uint8_t>(CodeKind::kNone));
}

TEST_P(ScalarJobsTest, TranscodedCodesKeepTheirBounds) {
  for (const Metric metric : kScalarMetrics) {
    for (const float offset : {0.1f, 3.0f, 1000.0f}) {
      FakeLog log(metric, 24, GetParam());
      AddAround(&log, 400, 0, 23);
      AddAround(&log, 600, offset, 24);
      const auto small = log.Seal(0, 400);
      const auto large = log.Seal(400, 1000);
      const auto merged = log.Merge({small, large});
      EXPECT_EQ(FakeLog::Positions(*merged), Sequence(0, 1000));
      ExpectBoundsHold(log, *merged);
      const auto base = log.Graph(0, 400);
      const auto absorbed = log.Graph(log.ToGraph({base, large}));
      EXPECT_TRUE(absorbed->codec().SameAs(base->codec()));
      EXPECT_EQ(FakeLog::Positions(*absorbed), Sequence(0, 1000));
      ExpectBoundsHold(log, *absorbed);
      if (HasFatalFailure()) return;
      // Codecs that suit each other: the larger one's codes are copied.
      if (offset < 1) {
        EXPECT_TRUE(merged->codec().SameAs(large->codec()));
      }
    }
  }
}

TEST_P(ScalarJobsTest, FlatSegmentBuilderTrainsOnItsFirstBatch) {
  FakeLog log(Metric::kCosine, 24, GetParam());
  AddAround(&log, 900, 2, 25);
  auto builder = FlatSegmentBuilder::Create(log.Output(0, 1), {20.0f});
  ASSERT_TRUE(builder.ok());
  for (size_t begin = 0; begin < 900; begin += 300) {
    ASSERT_TRUE((*builder)->Add(log.Read(begin, begin + 300)).ok());
  }
  const auto segment = log.Open((*builder)->Finish({0, 900}, 11, 12));
  EXPECT_EQ(FakeLog::Positions(*segment), Sequence(0, 900));
  ExpectRightCodes(log, *segment);
  EXPECT_TRUE(segment->codec().SameAs(log.Seal(0, 300)->codec()));
  const auto empty = FlatSegmentBuilder::Create(log.Output(0, 0), {0.0f});
  EXPECT_EQ(log.Open((*empty)->Finish({0, 0}, 1, 2))->node_count(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Kinds, ScalarJobsTest, ::testing::Values(CodeKind::kSq8, CodeKind::kSq4));

TEST(LivenessTest, ChecksSequenceUsedAndBits) {
  Liveness liveness(16);
  liveness.SetExtent(3, 7, 10, {0b100});
  EXPECT_TRUE(liveness.Alive(48, 7));
  EXPECT_FALSE(liveness.Alive(50, 7));
  EXPECT_TRUE(liveness.Alive(57, 7));
  EXPECT_FALSE(liveness.Alive(58, 7));
  EXPECT_FALSE(liveness.Alive(48, 8));
  EXPECT_FALSE(liveness.Alive(0, 7));
  liveness.SetExtent(3, 8, 1, {0});
  EXPECT_TRUE(liveness.Alive(48, 8));
  EXPECT_FALSE(liveness.Alive(49, 8));
}

}  // namespace
}  // namespace vecckpt
