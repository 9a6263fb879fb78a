// Recall against speed of the engine alone, in process: builds one graph segment a code kind over a data set
// and searches it at several ef_search. Usage:
//   search_bench BASE QUERY TRUTH METRIC [rows [folder]]
// BASE and QUERY are *.u8bin, *.f16bin or *.fbin, TRUTH *.ibin (uint32 count, uint32 width, values; for TRUTH
// row numbers), METRIC l2 or cosine. Segments go to `folder` (default: .). VECCKPT_BENCH_THREADS: building
// threads, default 2; VECCKPT_BENCH_ROUNDS: the fastest of so many rounds counts, default 3;
// VECCKPT_BENCH_KIND: none, sq8 or sq4 alone, or several with commas between.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "hnsw/exact.hpp"
#include "index/jobs.hpp"
#include "index/merged_search.hpp"

namespace vecckpt {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kSlots = 256;
constexpr size_t kResults = 10;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "search_bench: %s\n", message.c_str());
  std::exit(1);
}

template <typename T>
T Must(Result<T> result) {
  if (!result.ok()) Fail(result.status().message());
  return std::move(*result);
}

void Must(const Status& status) {
  if (!status.ok()) Fail(status.message());
}

float FromHalf(uint16_t half) {
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  const float magnitude = exponent == 0    ? std::ldexp(static_cast<float>(mantissa), -24)
                          : exponent == 31 ? INFINITY
                                           : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

struct Vectors {
  size_t count = 0;
  uint32_t dims = 0;
  std::vector<float> values;
  const float* at(size_t i) const { return values.data() + i * dims; }
};

bool EndsWith(const std::string& text, const char* end) {
  return text.size() >= std::strlen(end) &&
         text.compare(text.size() - std::strlen(end), std::string::npos, end) == 0;
}

template <typename T>
std::vector<T> ReadValues(std::ifstream* file, size_t count) {
  std::vector<T> values(count);
  file->read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(count * sizeof(T)));
  if (!*file) Fail("file is too short");
  return values;
}

Vectors ReadVectors(const std::string& path, size_t most) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Fail("could not open \"" + path + "\"");
  const std::vector<uint32_t> shape = ReadValues<uint32_t>(&file, 2);
  Vectors vectors;
  vectors.count = std::min<size_t>(shape[0], most);
  vectors.dims = shape[1];
  const size_t count = vectors.count * vectors.dims;
  if (EndsWith(path, ".u8bin")) {
    const auto bytes = ReadValues<uint8_t>(&file, count);
    vectors.values.assign(bytes.begin(), bytes.end());
  } else if (EndsWith(path, ".f16bin")) {
    const auto halves = ReadValues<uint16_t>(&file, count);
    std::transform(halves.begin(), halves.end(), std::back_inserter(vectors.values), FromHalf);
  } else {
    vectors.values = ReadValues<float>(&file, count);
  }
  return vectors;
}

struct Bench {
  Vectors base, queries;
  std::vector<int32_t> truth;
  uint32_t truth_width = 0;
  Metric metric = Metric::kL2;
  std::string folder;
  uint32_t threads = 2;
  int rounds = 3;
};

JobOutput OutputOf(const Bench& bench, CodeKind kind, const char* name) {
  JobOutput output;
  output.path = bench.folder + "/search_bench." + std::to_string(getpid()) + "." + name;
  output.segment_id = 1;
  output.identity = 1;
  output.geometry = {bench.base.dims, 16, 64, kSlots, bench.metric, ElementType::kFloat32, kind};
  output.range = {0, bench.base.count};
  return output;
}

// Position, ordinal and row number are the same here.
EntryBatch BatchOf(const Bench& bench, size_t begin, size_t end) {
  EntryBatch batch;
  batch.vectors.assign(bench.base.at(begin), bench.base.at(end));
  for (size_t i = begin; i < end; ++i) batch.ordinals.push_back(i);
  for (size_t i = begin / kSlots; i * kSlots < end; ++i) {
    batch.extents.push_back({i, 0, static_cast<uint32_t>(i), 0});
  }
  return batch;
}

std::shared_ptr<const Segment> BuildFlat(const Bench& bench, CodeKind kind) {
  VectorStatistics statistics;
  statistics.Add(bench.base.values.data(), bench.base.values.size());
  const JobOutput output = OutputOf(bench, kind, "flat");
  auto builder = Must(FlatSegmentBuilder::Create(output, statistics));
  for (size_t begin = 0; begin < bench.base.count; begin += kSlots) {
    Must(builder->Add(BatchOf(bench, begin, std::min(begin + kSlots, bench.base.count))));
  }
  Must(builder->Finish(output.range, 0, 0));
  auto segment = Must(Segment::Open(output.path));
  unlink(output.path.c_str());
  return segment;
}

std::shared_ptr<const Segment> BuildGraph(const Bench& bench, CodeKind kind,
                                          const std::shared_ptr<const Segment>& flat) {
  GraphInput input;
  input.output = OutputOf(bench, kind, "graph");
  input.segments = {flat};
  input.keep_base_graph = false;
  input.threads = bench.threads;
  input.copy_limit = SIZE_MAX;
  JobContext context;
  Must(RunGraph(input, context));
  auto segment = Must(Segment::Open(input.output.path));
  unlink(input.output.path.c_str());
  return segment;
}

struct Figures {
  double seconds = 0;
  size_t hits = 0;
  SearchCounters counters;
};

Figures SearchAll(const Bench& bench, const std::shared_ptr<const Segment>& segment, uint32_t ef) {
  Figures figures;
  SearchOptions options;
  options.metric = bench.metric;
  options.dims = bench.base.dims;
  options.ef_search = ef;
  std::vector<std::vector<uint64_t>> found(bench.queries.count);
  const Clock::time_point begin = Clock::now();
  for (size_t q = 0; q < bench.queries.count; ++q) {
    const float* query = bench.queries.at(q);
    MergedSearch search(options, query);
    Must(search.AddSegment(segment));
    search.Start();
    while (found[q].size() < kResults) {
      const MergedSearch::Step step = Must(search.Next());
      if (step.action == MergedSearch::Action::kDone) break;
      if (step.action == MergedSearch::Action::kEmit) {
        found[q].push_back(step.ordinal);
      } else {
        search.Resolve(ExactDistance(bench.metric, query, bench.base.at(step.ordinal), bench.base.dims));
      }
    }
    figures.counters.distances += search.counters().distances;
    figures.counters.reranked += search.counters().reranked;
    figures.counters.late += search.counters().late;
  }
  figures.seconds = SecondsSince(begin);
  for (size_t q = 0; q < bench.queries.count; ++q) {
    const int32_t* truth = bench.truth.data() + q * bench.truth_width;
    for (const uint64_t row : found[q]) {
      figures.hits += std::count(truth, truth + kResults, static_cast<int32_t>(row));
    }
  }
  return figures;
}

void Print(const char* kind, uint32_t ef, const Bench& bench, const Figures& figures) {
  const double queries = static_cast<double>(bench.queries.count);
  std::printf("%-5s ef %3u  recall@10 %.4f  %8.0f queries/s  %7.1f distances  %5.1f re-ranked  %.2f late\n",
              kind, ef, static_cast<double>(figures.hits) / queries / kResults, queries / figures.seconds,
              static_cast<double>(figures.counters.distances) / queries,
              static_cast<double>(figures.counters.reranked) / queries,
              static_cast<double>(figures.counters.late) / queries);
  std::fflush(stdout);
}

void Run(const Bench& bench) {
  std::vector<std::pair<const char*, CodeKind>> kinds = {
      {"none", CodeKind::kNone}, {"sq8", CodeKind::kSq8}, {"sq4", CodeKind::kSq4}};
  if (const char* only = std::getenv("VECCKPT_BENCH_KIND")) {
    std::erase_if(kinds, [&](const auto& kind) { return std::strstr(only, kind.first) == nullptr; });
  }
  std::vector<std::shared_ptr<const Segment>> segments;
  for (const auto& [name, kind] : kinds) {
    Clock::time_point begin = Clock::now();
    const auto flat = BuildFlat(bench, kind);
    const double encoding = SecondsSince(begin);
    begin = Clock::now();
    segments.push_back(BuildGraph(bench, kind, flat));
    const double building = SecondsSince(begin);
    std::printf("%-5s flat %.2f s, graph %.2f s with %u threads, %.0f nodes/s, %.0f bytes a node\n", name,
                encoding, building, bench.threads, segments.back()->node_count() / building,
                static_cast<double>(segments.back()->file_size()) / segments.back()->node_count());
  }
  for (const uint32_t ef : {20, 40, 60, 80, 100, 150, 200, 300}) {
    // Kinds take turns, so that what else runs on the machine hits both.
    std::vector<Figures> best(kinds.size());
    for (int round = 0; round < bench.rounds; ++round) {
      for (size_t k = 0; k < kinds.size(); ++k) {
        const Figures figures = SearchAll(bench, segments[k], ef);
        if (round == 0 || figures.seconds < best[k].seconds) best[k] = figures;
      }
    }
    for (size_t k = 0; k < kinds.size(); ++k) Print(kinds[k].first, ef, bench, best[k]);
  }
}

int EnvironmentOr(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::max(std::atoi(value), 1);
}

}  // namespace
}  // namespace vecckpt

int main(int argc, char** argv) {
  using namespace vecckpt;
  if (argc < 5) Fail("usage: search_bench BASE QUERY TRUTH l2|cosine [rows [folder]]");
  Bench bench;
  const size_t rows = argc > 5 ? std::strtoull(argv[5], nullptr, 10) : SIZE_MAX;
  bench.base = ReadVectors(argv[1], rows);
  bench.queries = ReadVectors(argv[2], SIZE_MAX);
  std::ifstream file(argv[3], std::ios::binary);
  if (!file) Fail(std::string("could not open \"") + argv[3] + "\"");
  const std::vector<uint32_t> shape = ReadValues<uint32_t>(&file, 2);
  bench.truth_width = shape[1];
  if (shape[0] != bench.queries.count || shape[1] < kResults) Fail("truth does not fit the queries");
  bench.truth = ReadValues<int32_t>(&file, size_t{shape[0]} * shape[1]);
  bench.metric = std::string(argv[4]) == "cosine" ? Metric::kCosine : Metric::kL2;
  bench.folder = argc > 6 ? argv[6] : ".";
  bench.threads = static_cast<uint32_t>(EnvironmentOr("VECCKPT_BENCH_THREADS", 2));
  bench.rounds = EnvironmentOr("VECCKPT_BENCH_ROUNDS", 3);
  Run(bench);
}
