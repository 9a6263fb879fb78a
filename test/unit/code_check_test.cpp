// A code stands for the vectors that were encoded into it, whatever their scale and however often they were
// transcoded, and for no others.

#include "hnsw/code_check.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "built_graph.hpp"

namespace vecckpt {
namespace {

constexpr Metric kMetrics[] = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine, Metric::kL1};
constexpr CodeKind kKinds[] = {CodeKind::kNone, CodeKind::kSq8, CodeKind::kSq4};
constexpr uint32_t kDimsTried[] = {1u, 3u, 9u, 40u, 41u, 300u};
constexpr size_t kCount = 30;

std::vector<float> Random(size_t count, float scale, std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  std::vector<float> values(count);
  for (float& value : values) {
    value = static_cast<float>(std::clamp<double>(normal(random) * scale, -FLT_MAX, FLT_MAX));
    if (value == 0) value = FLT_TRUE_MIN;
  }
  return values;
}

std::unique_ptr<Codec> TrainFor(CodeKind kind, Metric metric, uint32_t dims,
                                const std::vector<float>& vectors) {
  VectorStatistics statistics;
  statistics.Add(vectors.data(), vectors.size());
  return std::move(
      Codec::Train(Codec::KindFor(kind, metric, dims), metric, dims, statistics, vectors).value());
}

void ExpectOwnCodes(const Codec& codec, const CodeArray& codes, const std::vector<float>& vectors) {
  std::vector<float> scratch(codec.dims());
  for (size_t i = 0; i < kCount; ++i)
    ASSERT_TRUE(CodeStandsFor(codec, codes.at(i), vectors.data() + i * codec.dims(), scratch.data()))
        << "kind " << static_cast<int>(codec.kind()) << ", metric " << static_cast<int>(codec.metric())
        << ", dims " << codec.dims() << ", vector " << i;
}

TEST(CodeCheck, OwnCodesAtEveryScale) {
  std::mt19937_64 random(1);
  for (const CodeKind kind : kKinds) {
    for (const Metric metric : kMetrics) {
      for (const uint32_t dims : kDimsTried) {
        for (const float scale :
             {FLT_TRUE_MIN * 10, 1e-40f, 1e-20f, 1e-6f, 1.0f, 1e12f, 1e20f, 1e30f, FLT_MAX / 8}) {
          const std::vector<float> vectors = Random(kCount * dims, scale, random);
          const auto codec = TrainFor(kind, metric, dims, vectors);
          ExpectOwnCodes(*codec, EncodeAll(*codec, vectors), vectors);
        }
      }
    }
  }
}

// One vector of huge values makes the codec scale the others away.
TEST(CodeCheck, OwnCodesWhereScalingLosesBits) {
  std::mt19937_64 random(2);
  for (const CodeKind kind : kKinds) {
    for (const Metric metric : kMetrics) {
      for (const uint32_t dims : kDimsTried) {
        std::vector<float> vectors = Random(kCount * dims, 1e-10f, random);
        for (uint32_t i = 0; i < dims; ++i) vectors[i] *= 1e38f;  // to about 1e28
        const auto codec = TrainFor(kind, metric, dims, vectors);
        ExpectOwnCodes(*codec, EncodeAll(*codec, vectors), vectors);
      }
    }
  }
}

TEST(CodeCheck, OwnCodesAfterTranscoding) {
  std::mt19937_64 random(3);
  for (const CodeKind kind : kKinds) {
    for (const Metric metric : kMetrics) {
      for (const uint32_t dims : kDimsTried) {
        const std::vector<float> vectors = Random(kCount * dims, 1, random);
        auto codec = TrainFor(kind, metric, dims, vectors);
        CodeArray codes = EncodeAll(*codec, vectors);
        for (const float scale : {1.0f, 1e20f, 3.0f, 1e25f}) {
          auto next = TrainFor(kind, metric, dims, Random(kCount * dims, scale, random));
          CodeArray moved(next->stride(), kCount);
          for (size_t i = 0; i < kCount; ++i) next->Transcode(*codec, codes.at(i), moved.at(i));
          ExpectOwnCodes(*next, moved, vectors);
          codes = std::move(moved);
          codec = std::move(next);
        }
      }
    }
  }
}

TEST(CodeCheck, OtherVectorsCodes) {
  std::mt19937_64 random(4);
  for (const CodeKind kind : kKinds) {
    for (const Metric metric : kMetrics) {
      for (const uint32_t dims : {9u, 40u, 300u}) {
        const std::vector<float> vectors = Random(kCount * dims, 1, random);
        const auto codec = TrainFor(kind, metric, dims, vectors);
        const CodeArray codes = EncodeAll(*codec, vectors);
        std::vector<float> scratch(dims);
        for (size_t i = 0; i < kCount; ++i)
          EXPECT_FALSE(
              CodeStandsFor(*codec, codes.at((i + 1) % kCount), vectors.data() + i * dims, scratch.data()));
      }
    }
  }
}

TEST(CodeCheck, CodesThatSayNothing) {
  std::mt19937_64 random(5);
  for (const CodeKind kind : kKinds) {
    const std::vector<float> vectors = Random(kCount * 16, 1, random);
    const auto codec = TrainFor(kind, Metric::kL2, 16, vectors);
    const std::vector<std::byte> ones(codec->stride() + 64, std::byte{0xFF});  // NaN wherever a float is
    CodeArray code(codec->stride(), 1);
    std::copy_n(ones.begin(), codec->stride(), code.at(0));
    std::vector<float> scratch(16);
    EXPECT_FALSE(CodeStandsFor(*codec, code.at(0), vectors.data(), scratch.data()));
  }
}

}  // namespace
}  // namespace vecckpt
