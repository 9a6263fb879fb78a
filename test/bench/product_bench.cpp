// Recall against distances under inner product, where norms differ, of our graphs and of pgvector's. Usage:
//   product_bench [ROWS [DIMS [BASE QUERY]]]
// Without files: random directions; with them (*.u8bin or *.fbin of DIMS values a row): their vectors. Every
// row is multiplied by a number whose logarithm has standard deviation sigma, 0 to 2 in turn. Prints how many
// distances a search computes when its recall reaches 0.9, 0.95 and 0.99, and their ratio to pgvector's.
// VECCKPT_BENCH_QUERIES: default 200.
//
// What stands for pgvector is its way of building (hnswutils.c: lists of 2m on level 0, chosen by the
// heuristic and filled up with what that rejects) over float32, by one thread. Both graphs are searched by
// GraphStream, and of what a search sees the exact nearest count.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <queue>
#include <string>
#include <vector>

#include "../unit/built_graph.hpp"
#include "hnsw/exact.hpp"
#include "hnsw/kernels.hpp"

namespace vecckpt {
namespace {

using Clock = std::chrono::steady_clock;
using Scored = std::pair<double, uint32_t>;  // distance, node

constexpr uint32_t kM = 16;
constexpr uint32_t kEfConstruction = 64;
constexpr size_t kLimits[] = {10, 100};
constexpr double kTargets[] = {0.9, 0.95, 0.99};
constexpr size_t kWidths[] = {10, 20, 40, 80, 160, 320, 640, 1000};

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "product_bench: %s\n", message.c_str());
  std::exit(1);
}

class PgvectorGraph {
 public:
  // `rows`: of a multiple of kFloatBlock values.
  PgvectorGraph(const float* rows, uint32_t count, size_t length)
      : rows_(rows), length_(length), links_(count), marks_(count, 0) {
    std::mt19937_64 random(5);
    for (uint32_t node = 0; node < count; ++node) {
      const double u = (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53;
      links_[node].resize(1 + static_cast<size_t>(-std::log(u) / std::log(kM)));
      if (node > 0) Insert(node);
    }
  }

  BuiltGraph Read() const {
    BuiltGraph graph;
    graph.node_count = static_cast<uint32_t>(links_.size());
    graph.m = kM;
    std::vector<uint32_t> ranks(links_.size(), kNoNode);
    for (uint32_t node = 0; node < graph.node_count; ++node) {
      if (links_[node].size() == 1) continue;
      ranks[node] = static_cast<uint32_t>(graph.upper.nodes.size());
      graph.upper.nodes.push_back(node);
    }
    const auto append = [](std::vector<uint32_t> list, size_t limit, std::vector<uint32_t>* out) {
      list.resize(limit, kNoNode);
      out->insert(out->end(), list.begin(), list.end());
    };
    graph.upper.offsets.push_back(0);
    for (const auto& levels : links_) {
      append(levels[0], 2 * kM, &graph.links0);
      for (size_t level = 1; level < levels.size(); ++level) {
        std::vector<uint32_t> list;
        for (const uint32_t link : levels[level]) list.push_back(ranks[link]);
        append(list, kM, &graph.upper.links);
      }
      const uint32_t end = static_cast<uint32_t>(graph.upper.links.size() / kM);
      if (levels.size() > 1) graph.upper.offsets.push_back(end);
    }
    graph.upper.entry_node = entry_;
    graph.upper.entry_rank = ranks[entry_];
    graph.upper.max_level = static_cast<uint32_t>(links_[entry_].size() - 1);
    return graph;
  }

 private:
  Scored To(uint32_t from, uint32_t node) const {
    return {-FloatSumOfProducts(rows_ + from * length_, rows_ + node * length_, length_), node};
  }

  std::vector<Scored> Walk(uint32_t query, const std::vector<Scored>& starts, size_t width, size_t level) {
    ++round_;
    std::priority_queue<Scored> nearest;
    std::priority_queue<Scored, std::vector<Scored>, std::greater<>> pending;
    const auto see = [&](const Scored& one) {
      if (nearest.size() == width && one >= nearest.top()) return;
      nearest.push(one);
      pending.push(one);
      if (nearest.size() > width) nearest.pop();
    };
    for (const Scored& start : starts) {
      marks_[start.second] = round_;
      see(start);
    }
    while (!pending.empty() && pending.top() <= nearest.top()) {
      const uint32_t node = pending.top().second;
      pending.pop();
      for (const uint32_t link : links_[node][level]) {
        if (marks_[link] == round_) continue;
        marks_[link] = round_;
        see(To(query, link));
      }
    }
    std::vector<Scored> found;
    for (; !nearest.empty(); nearest.pop()) found.push_back(nearest.top());
    return found;
  }

  std::vector<Scored> Select(std::vector<Scored> candidates, size_t limit) const {
    if (candidates.size() <= limit) return candidates;
    std::sort(candidates.begin(), candidates.end());
    std::vector<Scored> chosen, pruned;
    for (const Scored& one : candidates) {
      if (chosen.size() == limit) return chosen;
      const bool is_closer = std::none_of(chosen.begin(), chosen.end(), [&](const Scored& other) {
        return To(one.second, other.second).first <= one.first;
      });
      (is_closer ? chosen : pruned).push_back(one);
    }
    const size_t filling = std::min(pruned.size(), limit - chosen.size());
    chosen.insert(chosen.end(), pruned.begin(), pruned.begin() + static_cast<std::ptrdiff_t>(filling));
    return chosen;
  }

  void LinkBack(uint32_t from, size_t level, uint32_t to) {
    std::vector<uint32_t>& links = links_[from][level];
    links.push_back(to);
    const size_t limit = level == 0 ? 2 * kM : kM;
    if (links.size() <= limit) return;
    std::vector<Scored> candidates;
    for (const uint32_t link : links) candidates.push_back(To(from, link));
    links.clear();
    for (const Scored& one : Select(candidates, limit)) links.push_back(one.second);
  }

  void Insert(uint32_t node) {
    std::vector<Scored> starts = {To(node, entry_)};
    const size_t levels = links_[node].size(), entry_levels = links_[entry_].size();
    for (size_t level = entry_levels; level-- > levels;) starts = Walk(node, starts, 1, level);
    std::vector<std::vector<Scored>> chosen(levels);
    for (size_t level = std::min(levels, entry_levels); level-- > 0;) {
      starts = Walk(node, starts, kEfConstruction, level);
      chosen[level] = Select(starts, level == 0 ? 2 * kM : kM);
    }
    for (size_t level = 0; level < levels; ++level) {
      for (const Scored& one : chosen[level]) links_[node][level].push_back(one.second);
      for (const Scored& one : chosen[level]) LinkBack(one.second, level, node);
    }
    if (levels > entry_levels) entry_ = node;
  }

  const float* rows_;
  size_t length_;
  std::vector<std::vector<std::vector<uint32_t>>> links_;  // by node and level
  std::vector<uint32_t> marks_;
  uint32_t round_ = 0;
  uint32_t entry_ = 0;
};

struct Bench {
  uint32_t rows = 10000, dims = 32;
  std::vector<float> base, queries;
  std::vector<std::vector<uint32_t>> truth;  // the nearest of each query

  const float* row(uint32_t i) const { return base.data() + size_t{i} * dims; }
  const float* query(size_t i) const { return queries.data() + i * dims; }
};

std::vector<uint32_t> Nearest(const Bench& bench, size_t query, const std::vector<uint32_t>& nodes) {
  std::vector<Scored> scored;
  for (const uint32_t node : nodes) {
    scored.emplace_back(ExactDistance(Metric::kInnerProduct, bench.query(query), bench.row(node), bench.dims),
                        node);
  }
  const size_t count = std::min(scored.size(), kLimits[1]);
  std::partial_sort(scored.begin(), scored.begin() + static_cast<std::ptrdiff_t>(count), scored.end());
  std::vector<uint32_t> nearest;
  for (size_t i = 0; i < count; ++i) nearest.push_back(scored[i].second);
  return nearest;
}

// Of one width, summed over queries and then divided by their number.
struct Point {
  double recall[2] = {0, 0};
  double distances = 0;
};

std::vector<Point> SearchAll(const Bench& bench, const Codec& codec, Bytes codes, const BuiltGraph& graph) {
  std::vector<Point> points(std::size(kWidths));
  const double share = 1 / static_cast<double>(bench.truth.size());
  for (size_t q = 0; q < bench.truth.size(); ++q) {
    const std::unique_ptr<QueryScorer> scorer = codec.Prepare(bench.query(q));
    GraphStream stream(graph.View(), codes, codec.stride(), *scorer);
    std::vector<SeenNode> seen;
    for (size_t w = 0; w < points.size(); ++w) {
      if (!AdvanceAndTake(stream, kWidths[w], SIZE_MAX, &seen).ok()) Fail("damaged graph");
      std::vector<uint32_t> nodes(graph.orphans);
      for (const SeenNode& one : seen) nodes.push_back(one.node);
      const std::vector<uint32_t> found = Nearest(bench, q, nodes);
      points[w].distances += share * static_cast<double>(stream.distance_count() + graph.orphans.size());
      for (size_t k = 0; k < std::size(kLimits); ++k) {
        const auto end = bench.truth[q].begin() + static_cast<std::ptrdiff_t>(kLimits[k]);
        for (size_t i = 0; i < std::min(kLimits[k], found.size()); ++i) {
          const bool is_hit = std::find(bench.truth[q].begin(), end, found[i]) != end;
          points[w].recall[k] += is_hit ? share / static_cast<double>(kLimits[k]) : 0;
        }
      }
    }
  }
  return points;
}

// Between widths, by interpolation; infinity if the recall is never reached.
double DistancesAt(const std::vector<Point>& points, size_t k, double recall) {
  for (size_t i = 0; i < points.size(); ++i) {
    if (points[i].recall[k] < recall) continue;
    if (i == 0) return points[0].distances;
    const Point &low = points[i - 1], &high = points[i];
    const double part = (recall - low.recall[k]) / (high.recall[k] - low.recall[k]);
    return low.distances + part * (high.distances - low.distances);
  }
  return INFINITY;
}

void Print(const char* name, double seconds, const std::vector<Point>& points,
           const std::vector<Point>& reference) {
  std::printf("  %-8s built in %5.2f s;", name, seconds);
  for (size_t k = 0; k < std::size(kLimits); ++k) {
    std::printf("  @%zu", kLimits[k]);
    for (const double target : kTargets) {
      const double distances = DistancesAt(points, k, target);
      const double wanted = DistancesAt(reference, k, target);
      std::printf(
          " %5.0f (%s)", distances,
          std::isfinite(wanted) ? std::to_string(distances / wanted).substr(0, 4).c_str() : "pgvector never");
    }
  }
  std::printf("\n");
  std::fflush(stdout);
}

void RunKind(const Bench& bench, CodeKind kind, const char* name, std::vector<Point>* reference) {
  VectorStatistics statistics;
  statistics.Add(bench.base.data(), bench.base.size());
  const auto codec =
      std::move(Codec::Train(kind, Metric::kInnerProduct, bench.dims, statistics, bench.base).value());
  const CodeArray codes = EncodeAll(*codec, bench.base);
  if (reference->empty()) {
    const Clock::time_point begin = Clock::now();
    const PgvectorGraph graph(reinterpret_cast<const float*>(codes.at(0)), bench.rows, codec->stride() / 4);
    const double seconds = SecondsSince(begin);
    *reference = SearchAll(bench, *codec, codes.bytes(), graph.Read());
    Print("pgvector", seconds, *reference, *reference);
  }
  GraphBuildOptions options;
  options.m = kM;
  options.ef_construction = kEfConstruction;
  options.threads.count = 1;
  const std::vector<uint64_t> seeds = SeedsUpTo(bench.rows);
  const Clock::time_point begin = Clock::now();
  GraphBuilder builder(*codec, codes.bytes(), bench.rows, seeds, nullptr, options);
  if (!builder.Build().ok()) Fail("could not build a graph");
  const double seconds = SecondsSince(begin);
  const BuiltGraph graph = BuiltGraph::Read(builder, bench.rows, kM);
  Print(name, seconds, SearchAll(bench, *codec, codes.bytes(), graph), *reference);
}

std::vector<float> RandomDirections(size_t count, uint32_t dims, uint64_t seed) {
  std::vector<float> vectors = ClusteredVectors(count, dims, 1, seed);
  const std::vector<float> centre = [&] {
    std::vector<float> mean(dims, 0);
    for (size_t i = 0; i < vectors.size(); ++i) mean[i % dims] += vectors[i] / static_cast<float>(count);
    return mean;
  }();
  for (size_t i = 0; i < vectors.size(); ++i) vectors[i] -= centre[i % dims];
  for (size_t i = 0; i < count; ++i) {
    float* vector = vectors.data() + i * dims;
    const float norm = static_cast<float>(std::sqrt(SquaredNorm(vector, dims)));
    std::transform(vector, vector + dims, vector, [norm](float value) { return value / norm; });
  }
  return vectors;
}

std::vector<float> ReadVectors(const std::string& path, size_t rows, uint32_t dims) {
  std::ifstream file(path, std::ios::binary);
  uint32_t shape[2] = {0, 0};
  file.read(reinterpret_cast<char*>(shape), sizeof(shape));
  if (!file || shape[0] < rows || shape[1] != dims) Fail("\"" + path + "\" has another shape");
  std::vector<float> vectors(rows * dims);
  if (path.ends_with(".u8bin")) {
    std::vector<uint8_t> bytes(vectors.size());
    file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    vectors.assign(bytes.begin(), bytes.end());
  } else {
    const size_t size = vectors.size() * sizeof(float);
    file.read(reinterpret_cast<char*>(vectors.data()), static_cast<std::streamsize>(size));
  }
  if (!file) Fail("\"" + path + "\" is too short");
  return vectors;
}

void Run(Bench bench, double sigma) {
  std::printf("sigma %.1f, %u x %u\n", sigma, bench.rows, bench.dims);
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  for (uint32_t i = 0; i < bench.rows; ++i) {
    const float factor = static_cast<float>(std::exp(sigma * normal(random)));
    for (uint32_t d = 0; d < bench.dims; ++d) bench.base[size_t{i} * bench.dims + d] *= factor;
  }
  std::vector<uint32_t> every(bench.rows);
  for (uint32_t node = 0; node < bench.rows; ++node) every[node] = node;
  for (size_t q = 0; q < bench.truth.size(); ++q) bench.truth[q] = Nearest(bench, q, every);
  std::vector<Point> reference;
  RunKind(bench, CodeKind::kNone, "none", &reference);
  if (Codec::KindFor(CodeKind::kSq8, Metric::kInnerProduct, bench.dims) == CodeKind::kNone) return;
  RunKind(bench, CodeKind::kSq8, "sq8", &reference);
  RunKind(bench, CodeKind::kSq4, "sq4", &reference);
}

}  // namespace
}  // namespace vecckpt

int main(int argc, char** argv) {
  using namespace vecckpt;
  Bench bench;
  if (argc > 1) bench.rows = static_cast<uint32_t>(std::atoi(argv[1]));
  if (argc > 2) bench.dims = static_cast<uint32_t>(std::atoi(argv[2]));
  if (argc == 4 || bench.rows < 1000 || bench.dims < 1) {
    Fail("usage: product_bench [ROWS [DIMS [BASE QUERY]]], with at least 1000 rows");
  }
  const char* count = std::getenv("VECCKPT_BENCH_QUERIES");
  bench.truth.resize(count == nullptr ? 200 : std::max(std::atoi(count), 1));
  if (argc > 4) {
    bench.base = ReadVectors(argv[3], bench.rows, bench.dims);
    bench.queries = ReadVectors(argv[4], bench.truth.size(), bench.dims);
  } else {
    bench.base = RandomDirections(bench.rows, bench.dims, 1);
    bench.queries = RandomDirections(bench.truth.size(), bench.dims, 2);
  }
  for (const double sigma : {0.0, 0.5, 1.0, 1.5, 2.0}) Run(bench, sigma);
}
