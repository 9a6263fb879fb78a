// The merged search against brute force, over mixtures of graph segments, flat segments and a tail.

#include "index/merged_search.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <numeric>
#include <set>

#include "fake_log.hpp"
#include "page_cache.hpp"
#include "segment/segment_writer.hpp"

namespace vecckpt {
namespace {

struct Row {
  size_t position;
  double distance;
};

struct Kind {
  Metric metric;
  CodeKind code;
};

class MergedSearchTest : public ::testing::TestWithParam<Kind> {
 protected:
  static double Distance(const FakeLog& log, size_t position, const std::vector<float>& query) {
    return ExactDistance(log.geometry().metric, query.data(), log.Vector(position), log.geometry().dims);
  }

  static std::vector<double> BruteForce(const FakeLog& log, const std::vector<float>& query) {
    std::vector<double> distances;
    for (size_t position = 0; position < log.size(); ++position) {
      distances.push_back(Distance(log, position, query));
    }
    std::sort(distances.begin(), distances.end());
    return distances;
  }

  static std::vector<float> RandomQuery(uint32_t dims, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> value;
    std::vector<float> query(dims);
    for (float& v : query) v = value(random);
    return query;
  }

  static SearchOptions Options(const FakeLog& log) {
    SearchOptions options;
    options.metric = log.geometry().metric;
    options.dims = log.geometry().dims;
    return options;
  }

  // Adds segments, and what lies from `tail` on as the tail, and starts.
  static std::unique_ptr<MergedSearch> Begin(const FakeLog& log, const SearchOptions& options,
                                             const std::vector<float>& query,
                                             const std::vector<std::shared_ptr<const Segment>>& segments,
                                             size_t tail) {
    auto search = std::make_unique<MergedSearch>(options, query.data());
    for (const auto& segment : segments) EXPECT_TRUE(search->AddSegment(segment).ok());
    for (size_t position = tail; position < log.size(); ++position) {
      search->AddExact(FakeLog::OrdinalAt(position), FakeLog::SequenceAt(position),
                       Distance(log, position, query));
    }
    search->Start();
    return search;
  }

  // Gives the search the next 50 of the tail's entries that it does not hold.
  static void GiveMore(MergedSearch* search, const FakeLog& log, const std::vector<float>& query,
                       size_t tail) {
    const RowKey floor = search->exact_floor().value();
    std::vector<RowKey> keys;
    for (size_t position = tail; position < log.size(); ++position) {
      const RowKey key = {Distance(log, position, query), FakeLog::SequenceAt(position),
                          FakeLog::OrdinalAt(position)};
      if (!After(floor, key)) keys.push_back(key);
    }
    std::sort(keys.begin(), keys.end(), [](const RowKey& a, const RowKey& b) { return After(b, a); });
    const size_t count = std::min<size_t>(50, keys.size());
    for (size_t i = 0; i < count; ++i) search->AddExact(keys[i].ordinal, keys[i].sequence, keys[i].distance);
    search->SetExactFloor(count < keys.size() ? std::optional(keys[count]) : std::nullopt);
  }

  // Rows until `limit`, or until the search ends; *ended says how then. `alive` says which positions
  // re-ranking finds. What the search does not hold of the tail, which begins at `tail`, it is given in
  // pieces.
  static std::vector<Row> Run(
      MergedSearch* search, const FakeLog& log, const std::vector<float>& query, size_t limit,
      const std::function<bool(size_t)>& alive = [](size_t) { return true; },
      MergedSearch::Action* ended = nullptr, size_t tail = kMixtureTail) {
    std::vector<Row> rows;
    while (rows.size() < limit) {
      Result<MergedSearch::Step> step = search->Next();
      EXPECT_TRUE(step.ok()) << step.status().message();
      if (!step.ok()) break;
      if (step->action == MergedSearch::Action::kDone || step->action == MergedSearch::Action::kLimit) {
        if (ended != nullptr) *ended = step->action;
        break;
      }
      if (step->action == MergedSearch::Action::kMoreExact) {
        GiveMore(search, log, query, tail);
        continue;
      }
      const size_t position = FakeLog::PositionOf(step->ordinal);
      EXPECT_EQ(step->sequence, FakeLog::SequenceAt(position));
      if (step->action == MergedSearch::Action::kEmit) {
        rows.push_back({position, step->distance});
      } else if (alive(position)) {
        search->Resolve(Distance(log, position, query));
      } else {
        search->ResolveGone();
      }
    }
    return rows;
  }

  static void ExpectDistinct(const std::vector<Row>& rows) {
    std::set<size_t> positions;
    for (const Row& row : rows) EXPECT_TRUE(positions.insert(row.position).second) << row.position;
  }

  // 2,000 vectors: two graph segments, two flat ones and a tail.
  static std::vector<std::shared_ptr<const Segment>> Mixture(FakeLog* log) {
    log->AddRandom(2000, 1);
    return {log->Graph(0, 1000), log->Seal(1000, 1100), log->Graph(1100, 1700), log->Seal(1700, 1900)};
  }
  static constexpr size_t kMixtureTail = 1900;
};

// With ef at the number of nodes nothing is approximate: the order is that of brute force, each row once.
TEST_P(MergedSearchTest, WholeWidthIsExact) {
  FakeLog log(GetParam().metric, 12, GetParam().code);
  const auto segments = Mixture(&log);
  for (IterativeScan iterative :
       {IterativeScan::kOff, IterativeScan::kRelaxedOrder, IterativeScan::kStrictOrder}) {
    SearchOptions options = Options(log);
    options.ef_search = 2000;
    options.iterative = iterative;
    const std::vector<float> query = RandomQuery(12, 5);
    auto search = Begin(log, options, query, segments, kMixtureTail);
    const std::vector<Row> rows = Run(search.get(), log, query, 5000);
    const std::vector<double> truth = BruteForce(log, query);
    ASSERT_EQ(rows.size(), truth.size());
    ExpectDistinct(rows);
    for (size_t i = 0; i < rows.size(); ++i) ASSERT_EQ(rows[i].distance, truth[i]) << i;
    EXPECT_EQ(search->counters().emitted, 2000u);
    EXPECT_EQ(search->counters().late, 0u);
    EXPECT_EQ(search->counters().reranked, 1900u);
    EXPECT_GE(search->counters().distances, 1900u);
  }
}

TEST_P(MergedSearchTest, FirstRowsNeedFewReranks) {
  FakeLog log(GetParam().metric, 12, GetParam().code);
  const auto segments = Mixture(&log);
  const std::vector<float> query = RandomQuery(12, 6);
  auto search = Begin(log, Options(log), query, segments, kMixtureTail);
  EXPECT_EQ(Run(search.get(), log, query, 10).size(), 10u);
  EXPECT_LE(search->counters().reranked, 25u);
  EXPECT_LE(search->counters().distances, 1900u);
}

TEST_P(MergedSearchTest, RecallAtEf100) {
  FakeLog log(GetParam().metric, 16, GetParam().code);
  log.AddRandom(6000, 2);
  const std::vector<std::shared_ptr<const Segment>> segments = {log.Graph(0, 4000), log.Graph(4000, 5500),
                                                                log.Seal(5500, 5800)};
  SearchOptions options = Options(log);
  options.ef_search = 100;
  size_t found = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<float> query = RandomQuery(16, 100 + seed);
    const std::vector<double> truth = BruteForce(log, query);
    auto search = Begin(log, options, query, segments, 5800);
    for (const Row& row : Run(search.get(), log, query, 10)) found += row.distance <= truth[9];
  }
  EXPECT_GE(found, 190u);
}

// Beyond ef a scan goes on to the last row. Strict order is strict but for the late rows, which come last.
TEST_P(MergedSearchTest, LimitBeyondEf) {
  FakeLog log(GetParam().metric, 12, GetParam().code);
  const auto segments = Mixture(&log);
  const std::vector<float> query = RandomQuery(12, 7);
  for (IterativeScan iterative : {IterativeScan::kRelaxedOrder, IterativeScan::kStrictOrder}) {
    SearchOptions options = Options(log);
    options.iterative = iterative;
    options.max_scan_tuples = 1000000;
    options.memory_limit = uint64_t{1} << 30;
    auto search = Begin(log, options, query, segments, kMixtureTail);
    const std::vector<Row> rows = Run(search.get(), log, query, 5000);
    ExpectDistinct(rows);
    EXPECT_EQ(rows.size(), 2000u);
    const size_t late = search->counters().late;
    EXPECT_LE(late, 100u);
    if (iterative != IterativeScan::kStrictOrder) {
      EXPECT_EQ(late, 0u);
      continue;
    }
    for (size_t i = 1; i < rows.size(); ++i) {
      if (i != 2000 - late) {
        ASSERT_LE(rows[i - 1].distance, rows[i].distance);
      }
    }
    options.late_rows_come = false;
    auto without = Begin(log, options, query, segments, kMixtureTail);
    EXPECT_EQ(Run(without.get(), log, query, 5000).size(), 2000 - late);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, MergedSearchTest,
    ::testing::Values(Kind{Metric::kL2, CodeKind::kNone}, Kind{Metric::kInnerProduct, CodeKind::kNone},
                      Kind{Metric::kCosine, CodeKind::kNone}, Kind{Metric::kL1, CodeKind::kNone},
                      Kind{Metric::kL2, CodeKind::kSq8}, Kind{Metric::kInnerProduct, CodeKind::kSq8},
                      Kind{Metric::kCosine, CodeKind::kSq8}, Kind{Metric::kL2, CodeKind::kSq4},
                      Kind{Metric::kInnerProduct, CodeKind::kSq4}, Kind{Metric::kCosine, CodeKind::kSq4}));

class SearchTest : public MergedSearchTest {};

// What has to be read from the disk is asked for, and nothing else is different.
TEST_F(SearchTest, ColdSegmentsAnswerAlike) {
  FakeLog log(Metric::kL2, 64);
  auto segments = Mixture(&log);
  std::vector<std::string> paths;
  for (const auto& segment : segments) paths.push_back(segment->path());
  const std::vector<float> query = RandomQuery(64, 3);
  const auto warm = Run(Begin(log, Options(log), query, segments, kMixtureTail).get(), log, query, 100);
  ASSERT_EQ(warm.size(), 100u);

  segments.clear();
  for (const std::string& path : paths) {
    if (!Evict(path)) GTEST_SKIP() << "this file system has no disk";
    segments.push_back(Segment::Open(path).value());
    EXPECT_TRUE(segments.back()->ColdForSearch()) << path;
  }
  const auto cold = Run(Begin(log, Options(log), query, segments, kMixtureTail).get(), log, query, 100);
  ASSERT_EQ(cold.size(), warm.size());
  for (size_t i = 0; i < cold.size(); ++i) EXPECT_EQ(cold[i].position, warm[i].position);

  for (const auto& segment : segments) {
    LoadMapped(segment->file());
    for (int search = 0; search < 200; ++search) EXPECT_FALSE(segment->ColdForSearch());
  }
}

TEST_F(SearchTest, OffEndsAtEf) {
  FakeLog log(Metric::kL2, 12);
  const auto segments = Mixture(&log);
  SearchOptions options = Options(log);
  options.iterative = IterativeScan::kOff;
  const std::vector<float> query = RandomQuery(12, 8);
  const auto all = [](size_t) { return true; };
  for (const auto& [ef, expected] :
       {std::pair(20u, MergedSearch::Action::kLimit), std::pair(2000u, MergedSearch::Action::kDone)}) {
    options.ef_search = ef;
    auto search = Begin(log, options, query, segments, kMixtureTail);
    MergedSearch::Action ended{};
    EXPECT_EQ(Run(search.get(), log, query, 5000, all, &ended).size(), ef);
    EXPECT_EQ(ended, expected) << ef;
  }
}

// Where a search comes to its limit, it knows what it has found, and what of that it has not emitted.
// Whoever looks at all other entries has every row.
void ExpectRestIsKnown(MergedSearch* search, const FakeLog& log, const std::vector<size_t>& emitted) {
  std::set<size_t> known(emitted.begin(), emitted.end());
  for (const ResolvedRow& row : search->TakeLateRows()) {
    EXPECT_TRUE(known.insert(FakeLog::PositionOf(row.ordinal)).second);
  }
  for (size_t position = 0; position < log.size(); ++position) {
    EXPECT_EQ(search->WasFound(FakeLog::OrdinalAt(position), FakeLog::SequenceAt(position)),
              known.contains(position))
        << position;
  }
}

TEST_F(SearchTest, LimitsStopTheStreams) {
  FakeLog log(Metric::kL2, 12);
  log.AddRandom(3000, 3);
  const auto graph = log.Graph(0, 3000);
  const std::vector<float> query = RandomQuery(12, 9);
  const auto all = [](size_t) { return true; };
  SearchOptions by_tuples = Options(log), by_memory = Options(log);
  by_tuples.max_scan_tuples = 200;
  by_memory.max_scan_tuples = 1000000;
  by_memory.memory_limit = 20000;
  for (const SearchOptions& options : {by_tuples, by_memory}) {
    auto search = Begin(log, options, query, {graph}, 3000);
    MergedSearch::Action ended{};
    const std::vector<Row> rows = Run(search.get(), log, query, 5000, all, &ended);
    EXPECT_EQ(ended, MergedSearch::Action::kLimit);
    EXPECT_GE(rows.size(), 40u);
    EXPECT_LE(rows.size(), 2000u);
    std::vector<size_t> emitted;
    for (const Row& row : rows) emitted.push_back(row.position);
    ExpectRestIsKnown(search.get(), log, emitted);
  }
}

// A narrow search of few links that is read to its end takes from its stream often, and every time something.
TEST_F(SearchTest, ReadToTheEndAtTheLeastWidth) {
  FakeLog log(Metric::kL1, 1);
  log.geometry().m = 2;
  log.AddRandom(5000, 3);
  SearchOptions options = Options(log);
  options.ef_search = 1;
  options.iterative = IterativeScan::kRelaxedOrder;
  options.max_scan_tuples = std::numeric_limits<uint64_t>::max();
  options.memory_limit = std::numeric_limits<uint64_t>::max();
  const std::vector<float> query = {-10};
  auto search = Begin(log, options, query, {log.Graph(0, 5000)}, log.size());
  const auto rows = Run(search.get(), log, query, log.size());
  ExpectDistinct(rows);
  EXPECT_EQ(rows.size(), log.size());
}

// All rows are entries of one node: the graph is soon seen, but what has been returned takes memory.
TEST_F(SearchTest, ReturnedRowsCountTowardsTheMemory) {
  FakeLog log(Metric::kL2, 4);
  const std::vector<float> copied = {0.5f, -0.25f, 0.125f, 1.0f};
  for (int i = 0; i < 5000; ++i) log.Add(copied);
  const auto graph = log.Graph(0, 5000);
  SearchOptions options = Options(log);
  options.memory_limit = 20000;
  auto search = Begin(log, options, copied, {graph}, 5000);
  MergedSearch::Action ended{};
  const std::vector<Row> rows = Run(
      search.get(), log, copied, 5000, [](size_t) { return true; }, &ended);
  EXPECT_EQ(ended, MergedSearch::Action::kLimit);
  EXPECT_GE(rows.size(), 500u);
  EXPECT_LE(search->memory_bytes(), 50000u);
  std::vector<size_t> emitted;
  for (const Row& row : rows) emitted.push_back(row.position);
  ExpectRestIsKnown(search.get(), log, emitted);
}

// A tail larger than the memory: its nearest entries are held, the others are asked for when it comes to
// them.
TEST_F(SearchTest, LongTailsAreHeldInPart) {
  FakeLog log(Metric::kL2, 4);
  log.AddRandom(6000, 41);
  for (int i = 0; i < 500; ++i) {  // ties
    log.Add(std::vector<float>(log.Vector(i * 7), log.Vector(i * 7) + 4));
  }
  const auto graph = log.Graph(0, 1000);
  SearchOptions options = Options(log);
  options.ef_search = 1000;
  options.memory_limit = 40000;
  const std::vector<float> query = RandomQuery(4, 42);
  auto search = Begin(log, options, query, {graph}, 1000);
  EXPECT_TRUE(search->exact_floor().has_value());
  EXPECT_LE(search->memory_bytes(), 60000u);
  const std::vector<Row> rows = Run(
      search.get(), log, query, 10000, [](size_t) { return true; }, nullptr, 1000);
  const std::vector<double> truth = BruteForce(log, query);
  ASSERT_EQ(rows.size(), truth.size());
  ExpectDistinct(rows);
  for (size_t i = 0; i < rows.size(); ++i) ASSERT_EQ(rows[i].distance, truth[i]) << i;
}

// What is dead does not make a scan end early.
TEST_F(SearchTest, EntriesFoundGone) {
  FakeLog log(Metric::kL2, 12);
  const auto segments = Mixture(&log);
  const std::vector<float> query = RandomQuery(12, 10);
  const std::vector<double> truth = BruteForce(log, query);
  SearchOptions options = Options(log);
  options.max_scan_tuples = 1000000;
  options.memory_limit = uint64_t{1} << 30;
  auto search = Begin(log, options, query, segments, kMixtureTail);
  // The nearest 700 are gone, which is many times ef.
  const auto alive = [&](size_t position) { return Distance(log, position, query) > truth[699]; };
  size_t rows = 0;
  for (const Row& row : Run(search.get(), log, query, 5000, alive)) rows += alive(row.position);
  EXPECT_EQ(rows, 1300u);
}

// A row comes with the locator that its distance came with.
TEST_F(SearchTest, LocatorsComeWithTheirRows) {
  FakeLog log(Metric::kL2, 12);
  log.AddRandom(600, 4);
  const auto graph = log.Graph(0, 500);
  const std::vector<float> query = RandomQuery(12, 11);
  MergedSearch search(Options(log), query.data());
  ASSERT_TRUE(search.AddSegment(graph).ok());
  for (size_t position = 500; position < 600; ++position) {
    search.AddExact(FakeLog::OrdinalAt(position), FakeLog::SequenceAt(position),
                    Distance(log, position, query), 1000 + position);
  }
  search.Start();
  size_t rows = 0;
  for (;;) {
    Result<MergedSearch::Step> step = search.Next();
    ASSERT_TRUE(step.ok());
    if (step->action == MergedSearch::Action::kDone) break;
    const size_t position = FakeLog::PositionOf(step->ordinal);
    if (step->action == MergedSearch::Action::kRerank) {
      search.Resolve(Distance(log, position, query), 1000 + position);
    } else {
      ++rows;
      EXPECT_EQ(step->locator, 1000 + position);
    }
  }
  EXPECT_EQ(rows, 600u);
}

// Which positions live, as a builder would note it.
std::shared_ptr<const Liveness> LivenessOf(size_t positions, const std::function<bool(size_t)>& alive) {
  auto liveness = std::make_shared<Liveness>(FakeLog::kSlots);
  for (uint64_t sequence = 0; sequence * FakeLog::kSlots < positions; ++sequence) {
    liveness->SetExtent(FakeLog::ExtentOfSequence(sequence), sequence, FakeLog::kSlots,
                        [&](uint32_t slot) { return !alive(sequence * FakeLog::kSlots + slot); });
  }
  return liveness;
}

std::shared_ptr<const LivenessBitmap> BitmapOf(const FakeLog& log,
                                               const std::shared_ptr<const Segment>& segment,
                                               std::shared_ptr<const Liveness> liveness) {
  LivenessInput input;
  input.path = log.directory().File("bitmap" + std::to_string(segment->id()));
  input.segment = segment;
  input.liveness = std::move(liveness);
  JobContext context;
  EXPECT_TRUE(RunLiveness(input, context).ok());
  auto bitmap =
      LivenessBitmap::Open(input.path, segment->id(), segment->node_count(), segment->entry_count());
  EXPECT_TRUE(bitmap.ok()) << bitmap.status().message();
  return bitmap.ok() ? *bitmap : nullptr;
}

// Nine of ten nodes are dead. Where that is known, a width of as many as live finds all that live in one go,
// in order; and the share of a segment is that of its live entries.
TEST_F(SearchTest, NodesKnownToBeDeadDoNotCount) {
  FakeLog log(Metric::kL2, 12, CodeKind::kSq8);
  log.AddRandom(3000, 31);
  const auto alive = [](size_t position) { return position % 10 == 3; };
  const auto liveness = LivenessOf(3000, alive);
  const std::vector<std::shared_ptr<const Segment>> graphs = {log.Graph(0, 1600), log.Graph(1600, 3000)};
  SearchOptions options = Options(log);
  options.iterative = IterativeScan::kOff;
  options.ef_search = 300;
  for (uint64_t seed = 40; seed < 50; ++seed) {
    const std::vector<float> query = RandomQuery(12, seed);
    MergedSearch search(options, query.data());
    for (const auto& graph : graphs) {
      const auto bitmap = BitmapOf(log, graph, liveness);
      ASSERT_NE(bitmap, nullptr);
      EXPECT_EQ(bitmap->live_entries(), (graph->range().end - graph->range().begin) / 10);
      ASSERT_TRUE(search.AddSegment(graph, bitmap).ok());
    }
    search.Start();
    const std::vector<Row> rows = Run(&search, log, query, 5000, alive);
    EXPECT_EQ(rows.size(), 300u);
    ExpectDistinct(rows);
    for (size_t i = 1; i < rows.size(); ++i) EXPECT_LE(rows[i - 1].distance, rows[i].distance);
  }
}

// What a bitmap says wrongly misleads at most: every row is found, dead ones are not.
TEST_F(SearchTest, BitmapsAreAdvice) {
  FakeLog log(Metric::kL2, 12);
  log.AddRandom(800, 32);
  const auto graph = log.Graph(0, 800);
  const auto lies = BitmapOf(log, graph, LivenessOf(800, [](size_t position) { return position % 2 == 0; }));
  const auto alive = [](size_t position) { return position % 3 != 0; };
  const std::vector<float> query = RandomQuery(12, 51);
  SearchOptions options = Options(log);
  options.iterative = IterativeScan::kRelaxedOrder;
  MergedSearch search(options, query.data());
  ASSERT_TRUE(search.AddSegment(graph, lies).ok());
  search.Start();
  const std::vector<Row> rows = Run(&search, log, query, 5000, alive);
  EXPECT_EQ(rows.size(), 533u);
  ExpectDistinct(rows);
  for (const Row& row : rows) EXPECT_TRUE(alive(row.position));
}

TEST_F(SearchTest, DuplicatesAllComeOut) {
  FakeLog log(Metric::kL2, 4);
  log.AddRandom(20000, 12);
  const std::vector<float> copied = {0.5f, -0.25f, 0.125f, 1.0f};
  for (int i = 0; i < 5000; ++i) log.Add(copied);
  log.AddRandom(5000, 13);
  const auto graph = log.Graph(0, 30000);
  EXPECT_EQ(graph->node_count(), 25001u);
  SearchOptions options = Options(log);
  auto search = Begin(log, options, copied, {graph}, 30000);
  const std::vector<Row> rows = Run(search.get(), log, copied, 5000);
  ASSERT_EQ(rows.size(), 5000u);
  ExpectDistinct(rows);
  for (const Row& row : rows) EXPECT_EQ(row.distance, 0);
  // All are entries of one node: that does not widen the search.
  EXPECT_LE(search->counters().distances, 5000u);
}

TEST_F(SearchTest, NaNComesLast) {
  FakeLog log(Metric::kL2, 12);
  log.AddRandom(60, 14);
  const auto flat = log.Seal(0, 50);
  const std::vector<float> query = RandomQuery(12, 15);
  MergedSearch search(Options(log), query.data());
  ASSERT_TRUE(search.AddSegment(flat).ok());
  search.AddExact(FakeLog::OrdinalAt(50), FakeLog::SequenceAt(50), std::nan(""));
  search.AddExact(FakeLog::OrdinalAt(51), FakeLog::SequenceAt(51), std::numeric_limits<double>::infinity());
  search.Start();
  std::vector<double> distances;
  for (;;) {
    Result<MergedSearch::Step> step = search.Next();
    ASSERT_TRUE(step.ok());
    if (step->action == MergedSearch::Action::kDone) break;
    if (step->action == MergedSearch::Action::kEmit) {
      distances.push_back(step->distance);
      EXPECT_EQ(step->segment_id == 0, FakeLog::PositionOf(step->ordinal) >= 50);
      continue;
    }
    const size_t position = FakeLog::PositionOf(step->ordinal);
    search.Resolve(position == 7 ? std::nan("") : Distance(log, position, query));
  }
  ASSERT_EQ(distances.size(), 52u);
  EXPECT_TRUE(std::isinf(distances[49]));
  EXPECT_TRUE(std::isnan(distances[50]) && std::isnan(distances[51]));
}

// A file with some bytes of a section overwritten.
std::shared_ptr<const Segment> Spoil(const Segment& segment, SectionKind kind, uint32_t value) {
  const SectionRecord& record = segment.header().sections[static_cast<uint32_t>(kind)];
  const std::vector<uint32_t> values(record.size / sizeof(uint32_t), value);
  std::fstream file(segment.path(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(record.offset));
  file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(record.size));
  file.close();
  auto opened = Segment::Open(segment.path());
  EXPECT_TRUE(opened.ok());
  return *opened;
}

// The segment with the sequences of its first two extent records exchanged.
std::shared_ptr<const Segment> ExchangeSequences(const Segment& segment) {
  const SectionRecord& section = segment.header().sections[static_cast<uint32_t>(SectionKind::kExtents)];
  ExtentRecord records[2] = {segment.extents()[0], segment.extents()[1]};
  std::swap(records[0].sequence, records[1].sequence);
  std::fstream file(segment.path(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(section.offset));
  file.write(reinterpret_cast<const char*>(records), sizeof(records));
  file.close();
  auto opened = Segment::Open(segment.path());
  EXPECT_TRUE(opened.ok());
  return *opened;
}

// What a damaged segment says of where an entry lies is not believed of the entry that really lies there:
// only rows that the log has confirmed count as found, so that whoever goes on with the rest returns all
// others.
TEST_F(SearchTest, OnlyConfirmedEntriesAreKnown) {
  FakeLog log(Metric::kL2, 12);
  log.AddRandom(600, 61);
  const auto spoiled = ExchangeSequences(*log.Graph(0, 600));
  const std::vector<float> query = RandomQuery(12, 62);
  auto search = Begin(log, Options(log), query, {spoiled}, 600);
  std::vector<size_t> emitted;
  size_t gone = 0;
  for (;;) {
    Result<MergedSearch::Step> step = search->Next();
    ASSERT_TRUE(step.ok()) << step.status().message();
    if (step->action == MergedSearch::Action::kDone) break;
    const size_t position = FakeLog::PositionOf(step->ordinal);
    if (step->action == MergedSearch::Action::kEmit) {
      emitted.push_back(position);
    } else if (step->sequence == FakeLog::SequenceAt(position)) {  // as the log's directory page says
      search->Resolve(Distance(log, position, query));
    } else {
      ++gone;
      search->ResolveGone();
    }
  }
  EXPECT_EQ(gone, 2u * FakeLog::kSlots);
  EXPECT_EQ(emitted.size(), 600 - gone);
  ExpectRestIsKnown(search.get(), log, emitted);
}

// The segment with another ordinal for its first node's first entry.
std::shared_ptr<const Segment> SetFirstOrdinal(const Segment& segment, uint64_t ordinal) {
  const SectionRecord& record = segment.header().sections[static_cast<uint32_t>(SectionKind::kEntries)];
  const uint64_t place = record.offset + record.size - segment.entry_count() * sizeof(uint64_t);
  std::fstream file(segment.path(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(place));
  file.write(reinterpret_cast<const char*>(&ordinal), sizeof(ordinal));
  file.close();
  auto opened = Segment::Open(segment.path());
  EXPECT_TRUE(opened.ok());
  return *opened;
}

// Sections that are sound as such, but whose ordinals are not: nothing is returned twice.
TEST_F(SearchTest, NoOrdinalTwice) {
  FakeLog log(Metric::kL2, 12);
  log.AddRandom(1008, 46);
  const auto neighbour = log.Seal(0, 504);  // shares an extent with what follows
  const auto graph = log.Graph(504, 1008);
  const uint64_t own = FakeLog::OrdinalAt(700), other = FakeLog::OrdinalAt(503);
  for (const uint64_t ordinal : {own, other}) {
    const auto spoiled = SetFirstOrdinal(*graph, ordinal);
    const std::vector<float> query = RandomQuery(12, 47);
    auto search = Begin(log, Options(log), query, {neighbour, spoiled}, 1008);
    std::set<uint64_t> seen;
    Status status;
    while (status.ok()) {
      Result<MergedSearch::Step> step = search->Next();
      status = step.status();
      if (!step.ok() || step->action == MergedSearch::Action::kDone) break;
      if (step->action == MergedSearch::Action::kRerank) {
        search->Resolve(Distance(log, FakeLog::PositionOf(step->ordinal), query));
      } else {
        EXPECT_TRUE(seen.insert(step->ordinal).second);
      }
    }
    EXPECT_EQ(status.code(), StatusCode::kCorruption);
    EXPECT_EQ(search->corrupt_segment(), spoiled->id());
  }
}

TEST_F(SearchTest, CorruptionNamesTheSegment) {
  for (SectionKind kind : {SectionKind::kLinks0, SectionKind::kEntries, SectionKind::kExtents}) {
    FakeLog log(Metric::kL2, 12);
    log.AddRandom(1000, 16);
    const auto sound = log.Seal(0, 500);
    const auto spoiled = Spoil(*log.Graph(500, 1000), kind, 0xFFFFFF00u);
    const std::vector<float> query = RandomQuery(12, 17);
    auto search = Begin(log, Options(log), query, {sound, spoiled}, 1000);
    Status status;
    for (int i = 0; i < 5000 && status.ok(); ++i) {
      Result<MergedSearch::Step> step = search->Next();
      status = step.status();
      if (!step.ok() || step->action == MergedSearch::Action::kDone) break;
      if (step->action == MergedSearch::Action::kRerank) {
        search->Resolve(Distance(log, FakeLog::PositionOf(step->ordinal), query));
      }
    }
    EXPECT_EQ(status.code(), StatusCode::kCorruption) << static_cast<int>(kind);
    EXPECT_EQ(search->corrupt_segment(), spoiled->id());
  }
}

// A file cut short in the middle of a search, or before it: an error that names the segment, and no row that
// rests on what could not be read.
TEST_F(SearchTest, SegmentsThatCannotBeRead) {
  for (const bool started : {false, true}) {
    FakeLog log(Metric::kL2, 12);
    log.AddRandom(3000, 48);
    const auto graph = log.Graph(0, 3000);
    const std::vector<float> query = RandomQuery(12, 49);
    SearchOptions options = Options(log);
    options.max_scan_tuples = 1000000;
    const std::vector<double> truth = BruteForce(log, query);
    auto search = Begin(log, options, query, {graph}, 3000);
    if (started) {
      EXPECT_EQ(Run(search.get(), log, query, 20).size(), 20u);
    }
    std::filesystem::resize_file(graph->path(), 4096);
    Status status;
    size_t rows = 0;
    while (status.ok()) {
      Result<MergedSearch::Step> step = search->Next();
      status = step.status();
      if (!step.ok()) break;
      ASSERT_NE(step->action, MergedSearch::Action::kDone);
      if (step->action == MergedSearch::Action::kEmit) {
        ++rows;
      } else {
        search->Resolve(Distance(log, FakeLog::PositionOf(step->ordinal), query));
      }
    }
    EXPECT_EQ(status.code(), StatusCode::kCorruption);
    EXPECT_EQ(search->corrupt_segment(), graph->id());
    EXPECT_LE(rows, started ? 40u : 0u);
  }
}

// The segment without any link, all of its nodes orphans.
std::shared_ptr<const Segment> WithoutLinks(FakeLog* log, const Segment& segment) {
  const JobOutput output = log->Output(0, 0);
  auto writer = SegmentWriter::Create(output.path, 0600);
  EXPECT_TRUE(writer.ok());
  const std::vector<uint32_t> links(segment.graph().links0.size(), kNoNode);
  std::vector<uint32_t> orphans(segment.node_count());
  std::iota(orphans.begin(), orphans.end(), 0u);
  for (SectionKind kind : {SectionKind::kCodec, SectionKind::kCodes}) {
    EXPECT_TRUE(writer->WriteSection(kind, segment.section(kind)).ok());
  }
  EXPECT_TRUE(writer->WriteSection(SectionKind::kLinks0, AsBytes<uint32_t>(links)).ok());
  EXPECT_TRUE(writer->WriteSection(SectionKind::kEntries, segment.section(SectionKind::kEntries)).ok());
  EXPECT_TRUE(writer->WriteSection(SectionKind::kOrphans, AsBytes<uint32_t>(orphans)).ok());
  EXPECT_TRUE(writer->WriteSection(SectionKind::kExtents, segment.section(SectionKind::kExtents)).ok());
  SegmentHeader header = segment.header();
  header.segment_id = output.segment_id;
  header.entry_rank = kNoNode;
  header.max_level = 0;
  return log->Open(writer->Finish(header));
}

TEST_F(SearchTest, OrphansAreScored) {
  FakeLog log(Metric::kL2, 12);
  log.AddRandom(300, 21);
  const auto orphaned = WithoutLinks(&log, *log.Graph(0, 300));
  const std::vector<float> query = RandomQuery(12, 22);
  auto search = Begin(log, Options(log), query, {orphaned}, 300);
  const std::vector<Row> rows = Run(search.get(), log, query, 5000);
  const std::vector<double> truth = BruteForce(log, query);
  ASSERT_EQ(rows.size(), 300u);
  ExpectDistinct(rows);
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i].distance, truth[i]);
}

TEST_F(SearchTest, NothingGivesNothing) {
  FakeLog log(Metric::kL2, 12);
  const std::vector<float> query = RandomQuery(12, 18);
  auto search = Begin(log, Options(log), query, {}, 0);
  EXPECT_TRUE(Run(search.get(), log, query, 10).empty());
}

// A search in another's memory finds what a new one finds, whatever the other was and however far it came.
TEST_P(MergedSearchTest, RestartedSearchesAreAsNew) {
  FakeLog log(GetParam().metric, 12, GetParam().code), other(Metric::kL2, 30);
  const auto segments = Mixture(&log);
  other.AddRandom(600, 23);
  const auto other_graph = other.Graph(0, 600);
  MergedSearch reused;
  for (uint64_t seed = 30; seed < 40; ++seed) {
    const std::vector<float> query = RandomQuery(12, seed), other_query = RandomQuery(30, seed);
    reused.Restart(Options(other), other_query.data());
    ASSERT_TRUE(reused.AddSegment(other_graph).ok());
    reused.Start();
    Run(&reused, other, other_query, seed % 3 * 40);
    reused.Clear();

    auto fresh = Begin(log, Options(log), query, segments, kMixtureTail);
    reused.Restart(Options(log), query.data());
    for (const auto& segment : segments) ASSERT_TRUE(reused.AddSegment(segment).ok());
    for (size_t position = kMixtureTail; position < log.size(); ++position) {
      reused.AddExact(FakeLog::OrdinalAt(position), FakeLog::SequenceAt(position),
                      Distance(log, position, query));
    }
    reused.Start();
    const std::vector<Row> expected = Run(fresh.get(), log, query, 150);
    const std::vector<Row> rows = Run(&reused, log, query, 150);
    ASSERT_EQ(rows.size(), expected.size());
    for (size_t i = 0; i < rows.size(); ++i) ASSERT_EQ(rows[i].position, expected[i].position);
    EXPECT_EQ(reused.counters().distances, fresh->counters().distances);
    EXPECT_EQ(reused.counters().reranked, fresh->counters().reranked);
    EXPECT_EQ(reused.memory_bytes(), fresh->memory_bytes());
  }
}

TEST_F(SearchTest, ClearedSearchesLetGoOfSegments) {
  FakeLog log(Metric::kL2, 12);
  log.AddRandom(300, 24);
  std::shared_ptr<const Segment> graph = log.Graph(0, 300);
  const std::vector<float> query = RandomQuery(12, 25);
  auto search = Begin(log, Options(log), query, {graph}, 300);
  EXPECT_EQ(Run(search.get(), log, query, 20).size(), 20u);
  EXPECT_GT(graph.use_count(), 1);
  search->Clear();
  EXPECT_EQ(graph.use_count(), 1);
}

// Codes of very different errors in one segment: a code may be near and its vector far, and the other way
// round.
TEST_F(SearchTest, RowsComeInOrderWhereErrorsDiffer) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    FakeLog log(metric, 16, CodeKind::kSq8);
    std::mt19937_64 random(26);
    std::normal_distribution<float> value;
    for (int i = 0; i < 1500; ++i) {
      std::vector<float> vector(16);
      for (float& v : vector) v = value(random);
      vector[0] = i % 2 == 0 ? 0.0f : 300.0f;
      log.Add(vector);
    }
    for (const auto& segment : {log.Seal(0, 1500), log.Graph(0, 1500)}) {
      SearchOptions options = Options(log);
      options.ef_search = 1500;
      for (uint64_t seed = 0; seed < 5; ++seed) {
        std::vector<float> query = RandomQuery(16, 200 + seed);
        query[0] = 300;
        const std::vector<double> truth = BruteForce(log, query);
        auto search = Begin(log, options, query, {segment}, 1500);
        const std::vector<Row> rows = Run(search.get(), log, query, 1500);
        ASSERT_EQ(rows.size(), truth.size());
        for (size_t i = 0; i < rows.size(); ++i) ASSERT_EQ(rows[i].distance, truth[i]) << i;
      }
    }
  }
}

TEST_F(SearchTest, RefusesAnotherGeometry) {
  FakeLog log(Metric::kL2, 12);
  log.AddRandom(50, 19);
  SearchOptions options = Options(log);
  options.dims = 11;
  const std::vector<float> query = RandomQuery(12, 20);
  MergedSearch search(options, query.data());
  EXPECT_EQ(search.AddSegment(log.Seal(0, 50)).code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace vecckpt
