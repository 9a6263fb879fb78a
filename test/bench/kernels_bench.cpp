// How long the distance kernels take: float32 codes, exact distances of float32 and float16 vectors, bytes
// and nibbles, each implementation and each instruction set that runs here, and what the codecs make of them.
// Not run by the tests: build/kernels_bench --benchmark_filter='exact/l2|bytes'.

#include <benchmark/benchmark.h>

#include <hwy/targets.h>

#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "hnsw/byte_kernels.hpp"
#include "hnsw/codec.hpp"
#include "hnsw/exact.hpp"
#include "hnsw/half_kernels.hpp"
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

// Positive ones, from 0.25 to 1.
std::vector<Half> RandomHalves(size_t count) {
  std::mt19937 random(3);
  std::vector<Half> values(count);
  for (Half& value : values) value.bits = static_cast<uint16_t>(0x3400 + random() % 0x0800);
  return values;
}

template <typename T>
std::vector<T> RandomVector(size_t count) {
  if constexpr (std::is_same_v<T, Half>) {
    return RandomHalves(count);
  } else {
    return RandomFloats(count);
  }
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

template <typename A, typename B>
void Exact(benchmark::State& state, Metric metric) {
  const size_t n = static_cast<size_t>(state.range(0));
  const std::vector<A> a = RandomVector<A>(n);
  const std::vector<B> b = RandomVector<B>(n);
  for (auto _ : state) benchmark::DoNotOptimize(ExactDistance(metric, a.data(), b.data(), n));
}

void Convert(benchmark::State& state) {
  const size_t n = static_cast<size_t>(state.range(0));
  const std::vector<Half> halves = RandomHalves(n);
  std::vector<float> floats(n);
  for (auto _ : state) {
    HalvesToFloats(halves.data(), n, floats.data());
    benchmark::ClobberMemory();
  }
}

using DotWithSigned = int32_t (*)(const uint8_t*, const int8_t*, size_t);
using DotOfCodes = int32_t (*)(const uint8_t*, const uint8_t*, size_t);

void WithQuery(benchmark::State& state, DotWithSigned kernel) {
  const size_t n = static_cast<size_t>(state.range(0));
  const std::vector<uint8_t> a = RandomBytes(n), b = RandomBytes(n);
  const auto* query = reinterpret_cast<const int8_t*>(b.data());
  for (auto _ : state) benchmark::DoNotOptimize(kernel(a.data(), query, n));
}

void WithCode(benchmark::State& state, DotOfCodes kernel) {
  const size_t n = static_cast<size_t>(state.range(0));
  std::vector<uint8_t> a = RandomBytes(n), b = RandomBytes(n);
  for (auto _ : state) benchmark::DoNotOptimize(kernel(a.data(), b.data(), n));
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

// 0: every one that the processor has, so that the best is chosen.
void UseTarget(int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

template <typename Function, typename... Arguments>
void RegisterOn(int64_t target, const std::string& name, Function function, Arguments... arguments) {
  auto* registered = benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
    UseTarget(target);
    function(state, arguments...);
  });
  for (const int64_t n : {128, 768, 1536}) registered->Arg(n);
}

template <typename Function, typename... Arguments>
void Register(const std::string& name, Function function, Arguments... arguments) {
  RegisterOn(0, name, function, arguments...);
}

// Highway's kernels, on each instruction set.
template <typename Function, typename... Arguments>
void RegisterEach(const std::string& name, Function function, Arguments... arguments) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    RegisterOn(target, name + "/" + hwy::TargetName(target), function, arguments...);
  }
}

struct NamedMetric {
  const char* name;
  Metric metric;
};
constexpr NamedMetric kMetrics[] = {{"l2", Metric::kL2},
                                    {"product", Metric::kInnerProduct},
                                    {"cosine", Metric::kCosine},
                                    {"l1", Metric::kL1}};

void RegisterKernels() {
  RegisterEach("float/l2", FloatKernel, FloatSumOfSquaredDifferences);
  RegisterEach("float/product", FloatKernel, FloatSumOfProducts);
  RegisterEach("float/l1", FloatKernel, FloatSumOfAbsoluteDifferences);
  RegisterEach("float/absolute_product", FloatKernel, FloatSumOfAbsoluteProducts);
  for (const auto& [name, metric] : kMetrics) {
    RegisterEach(std::string("exact/") + name, Exact<float, float>, metric);
    RegisterEach(std::string("exact_float_half/") + name, Exact<float, Half>, metric);
    RegisterEach(std::string("exact_halves/") + name, Exact<Half, Half>, metric);
  }
  RegisterEach("convert_halves", Convert);
  for (const ByteKernels& kernels : AllByteKernels().first(AllByteKernels().size() - 1)) {
    Register(std::string("bytes/with_signed/") + kernels.name, WithQuery, kernels.dot_with_signed);
    Register(std::string("bytes/shifted/") + kernels.name, WithCode, kernels.dot_shifted);
  }
  RegisterEach("bytes/with_signed", WithQuery, AllByteKernels().back().dot_with_signed);
  RegisterEach("bytes/shifted", WithCode, AllByteKernels().back().dot_shifted);
  for (const NibbleKernels& kernels : AllNibbleKernels().first(AllNibbleKernels().size() - 1)) {
    Register(std::string("nibbles/with_signed/") + kernels.name, WithQuery, kernels.dot_with_signed);
    Register(std::string("nibbles/dot/") + kernels.name, WithCode, kernels.dot);
  }
  RegisterEach("nibbles/with_signed", WithQuery, AllNibbleKernels().back().dot_with_signed);
  RegisterEach("nibbles/dot", WithCode, AllNibbleKernels().back().dot);
}

void RegisterCodecs() {
  const std::pair<const char*, CodeKind> kinds[] = {
      {"none", CodeKind::kNone}, {"sq8", CodeKind::kSq8}, {"sq4", CodeKind::kSq4}};
  for (const auto& [kind_name, kind] : kinds) {
    for (const auto& [metric_name, metric] : kMetrics) {
      if (Codec::KindFor(kind, metric, 128) != kind) continue;
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
  vecckpt::RegisterKernels();
  vecckpt::RegisterCodecs();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
