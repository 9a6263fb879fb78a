// The sq4 codec: lower bounds that are nearly never above the exact distance and still keep most candidates
// from being re-ranked; errors that are never above what a code says they are; and what holds for sq8 too.

#include "hnsw/codec_sq4.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "built_graph.hpp"
#include "hnsw/exact.hpp"

namespace vecckpt {
namespace {

constexpr Metric kMetrics[] = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine};

// Normal values around `centre`; never zero, for cosine's sake.
std::vector<float> Random(size_t count, float scale, std::mt19937_64& random, float centre = 0) {
  std::normal_distribution<double> normal;
  std::vector<float> values(count);
  for (float& value : values) {
    value = static_cast<float>(std::clamp<double>(centre + normal(random) * scale, -FLT_MAX, FLT_MAX));
    if (value == 0) value = FLT_TRUE_MIN;
  }
  return values;
}

std::unique_ptr<Codec> TrainFor(Metric metric, uint32_t dims, const std::vector<float>& vectors) {
  VectorStatistics statistics;
  statistics.Add(vectors.data(), vectors.size());
  return std::move(Codec::Train(CodeKind::kSq4, metric, dims, statistics, vectors).value());
}

struct BoundCounts {
  size_t all = 0;
  size_t violated = 0;
};

// Bounds of all codes against one query.
void CountBounds(const Codec& codec, const CodeArray& codes, const std::vector<float>& vectors,
                 const float* query, BoundCounts* counts) {
  const uint32_t dims = codec.dims();
  const std::unique_ptr<QueryScorer> scorer = codec.Prepare(query);
  for (size_t i = 0; i < vectors.size() / dims; ++i) {
    const float distance = scorer->Distance(codes.at(i));
    ASSERT_TRUE(std::isfinite(distance));
    const double bound = scorer->LowerBound(distance, codes.at(i));
    ASSERT_FALSE(std::isnan(bound));
    if (codec.metric() != Metric::kInnerProduct) {
      ASSERT_GE(bound, 0);
    }
    ++counts->all;
    counts->violated += bound > ExactDistance(codec.metric(), query, vectors.data() + i * dims, dims);
  }
}

// Against queries from `queries`, against the vectors themselves, and against neighbours of them at several
// distances.
BoundCounts CountBounds(Metric metric, uint32_t dims, const std::vector<float>& vectors,
                        const std::vector<float>& queries) {
  std::mt19937_64 random(77);
  const auto codec = TrainFor(metric, dims, vectors);
  const CodeArray codes = EncodeAll(*codec, vectors);
  BoundCounts counts;
  for (size_t q = 0; q < queries.size() / dims; ++q) {
    CountBounds(*codec, codes, vectors, queries.data() + q * dims, &counts);
  }
  std::normal_distribution<float> normal;
  for (size_t i = 0; i < vectors.size() / dims; ++i) {
    for (const float distance : {0.0f, 0.01f, 0.1f, 0.5f}) {
      std::vector<float> one(vectors.begin() + i * dims, vectors.begin() + (i + 1) * dims);
      const double unit = std::sqrt(SquaredNorm(one.data(), dims) / dims);
      std::vector<float> query(one);
      for (float& value : query) value += static_cast<float>(unit * distance * normal(random));
      CodeArray code(codec->stride(), 1);
      std::memcpy(code.at(0), codes.at(i), codec->stride());
      CountBounds(*codec, code, one, query.data(), &counts);
    }
  }
  return counts;
}

void ExpectFewViolations(const char* what, const BoundCounts& counts) {
  EXPECT_GE(counts.all, 10000u);
  EXPECT_LE(static_cast<double>(counts.violated), 1e-3 * static_cast<double>(counts.all)) << what;
}

constexpr size_t kVectors = 600;
constexpr size_t kQueries = 40;

TEST(Sq4Codec, BoundsOfNormalVectorsAreRarelyViolated) {
  std::mt19937_64 random(1);
  for (const Metric metric : kMetrics) {
    for (const uint32_t dims : {17u, 32u, 128u, 768u}) {
      for (const float centre : {0.0f, 3.0f}) {
        const std::vector<float> vectors = Random(kVectors * dims, 1, random, centre);
        const std::vector<float> queries = Random(kQueries * dims, 1, random, centre);
        ExpectFewViolations("normal", CountBounds(metric, dims, vectors, queries));
      }
    }
  }
}

TEST(Sq4Codec, BoundsOfClusteredVectorsAreRarelyViolated) {
  for (const Metric metric : kMetrics) {
    for (const uint32_t dims : {32u, 128u, 768u}) {
      const std::vector<float> all = ClusteredVectors(kVectors + kQueries, dims, 8, 2);
      const std::vector<float> vectors(all.begin(), all.begin() + kVectors * dims);
      const std::vector<float> queries(all.begin() + kVectors * dims, all.end());
      ExpectFewViolations("clustered", CountBounds(metric, dims, vectors, queries));
    }
  }
}

// Components of other shapes: uniform, mostly zero, and falling with the dimension.
TEST(Sq4Codec, BoundsOfOtherShapesAreRarelyViolated) {
  std::mt19937_64 random(3);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::exponential_distribution<float> exponential;
  for (const Metric metric : kMetrics) {
    for (const uint32_t dims : {32u, 128u, 768u}) {
      for (int shape = 0; shape < 3; ++shape) {
        std::vector<float> all((kVectors + kQueries) * dims);
        for (size_t i = 0; i < all.size(); ++i) {
          const float d = static_cast<float>(i % dims);
          all[i] = shape == 0   ? uniform(random)
                   : shape == 1 ? (random() % 4 == 0 ? exponential(random) : 0)
                                : uniform(random) / (1 + d / 8);
        }
        const std::vector<float> vectors(all.begin(), all.begin() + kVectors * dims);
        const std::vector<float> queries(all.begin() + kVectors * dims, all.end());
        ExpectFewViolations(shape == 0   ? "uniform"
                            : shape == 1 ? "sparse"
                                         : "falling",
                            CountBounds(metric, dims, vectors, queries));
      }
    }
  }
}

// With so few dimensions the bound is sq8's, which always holds.
TEST(Sq4Codec, BoundsHoldUpTo16Dims) {
  std::mt19937_64 random(4);
  for (const Metric metric : kMetrics) {
    for (const uint32_t dims : {9u, 12u, 16u}) {
      for (const float scale : {1e-40f, 1e-16f, 1.0f, 1e30f}) {
        const std::vector<float> vectors = Random(kVectors * dims, scale, random, scale / 2);
        const std::vector<float> queries = Random(kQueries * dims, scale, random);
        EXPECT_EQ(CountBounds(metric, dims, vectors, queries).violated, 0u);
      }
    }
  }
}

TEST(Sq4Codec, BoundsAreRarelyViolatedAtEveryScale) {
  std::mt19937_64 random(5);
  const uint32_t dims = 100;
  const float scales[] = {FLT_TRUE_MIN * 100, 1e-30f, 1e-20f, 1e-6f, 1e6f, 1e16f, 1e30f, FLT_MAX / 8};
  for (const Metric metric : kMetrics) {
    BoundCounts counts;
    for (const float scale : scales) {
      const std::vector<float> vectors = Random(200 * dims, scale, random);
      const auto codec = TrainFor(metric, dims, vectors);
      const CodeArray codes = EncodeAll(*codec, vectors);
      for (const float query_scale : scales) {
        CountBounds(*codec, codes, vectors, Random(dims, query_scale, random).data(), &counts);
      }
    }
    ExpectFewViolations("scales", counts);
  }
}

TEST(Sq4Codec, TranscodingKeepsBounds) {
  std::mt19937_64 random(6);
  const uint32_t dims = 70;
  for (const Metric metric : kMetrics) {
    const auto first = TrainFor(metric, dims, Random(20 * dims, 1, random, 3));
    const auto second = TrainFor(metric, dims, Random(20 * dims, 2, random, -1));
    const std::vector<float> vectors = Random(kVectors * dims, 1, random, 2);
    CodeArray codes = EncodeAll(*first, vectors);
    const Codec* held_by = first.get();
    BoundCounts counts;
    for (const Codec* codec : {second.get(), first.get()}) {
      CodeArray next(codec->stride(), kVectors);
      for (size_t i = 0; i < kVectors; ++i) {
        codec->Transcode(*held_by, codes.at(i), next.at(i));
        EXPECT_GT(codec->CodeError(next.at(i)), held_by->CodeError(codes.at(i)));
      }
      codes = std::move(next);
      held_by = codec;
      for (size_t q = 0; q < kQueries; ++q) {
        CountBounds(*codec, codes, vectors, Random(dims, 1, random, 2).data(), &counts);
      }
    }
    ExpectFewViolations("transcoded", counts);
  }
}

// Bounds that hold may also be useless. Of 20,000 clustered vectors, how many have a bound below the exact
// distance of the tenth?
TEST(Sq4Codec, FewCandidatesAreReranked) {
  const size_t count = 20000, queries = 20;
  for (const Metric metric : {Metric::kL2, Metric::kCosine}) {
    for (const uint32_t dims : {96u, 384u}) {
      const std::vector<float> all = ClusteredVectors(count + queries, dims, 200, 7);
      const std::vector<float> vectors(all.begin(), all.begin() + count * dims);
      const auto codec = TrainFor(metric, dims, vectors);
      const CodeArray codes = EncodeAll(*codec, vectors);
      size_t reranked = 0;
      for (size_t q = 0; q < queries; ++q) {
        const float* query = all.data() + (count + q) * dims;
        const auto scorer = codec->Prepare(query);
        std::vector<double> exact(count), bounds(count);
        for (size_t i = 0; i < count; ++i) {
          exact[i] = ExactDistance(metric, query, vectors.data() + i * dims, dims);
          bounds[i] = scorer->LowerBound(scorer->Distance(codes.at(i)), codes.at(i));
        }
        std::nth_element(exact.begin(), exact.begin() + 9, exact.end());
        for (const double bound : bounds) reranked += bound <= exact[9];
      }
      EXPECT_GE(reranked, 10 * queries);
      EXPECT_LE(reranked, 90 * queries) << dims << " dims";
    }
  }
}

// The error that a code states is the norm of what it misses, and no less.
TEST(Sq4Codec, CodeErrorIsTheNormOfTheDifference) {
  std::mt19937_64 random(8);
  for (const uint32_t dims : {9u, 80u, 127u, 128u, 129u, 300u, 768u, 16000u}) {
    const std::vector<float> vectors = Random(20 * dims, 1, random, 0.5f);
    const auto codec = TrainFor(Metric::kL2, dims, vectors);
    const CodeArray codes = EncodeAll(*codec, vectors);
    for (size_t i = 0; i < 20; ++i) {
      std::vector<float> decoded(dims);
      codec->Decode(codes.at(i), decoded.data());
      const double error =
          std::sqrt(ExactDistance(Metric::kL2, decoded.data(), vectors.data() + i * dims, dims));
      EXPECT_LE(error, codec->CodeError(codes.at(i)) * (1 + 1e-6));
      EXPECT_GE(error, codec->CodeError(codes.at(i)) * (1 - 1e-5));
      // 15 steps from the least to the largest component, and no component is off by more than half a step.
      EXPECT_LE(error, std::sqrt(dims) * 12.0 / 15 / 2);
    }
  }
}

TEST(Sq4Codec, DistancesAreClose) {
  std::mt19937_64 random(9);
  for (const Metric metric : kMetrics) {
    for (const uint32_t dims : {63u, 128u, 1000u}) {
      const std::vector<float> vectors = Random(20 * dims, 1, random, 0.5f);
      const auto codec = TrainFor(metric, dims, vectors);
      const CodeArray codes = EncodeAll(*codec, vectors);
      // Half the squared distance of unit vectors is what cosine means.
      const double factor = metric == Metric::kCosine ? 0.5 : 1;
      const double unit = metric == Metric::kCosine ? 1 : dims;
      for (size_t i = 0; i < 19; ++i) {
        const float* query = vectors.data() + (i + 1) * dims;
        const double exact = ExactDistance(metric, vectors.data() + i * dims, query, dims);
        const auto scorer = codec->Prepare(query);
        // Under inner product the scorer's scale is the query's own.
        const float largest = std::fabs(*std::max_element(
            query, query + dims, [](float a, float b) { return std::fabs(a) < std::fabs(b); }));
        const double scale = metric == Metric::kInnerProduct ? std::exp2(std::ilogb(largest) + 1) : 1;
        EXPECT_NEAR(scorer->Distance(codes.at(i)) * scale, exact, 1.2 / std::sqrt(dims) * unit);
        const float apart = codec->CodeDistance(codes.at(i), codes.at(i + 1));
        EXPECT_NEAR(factor * apart, exact, 1.7 / std::sqrt(dims) * unit);
        EXPECT_EQ(apart, codec->CodeDistance(codes.at(i + 1), codes.at(i)));
      }
      std::vector<float> batch(20), gathered(2);
      const auto scorer = codec->Prepare(vectors.data());
      scorer->Distances(codes.at(0), 20, batch.data());
      const uint32_t nodes[] = {17, 3};
      scorer->DistancesOf(codes.at(0), nodes, gathered.data(), {});
      EXPECT_EQ(batch[5], scorer->Distance(codes.at(5)));
      EXPECT_EQ(gathered[0], batch[17]);
      EXPECT_EQ(gathered[1], batch[3]);
    }
  }
}

TEST(Sq4Codec, StridesAreShort) {
  EXPECT_EQ(Codec::Stride(CodeKind::kSq4, 9), 64u);
  EXPECT_EQ(Codec::Stride(CodeKind::kSq4, 80), 64u);
  EXPECT_EQ(Codec::Stride(CodeKind::kSq4, 81), 128u);
  EXPECT_EQ(Codec::Stride(CodeKind::kSq4, 128), 128u);
  EXPECT_EQ(Codec::Stride(CodeKind::kSq4, 208), 128u);
  EXPECT_EQ(Codec::Stride(CodeKind::kSq4, 768), 448u);
  EXPECT_EQ(Codec::Stride(CodeKind::kSq4, kMaxDims), 8064u);
}

TEST(Sq4Codec, EqualVectorsHaveEqualCodes) {
  std::mt19937_64 random(10);
  for (const Metric metric : kMetrics) {
    std::vector<float> a = Random(13, 1, random);
    a[3] = 0.0f;
    std::vector<float> b = a;
    b[3] = -0.0f;
    const auto codec = std::move(Codec::Train(CodeKind::kSq4, metric, 13, {4}).value());
    CodeArray codes(codec->stride(), 2);
    std::memset(codes.at(0), 0xFF, codec->stride());
    codec->Encode(a.data(), codes.at(0));
    codec->Encode(b.data(), codes.at(1));
    EXPECT_EQ(0, std::memcmp(codes.at(0), codes.at(1), codec->stride()));
    EXPECT_EQ(codes.at(0)[6] >> 4, std::byte{0});
    for (size_t i = 7; i < codec->stride() - sizeof(ScalarTrailer); ++i) {
      EXPECT_EQ(codes.at(0)[i], std::byte{0});
    }
  }
}

TEST(Sq4Codec, HugeQueriesKeepTheOrder) {
  std::mt19937_64 random(11);
  const uint32_t dims = 10;
  const std::vector<float> vectors = Random(50 * dims, 1, random);
  const auto codec = TrainFor(Metric::kL2, dims, vectors);
  const CodeArray codes = EncodeAll(*codec, vectors);
  for (const float size : {1e19f, 1e25f, 1e38f}) {
    std::vector<float> query(dims);
    for (float& value : query) value = random() % 2 ? size : -size;
    const auto scorer = codec->Prepare(query.data());
    for (size_t i = 0; i + 1 < 50; ++i) {
      const double a = ExactDistance(Metric::kInnerProduct, query.data(), vectors.data() + i * dims, dims);
      const double b =
          ExactDistance(Metric::kInnerProduct, query.data(), vectors.data() + (i + 1) * dims, dims);
      if (std::fabs(a - b) < 2 * size) continue;
      EXPECT_EQ(a < b, scorer->Distance(codes.at(i)) < scorer->Distance(codes.at(i + 1)));
    }
  }
}

TEST(Sq4Codec, KindsFollowMetricAndDims) {
  EXPECT_EQ(Codec::KindFor(CodeKind::kSq4, Metric::kL2, 9), CodeKind::kSq4);
  EXPECT_EQ(Codec::KindFor(CodeKind::kSq4, Metric::kCosine, 8), CodeKind::kNone);
  EXPECT_EQ(Codec::KindFor(CodeKind::kSq4, Metric::kL1, 100), CodeKind::kNone);
  EXPECT_TRUE(IsCodeKind(static_cast<uint8_t>(CodeKind::kSq4)));
  EXPECT_FALSE(IsCodeKind(0));
  EXPECT_FALSE(IsCodeKind(4));
  EXPECT_EQ(Codec::Train(CodeKind::kSq4, Metric::kL1, 100, {1}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(Codec::Train(CodeKind::kSq4, Metric::kL2, 8, {1}).status().code(), StatusCode::kInvalidArgument);
}

TEST(Sq4Codec, ParametersRoundTrip) {
  std::mt19937_64 random(12);
  for (const Metric metric : kMetrics) {
    const std::vector<float> vectors = Random(300 * 12, 1e30f, random, 1e30f);
    const auto codec = TrainFor(metric, 12, vectors);
    const auto loaded = Codec::Load(CodeKind::kSq4, metric, 12, codec->Parameters());
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    EXPECT_EQ((*loaded)->kind(), CodeKind::kSq4);
    EXPECT_TRUE((*loaded)->SameAs(*codec));
    const auto other_kind = Codec::Load(CodeKind::kSq8, metric, 12, codec->Parameters());
    EXPECT_FALSE((*other_kind)->SameAs(*codec));
    EXPECT_FALSE(codec->SameAs(**other_kind));
    const std::vector<std::byte> parameters = codec->Parameters();
    EXPECT_EQ(Codec::Load(CodeKind::kSq4, metric, 13, parameters).status().code(), StatusCode::kCorruption);
  }
}

// Whatever bytes a damaged file holds, distances have an order, and so have bounds.
TEST(Sq4Codec, DistancesOfDamagedCodesAreNeverNaN) {
  std::mt19937_64 random(13);
  for (const Metric metric : kMetrics) {
    for (const uint32_t dims : {9u, 33u}) {
      const auto codec = TrainFor(metric, dims, Random(10 * dims, 1, random));
      const auto scorer = codec->Prepare(Random(dims, 1, random).data());
      CodeArray codes(codec->stride(), 2);
      for (int round = 0; round < 20000; ++round) {
        for (size_t i = 0; i < 2 * codec->stride(); ++i) codes.at(0)[i] = static_cast<std::byte>(random());
        const float distance = scorer->Distance(codes.at(0));
        EXPECT_FALSE(std::isnan(distance));
        EXPECT_FALSE(std::isnan(codec->CodeDistance(codes.at(0), codes.at(1))));
        const double bound = scorer->LowerBound(distance, codes.at(0));
        EXPECT_FALSE(std::isnan(bound));
        if (metric != Metric::kInnerProduct) {
          EXPECT_GE(bound, 0);
        }
      }
    }
  }
}

// A component that is NaN has no level; it becomes the lowest.
TEST(Sq4Codec, TranscodingOfDamagedCodesGivesLevels) {
  std::mt19937_64 random(12);
  const uint32_t dims = 21;
  for (const Metric metric : kMetrics) {
    const std::unique_ptr<Codec> codec = TrainFor(metric, dims, Random(5 * dims, 1, random));
    CodeArray codes(codec->stride(), 2);
    codec->Encode(Random(dims, 1, random).data(), codes.at(0));
    ScalarTrailer trailer;
    std::byte* end = codes.at(0) + codec->stride() - sizeof(trailer);
    std::memcpy(&trailer, end, sizeof(trailer));
    trailer.offset = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(end, &trailer, sizeof(trailer));
    codec->Transcode(*codec, codes.at(0), codes.at(1));
    std::memcpy(&trailer, codes.at(1) + codec->stride() - sizeof(trailer), sizeof(trailer));
    EXPECT_EQ(trailer.sum, 0);
    for (uint32_t i = 0; i < dims; ++i) EXPECT_EQ(Sq4Levels::Get(codes.at(1), dims, i), 0);
  }
}

}  // namespace
}  // namespace vecckpt
