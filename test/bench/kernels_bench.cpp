// How long the distance kernels take: float32, double (re-ranking), bytes and nibbles, each implementation,
// and what the codecs make of them. Not run by the tests: build/kernels_bench.

#include <benchmark/benchmark.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "hnsw/byte_kernels.hpp"
#include "hnsw/codec.hpp"
#include "hnsw/exact.hpp"
#include "hnsw/kernels.hpp"
#include "hnsw/nibble_kernels.hpp"

namespace vecckpt {
namespace {

std::vector<float> RandomFloats(size_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.5f);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

std::vector<uint8_t> RandomBytes(size_t count) {
  std::mt19937 random(2);
  std::vector<uint8_t> values(count);
  for (uint8_t& value : values) value = static_cast<uint8_t>(random());
  return values;
}

// Codes side by side, aligned to cache lines.
struct alignas(64) Line {
  std::byte bytes[64];
};

struct EncodedSet {
  EncodedSet(CodeKind kind, Metric metric, uint32_t dims, size_t count)
      : vectors(RandomFloats(dims * count)) {
    VectorStatistics statistics;
    statistics.Add(vectors.data(), vectors.size());
    codec = std::move(Codec::Train(kind, metric, dims, statistics, vectors).value());
    lines.resize(codec->stride() * count / 64);
    for (size_t i = 0; i < count; ++i) codec->Encode(vectors.data() + i * dims, at(i));
  }
  std::byte* at(size_t i) { return lines.data()->bytes + i * codec->stride(); }

  std::vector<float> vectors;
  std::unique_ptr<Codec> codec;
  std::vector<Line> lines;
};

constexpr size_t kSetSize = 256;

void FloatKernel(benchmark::State& state, float (*kernel)(const float*, const float*, size_t)) {
  const size_t n = static_cast<size_t>(state.range(0));
  const std::vector<float> a = RandomFloats(n), b = RandomFloats(n);
  for (auto _ : state) benchmark::DoNotOptimize(kernel(a.data(), b.data(), n));
}

void Exact(benchmark::State& state, Metric metric) {
  const size_t n = static_cast<size_t>(state.range(0));
  const std::vector<float> a = RandomFloats(n), b = RandomFloats(n);
  for (auto _ : state) benchmark::DoNotOptimize(ExactDistance(metric, a.data(), b.data(), n));
}

template <typename Kernels>
void WithSigned(benchmark::State& state, const Kernels& kernels) {
  const size_t n = static_cast<size_t>(state.range(0));
  const std::vector<uint8_t> a = RandomBytes(n), b = RandomBytes(n);
  const auto* query = reinterpret_cast<const int8_t*>(b.data());
  for (auto _ : state) benchmark::DoNotOptimize(kernels.dot_with_signed(a.data(), query, n));
}

template <typename Kernels>
void WithCode(benchmark::State& state, const Kernels& kernels) {
  const size_t n = static_cast<size_t>(state.range(0));
  const std::vector<uint8_t> a = RandomBytes(n), b = RandomBytes(n);
  for (auto _ : state) benchmark::DoNotOptimize(kernels.dot_shifted(a.data(), b.data(), n));
}

void Encode(benchmark::State& state, CodeKind kind, Metric metric) {
  EncodedSet set(kind, metric, static_cast<uint32_t>(state.range(0)), kSetSize);
  for (auto _ : state) {
    set.codec->Encode(set.vectors.data(), set.at(0));
    benchmark::ClobberMemory();
  }
}

void Scan(benchmark::State& state, CodeKind kind, Metric metric) {
  EncodedSet set(kind, metric, static_cast<uint32_t>(state.range(0)), kSetSize);
  const auto scorer = set.codec->Prepare(set.vectors.data());
  std::vector<float> distances(kSetSize);
  for (auto _ : state) {
    scorer->Distances(set.at(0), kSetSize, distances.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kSetSize));
}

void LowerBounds(benchmark::State& state, CodeKind kind, Metric metric) {
  EncodedSet set(kind, metric, static_cast<uint32_t>(state.range(0)), kSetSize);
  const auto scorer = set.codec->Prepare(set.vectors.data());
  std::vector<float> distances(kSetSize);
  scorer->Distances(set.at(0), kSetSize, distances.data());
  for (auto _ : state) {
    for (size_t i = 0; i < kSetSize; ++i) {
      benchmark::DoNotOptimize(scorer->LowerBound(distances[i], set.at(i)));
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kSetSize));
}

void CodeDistances(benchmark::State& state, CodeKind kind, Metric metric) {
  EncodedSet set(kind, metric, static_cast<uint32_t>(state.range(0)), kSetSize);
  for (auto _ : state) {
    for (size_t i = 0; i < kSetSize; ++i) {
      benchmark::DoNotOptimize(set.codec->CodeDistance(set.at(0), set.at(i)));
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kSetSize));
}

template <typename Function, typename... Arguments>
void Register(const std::string& name, Function function, Arguments... arguments) {
  auto* registered = benchmark::RegisterBenchmark(
      name.c_str(), [=](benchmark::State& state) { function(state, arguments...); });
  for (const int64_t n : {128, 768, 1536}) registered->Arg(n);
}

void RegisterAll() {
  Register("float/l2", FloatKernel, FloatSumOfSquaredDifferences);
  Register("float/product", FloatKernel, FloatSumOfProducts);
  Register("float/l1", FloatKernel, FloatSumOfAbsoluteDifferences);
  Register("exact/l2", Exact, Metric::kL2);
  Register("exact/product", Exact, Metric::kInnerProduct);
  Register("exact/cosine", Exact, Metric::kCosine);
  Register("exact/l1", Exact, Metric::kL1);
  for (const ByteKernels& kernels : AllByteKernels()) {
    Register(std::string("bytes/with_signed/") + kernels.name, WithSigned<ByteKernels>, kernels);
    Register(std::string("bytes/with_bytes/") + kernels.name, WithCode<ByteKernels>, kernels);
  }
  for (const NibbleKernels& kernels : AllNibbleKernels()) {
    Register(std::string("nibbles/with_signed/") + kernels.name, WithSigned<NibbleKernels>, kernels);
    Register(std::string("nibbles/with_nibbles/") + kernels.name, WithCode<NibbleKernels>, kernels);
  }
  const std::pair<const char*, CodeKind> kinds[] = {
      {"none", CodeKind::kNone}, {"sq8", CodeKind::kSq8}, {"sq4", CodeKind::kSq4}};
  const std::pair<const char*, Metric> metrics[] = {
      {"l2", Metric::kL2}, {"product", Metric::kInnerProduct}, {"cosine", Metric::kCosine}};
  for (const auto& [kind_name, kind] : kinds) {
    for (const auto& [metric_name, metric] : metrics) {
      const std::string name = std::string("/") + kind_name + "/" + metric_name;
      Register("encode" + name, Encode, kind, metric);
      Register("scan" + name, Scan, kind, metric);
      Register("lower_bound" + name, LowerBounds, kind, metric);
      Register("code_distance" + name, CodeDistances, kind, metric);
    }
  }
}

}  // namespace
}  // namespace vecckpt

int main(int argc, char** argv) {
  vecckpt::RegisterAll();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
