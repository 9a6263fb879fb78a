// The sq8 codec: lower bounds that are never above the exact distance, whatever the data; distances close to
// the exact ones; transcoding, parameters, the choice of the code kind.

#include "hnsw/codec_sq8.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "built_graph.hpp"
#include "common_bounds.hpp"
#include "hnsw/exact.hpp"

namespace vecckpt {
namespace {

constexpr Metric kMetrics[] = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine};
constexpr float kScales[] = {
    FLT_TRUE_MIN * 10, 1e-40f, 1e-30f, 1e-20f, 1e-12f, 1e-6f, 1, 1e6f, 1e12f, 1e16f, 1e20f, 1e30f,
    FLT_MAX / 8};

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
  return std::move(Codec::Train(CodeKind::kSq8, metric, dims, statistics, vectors).value());
}

void CheckBounds(const Codec& codec, const CodeArray& codes, const std::vector<float>& vectors,
                 const std::vector<float>& query) {
  const uint32_t dims = codec.dims();
  const size_t count = vectors.size() / dims;
  const std::unique_ptr<QueryScorer> scorer = codec.Prepare(query.data());
  std::vector<float> batch(count);
  scorer->Distances(codes.at(0), count, batch.data());
  for (size_t i = 0; i < count; ++i) {
    const float distance = scorer->Distance(codes.at(i));
    ASSERT_TRUE(std::isfinite(distance)) << "vector " << i;
    ASSERT_EQ(distance, batch[i]);
    const double exact = ExactDistance(codec.metric(), query.data(), vectors.data() + i * dims, dims);
    const double bound = scorer->LowerBound(distance, codes.at(i));
    ASSERT_FALSE(std::isnan(bound));
    ASSERT_LE(bound, exact) << "metric " << static_cast<int>(codec.metric()) << ", dims " << dims
                            << ", vector " << i;
    for (const size_t other : {size_t{0}, i, count - 1}) {
      const float apart = codec.CodeDistance(codes.at(i), codes.at(other));
      ASSERT_TRUE(std::isfinite(apart));
      ASSERT_EQ(apart, codec.CodeDistance(codes.at(other), codes.at(i)));
    }
  }
  CheckCommonBounds(codec, codes, vectors, query, *scorer, batch);
}

void CheckBounds(const Codec& codec, const std::vector<float>& vectors, const std::vector<float>& query) {
  CheckBounds(codec, EncodeAll(codec, vectors), vectors, query);
}

TEST(Sq8Codec, LowerBoundsHoldAtEveryScale) {
  std::mt19937_64 random(1);
  for (const Metric metric : kMetrics) {
    for (const uint32_t dims : {9u, 16u, 40u, 41u, 200u, 1000u}) {
      for (const float scale : kScales) {
        const std::vector<float> vectors = Random(20 * dims, scale, random);
        const std::unique_ptr<Codec> codec = TrainFor(metric, dims, vectors);
        for (const float query_scale : kScales) {
          CheckBounds(*codec, vectors, Random(dims, query_scale, random));
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Data far from the origin, for which the mean matters, and a mean of other data than the codes'.
TEST(Sq8Codec, LowerBoundsHoldWithAnyMean) {
  std::mt19937_64 random(2);
  const uint32_t dims = 50;
  for (const Metric metric : kMetrics) {
    for (const float centre : {1.0f, 1e4f, -1e7f}) {
      const std::vector<float> far = Random(20 * dims, 1, random, centre);
      const std::vector<float> near = Random(20 * dims, 1, random);
      for (const auto* trained : {&far, &near}) {
        VectorStatistics statistics{2 * std::fabs(centre) + 10};
        const auto codec =
            std::move(Codec::Train(CodeKind::kSq8, metric, dims, statistics, *trained).value());
        CheckBounds(*codec, far, Random(dims, 1, random, centre));
        CheckBounds(*codec, near, Random(dims, 1, random));
        CheckBounds(*codec, near, Random(dims, 1, random, centre));
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Where the bound is needed most: the query itself, its neighbours by one bit, and vectors whose error points
// straight towards or away from the query.
TEST(Sq8Codec, LowerBoundsHoldForAdversarialVectors) {
  std::mt19937_64 random(3);
  for (const Metric metric : kMetrics) {
    for (const uint32_t dims : {9u, 100u, 768u, 16000u}) {
      for (const float scale : {1e-44f, 1e-18f, 1.0f, 1e17f, 1e36f}) {
        const std::vector<float> query = Random(dims, scale, random);
        std::vector<float> vectors = query;
        for (int i = 1; i < 8; ++i) {
          for (size_t d = 0; d < dims; ++d) {
            float value = query[d];
            if (random() % i == 0) value = std::nextafter(value, random() % 2 ? FLT_MAX : -FLT_MAX);
            vectors.push_back(value == 0 ? FLT_TRUE_MIN : value);
          }
        }
        const std::unique_ptr<Codec> codec = TrainFor(metric, dims, vectors);
        CheckBounds(*codec, vectors, query);
        // Queries along the error of a code, near and far.
        const CodeArray codes = EncodeAll(*codec, vectors);
        std::vector<float> decoded(dims);
        codec->Decode(codes.at(0), decoded.data());
        for (const float reach : {-100.0f, -1.0f, 0.5f, 1.0f, 2.0f, 100.0f}) {
          std::vector<float> along(dims);
          for (size_t d = 0; d < dims; ++d) {
            along[d] = std::clamp(query[d] + reach * (decoded[d] - query[d]), -FLT_MAX / 8, FLT_MAX / 8);
            if (along[d] == 0) along[d] = FLT_TRUE_MIN;
          }
          CheckBounds(*codec, vectors, along);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Vectors that are constant, have one outlier, are made of two values, or of magnitudes far apart.
TEST(Sq8Codec, LowerBoundsHoldForExtremeVectors) {
  std::mt19937_64 random(4);
  for (const Metric metric : kMetrics) {
    for (const uint32_t dims : {9u, 64u, 129u}) {
      std::vector<float> vectors;
      const auto add = [&](auto value) {
        for (uint32_t d = 0; d < dims; ++d) vectors.push_back(value(d));
      };
      for (const float size : {FLT_TRUE_MIN, FLT_MIN, 1e-20f, 1.0f, 1e20f, FLT_MAX}) {
        add([&](uint32_t) { return size; });
        add([&](uint32_t d) { return d == 0 ? size : FLT_TRUE_MIN; });
        add([&](uint32_t d) { return d % 2 == 0 ? size : -size; });
        add([&](uint32_t d) { return d == 3 ? -size : 1.0f; });
        add([&](uint32_t d) { return std::ldexp(size, -static_cast<int>(d)) + FLT_TRUE_MIN; });
      }
      const std::unique_ptr<Codec> codec = TrainFor(metric, dims, vectors);
      for (size_t i = 0; i < vectors.size() / dims; ++i) {
        CheckBounds(*codec, vectors, {vectors.begin() + i * dims, vectors.begin() + (i + 1) * dims});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Sq8Codec, LowerBoundsHoldAfterTranscoding) {
  std::mt19937_64 random(5);
  const uint32_t dims = 70;
  for (const Metric metric : kMetrics) {
    const auto first = TrainFor(metric, dims, Random(20 * dims, 1, random, 3));
    const auto second = TrainFor(metric, dims, Random(20 * dims, 1e20f, random, -1e19f));
    const auto third = TrainFor(metric, dims, Random(20 * dims, 2, random, -1));
    const std::vector<float> vectors = Random(30 * dims, 1, random, 2);
    CodeArray codes = EncodeAll(*first, vectors);
    const Codec* held_by = first.get();
    double error = 0;
    for (const Codec* codec : {third.get(), first.get(), second.get(), third.get()}) {
      CodeArray next(codec->stride(), 30);
      for (size_t i = 0; i < 30; ++i) codec->Transcode(*held_by, codes.at(i), next.at(i));
      codes = std::move(next);
      held_by = codec;
      EXPECT_GT(codec->CodeError(codes.at(0)), error);
      error = codec->CodeError(codes.at(0));
      for (int q = 0; q < 10; ++q) CheckBounds(*codec, codes, vectors, Random(dims, 1, random, 2));
      CheckBounds(*codec, codes, vectors, {vectors.begin(), vectors.begin() + dims});
      if (HasFatalFailure()) return;
    }
  }
}

// Bounds that always hold may also be useless; and estimates must be near the exact distances.
TEST(Sq8Codec, DistancesAndBoundsAreClose) {
  std::mt19937_64 random(6);
  const uint32_t dims = 768;
  for (const Metric metric : kMetrics) {
    for (const float scale : {1e-16f, 1.0f, 1e20f}) {
      const std::vector<float> vectors = Random(50 * dims, scale, random, scale);
      const std::vector<float> query = Random(dims, scale, random, scale);
      const std::unique_ptr<Codec> codec = TrainFor(metric, dims, vectors);
      const CodeArray codes = EncodeAll(*codec, vectors);
      const std::unique_ptr<QueryScorer> scorer = codec->Prepare(query.data());
      std::vector<float> distances(50);
      scorer->Distances(codes.at(0), 50, distances.data());
      const CodeExtremes extremes = ExtremesOf(*scorer, codes, distances);
      // A scorer's scale is its own: a factor, found from the first vector.
      double factor = 0;
      for (size_t i = 0; i < 50; ++i) {
        const float* vector = vectors.data() + i * dims;
        const double exact = ExactDistance(metric, query.data(), vector, dims);
        const float distance = scorer->Distance(codes.at(i));
        if (i == 0) factor = std::exp2(std::round(std::log2(exact / distance)));
        EXPECT_NEAR(distance * factor, exact, 2e-3 * std::fabs(exact));
        EXPECT_GE(scorer->LowerBound(distance, codes.at(i)), exact - 0.05 * std::fabs(exact));
        EXPECT_GE(scorer->BoundBeyond(distance, extremes), exact - 0.05 * std::fabs(exact));
      }
    }
  }
}

TEST(Sq8Codec, CodeDistancesAreClose) {
  std::mt19937_64 random(7);
  for (const Metric metric : kMetrics) {
    for (const uint32_t dims : {9u, 63u, 128u, 1000u}) {
      const std::vector<float> vectors = Random(20 * dims, 1, random, 0.5f);
      const std::unique_ptr<Codec> codec = TrainFor(metric, dims, vectors);
      const CodeArray codes = EncodeAll(*codec, vectors);
      // Half the squared distance of unit vectors is what cosine means.
      const double factor = metric == Metric::kCosine ? 0.5 : 1;
      for (size_t i = 0; i < 19; ++i) {
        const double exact =
            ExactDistance(metric, vectors.data() + i * dims, vectors.data() + (i + 1) * dims, dims);
        const double unit = metric == Metric::kCosine ? 1 : dims;
        EXPECT_NEAR(factor * codec->CodeDistance(codes.at(i), codes.at(i + 1)), exact, 0.02 * unit);
      }
    }
  }
}

// A query far outside the range of the codes still tells the vectors apart by direction.
TEST(Sq8Codec, HugeQueriesKeepTheOrder) {
  std::mt19937_64 random(8);
  const uint32_t dims = 10;
  const std::vector<float> vectors = Random(50 * dims, 1, random);
  const std::unique_ptr<Codec> codec = TrainFor(Metric::kL2, dims, vectors);
  const CodeArray codes = EncodeAll(*codec, vectors);
  for (const float size : {1e19f, 1e25f, 1e38f}) {
    std::vector<float> query(dims);
    for (float& value : query) value = random() % 2 ? size : -size;
    const std::unique_ptr<QueryScorer> scorer = codec->Prepare(query.data());
    for (size_t i = 0; i + 1 < 50; ++i) {
      const double a = ExactDistance(Metric::kInnerProduct, query.data(), vectors.data() + i * dims, dims);
      const double b =
          ExactDistance(Metric::kInnerProduct, query.data(), vectors.data() + (i + 1) * dims, dims);
      if (std::fabs(a - b) < 0.1 * size) continue;
      EXPECT_EQ(a < b, scorer->Distance(codes.at(i)) < scorer->Distance(codes.at(i + 1)));
    }
  }
}

TEST(Sq8Codec, EqualVectorsHaveEqualCodes) {
  std::mt19937_64 random(9);
  for (const Metric metric : kMetrics) {
    std::vector<float> a = Random(12, 1, random);
    a[3] = 0.0f;
    std::vector<float> b = a;
    b[3] = -0.0f;
    const std::unique_ptr<Codec> codec = std::move(Codec::Train(CodeKind::kSq8, metric, 12, {4}).value());
    CodeArray codes(codec->stride(), 2);
    std::memset(codes.at(0), 0xFF, codec->stride());
    codec->Encode(a.data(), codes.at(0));
    codec->Encode(b.data(), codes.at(1));
    EXPECT_EQ(0, std::memcmp(codes.at(0), codes.at(1), codec->stride()));
  }
}

TEST(Sq8Codec, StridesAreShort) {
  EXPECT_EQ(Codec::Stride(CodeKind::kSq8, 9), 64u);
  EXPECT_EQ(Codec::Stride(CodeKind::kSq8, 40), 64u);
  EXPECT_EQ(Codec::Stride(CodeKind::kSq8, 41), 128u);
  EXPECT_EQ(Codec::Stride(CodeKind::kSq8, 128), 192u);
  EXPECT_EQ(Codec::Stride(CodeKind::kSq8, 768), 832u);
  EXPECT_EQ(Codec::Stride(CodeKind::kSq8, 1000), 1024u);
  EXPECT_EQ(Codec::Stride(CodeKind::kNone, 9), 64u);
  for (const uint32_t dims : {9u, 100u, kMaxDims}) {
    const auto codec = std::move(Codec::Train(CodeKind::kSq8, Metric::kL2, dims, {1}).value());
    EXPECT_EQ(codec->stride(), Codec::Stride(CodeKind::kSq8, dims));
  }
}

TEST(Sq8Codec, KindsFollowMetricAndDims) {
  EXPECT_EQ(Codec::KindFor(CodeKind::kSq8, Metric::kL2, 9), CodeKind::kSq8);
  EXPECT_EQ(Codec::KindFor(CodeKind::kSq8, Metric::kCosine, 8), CodeKind::kNone);
  EXPECT_EQ(Codec::KindFor(CodeKind::kSq8, Metric::kL1, 100), CodeKind::kNone);
  EXPECT_EQ(Codec::KindFor(CodeKind::kNone, Metric::kL2, 100), CodeKind::kNone);
  EXPECT_EQ(Codec::Train(CodeKind::kSq8, Metric::kL1, 100, {1}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(Codec::Train(CodeKind::kSq8, Metric::kL2, 8, {1}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(
      Codec::Train(CodeKind::kSq8, Metric::kL2, 9, {std::numeric_limits<float>::infinity()}).status().code(),
      StatusCode::kInvalidArgument);
}

TEST(Sq8Codec, ParametersRoundTrip) {
  std::mt19937_64 random(10);
  for (const Metric metric : kMetrics) {
    for (const float scale : {1e-30f, 1.0f, 1e30f}) {
      const std::vector<float> vectors = Random(300 * 12, scale, random, scale);
      const std::unique_ptr<Codec> codec = TrainFor(metric, 12, vectors);
      const auto loaded = Codec::Load(CodeKind::kSq8, metric, 12, codec->Parameters());
      ASSERT_TRUE(loaded.ok()) << loaded.status().message();
      EXPECT_TRUE((*loaded)->SameAs(*codec));
      EXPECT_FALSE(codec->SameAs(*TrainFor(metric, 12, Random(12, scale, random))));
      EXPECT_FALSE(codec->SameAs(*CodecFor(metric, 12, vectors)));
      CodeArray codes(codec->stride(), 2);
      codec->Encode(vectors.data(), codes.at(0));
      (*loaded)->Encode(vectors.data(), codes.at(1));
      EXPECT_EQ(0, std::memcmp(codes.at(0), codes.at(1), codec->stride()));
    }
  }
}

TEST(Sq8Codec, DamagedParametersAreCorruption) {
  const auto code_of = [](int32_t exponent, float mean, size_t size) {
    std::vector<std::byte> bytes(sizeof(exponent) + 9 * sizeof(float));
    std::memcpy(bytes.data(), &exponent, sizeof(exponent));
    std::memcpy(bytes.data() + 12, &mean, sizeof(mean));
    bytes.resize(size);
    return Codec::Load(CodeKind::kSq8, Metric::kL2, 9, bytes).status().code();
  };
  EXPECT_EQ(code_of(0, 1, 40), StatusCode::kOk);
  EXPECT_EQ(code_of(79, 1, 40), StatusCode::kCorruption);
  EXPECT_EQ(code_of(-1, 1, 40), StatusCode::kCorruption);
  EXPECT_EQ(code_of(0, 0x1p50f, 40), StatusCode::kCorruption);
  EXPECT_EQ(code_of(0, std::numeric_limits<float>::quiet_NaN(), 40), StatusCode::kCorruption);
  for (const size_t size : {0, 4, 39, 41}) EXPECT_EQ(code_of(0, 1, size), StatusCode::kCorruption);
  EXPECT_EQ(Codec::Load(CodeKind::kSq8, Metric::kL1, 9, std::vector<std::byte>(40)).status().code(),
            StatusCode::kCorruption);
}

// Whatever bytes a damaged file holds, distances have an order.
TEST(Sq8Codec, DistancesOfDamagedCodesAreNeverNaN) {
  std::mt19937_64 random(11);
  for (const Metric metric : kMetrics) {
    const std::unique_ptr<Codec> codec = TrainFor(metric, 9, Random(90, 1, random));
    const auto scorer = codec->Prepare(Random(9, 1, random).data());
    CodeArray codes(codec->stride(), 2);
    for (int round = 0; round < 20000; ++round) {
      for (size_t i = 0; i < 2 * codec->stride(); ++i) codes.at(0)[i] = static_cast<std::byte>(random());
      const float distance = scorer->Distance(codes.at(0));
      EXPECT_FALSE(std::isnan(distance));
      EXPECT_FALSE(std::isnan(codec->CodeDistance(codes.at(0), codes.at(1))));
      EXPECT_FALSE(std::isnan(scorer->LowerBound(distance, codes.at(0))));
      const CodeExtremes extremes = ExtremesOf(*scorer, codes, {distance, scorer->Distance(codes.at(1))});
      EXPECT_FALSE(std::isnan(scorer->BoundBeyond(distance, extremes)));
    }
  }
}

// A component that is NaN has no level; it becomes the lowest.
TEST(Sq8Codec, TranscodingOfDamagedCodesGivesLevels) {
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
    for (uint32_t i = 0; i < dims; ++i) EXPECT_EQ(Sq8Levels::Get(codes.at(1), dims, i), 0);
  }
}

}  // namespace
}  // namespace vecckpt
