// Codecs: round trips, scales, parameters, and lower bounds that are never above the exact distance.

#include "hnsw/codec.hpp"

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

constexpr Metric kMetrics[] = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine, Metric::kL1};

std::vector<float> Random(size_t count, float scale, std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  std::vector<float> values(count);
  for (float& value : values) {
    value = static_cast<float>(std::clamp<double>(normal(random) * scale, -FLT_MAX, FLT_MAX));
    // No vector may be zero under cosine.
    if (value == 0) value = FLT_TRUE_MIN;
  }
  return values;
}

std::unique_ptr<Codec> TrainFor(Metric metric, uint32_t dims, float max_magnitude) {
  return std::move(Codec::Train(CodeKind::kNone, metric, dims, {max_magnitude}).value());
}

// The bounds of all codes of `vectors` against `query` hold, and distances are finite.
void CheckBounds(const Codec& codec, const std::vector<float>& vectors, const std::vector<float>& query) {
  const uint32_t dims = codec.dims();
  const CodeArray codes = EncodeAll(codec, vectors);
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
  }
  CheckCommonBounds(codec, codes, vectors, query, *scorer, batch);
}

TEST(Codec, LowerBoundsHoldAtEveryScale) {
  std::mt19937_64 random(1);
  const float scales[] = {
      FLT_TRUE_MIN * 10, 1e-40f, 1e-30f, 1e-20f, 1e-12f, 1e-6f, 1, 1e6f, 1e12f, 1e15f, 1e16f, 1e20f, 1e30f,
      FLT_MAX / 8};
  for (const Metric metric : kMetrics) {
    for (const uint32_t dims : {1u, 3u, 16u, 33u, 200u}) {
      for (const float scale : scales) {
        const std::vector<float> vectors = Random(20 * dims, scale, random);
        const std::unique_ptr<Codec> codec = CodecFor(metric, dims, vectors);
        for (const float query_scale : scales) {
          CheckBounds(*codec, vectors, Random(dims, query_scale, random));
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Near the query, where rounding weighs most: the query itself and its neighbours by one bit.
TEST(Codec, LowerBoundsHoldForNearlyEqualVectors) {
  std::mt19937_64 random(2);
  for (const Metric metric : kMetrics) {
    for (const uint32_t dims : {1u, 8u, 100u, 768u, 16000u}) {
      for (const float scale : {1e-44f, 1e-18f, 1.0f, 1e17f, 1e36f}) {
        const std::vector<float> query = Random(dims, scale, random);
        std::vector<float> vectors;
        for (int i = 0; i < 8; ++i) {
          std::vector<float> near(query);
          for (size_t d = 0; d < dims; ++d) {
            if (i > 0 && random() % i == 0)
              near[d] = std::nextafter(near[d], random() % 2 ? FLT_MAX : -FLT_MAX);
          }
          if (std::all_of(near.begin(), near.end(), [](float v) { return v == 0; })) near[0] = FLT_TRUE_MIN;
          vectors.insert(vectors.end(), near.begin(), near.end());
        }
        CheckBounds(*CodecFor(metric, dims, vectors), vectors, query);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Large and tiny values side by side: the tiny ones lose bits when scaled down.
TEST(Codec, LowerBoundsHoldWhereScalingLosesBits) {
  std::mt19937_64 random(3);
  for (const Metric metric : kMetrics) {
    for (const uint32_t dims : {2u, 16u, 100u}) {
      std::vector<float> vectors;
      for (int i = 0; i < 64; ++i) {
        const std::vector<float> one = Random(dims, std::ldexp(1.0f, -140 + 4 * i), random);
        vectors.insert(vectors.end(), one.begin(), one.end());
      }
      vectors[0] = FLT_MAX;
      const std::unique_ptr<Codec> codec = CodecFor(metric, dims, vectors);
      for (int i = 0; i < 64; ++i) {
        CheckBounds(*codec, vectors, Random(dims, std::ldexp(1.0f, -140 + 4 * i), random));
        if (HasFatalFailure()) return;
      }
      for (int i = 0; i < 64; ++i) {
        CheckBounds(*codec, vectors, {vectors.begin() + i * dims, vectors.begin() + (i + 1) * dims});
        if (HasFatalFailure()) return;
      }
    }
  }
}

// But for inner product, whose bounds need the codes, the common bound is that of the nearest code.
TEST(Codec, CommonBoundsAreTight) {
  std::mt19937_64 random(12);
  for (const Metric metric : kMetrics) {
    const std::vector<float> vectors = Random(50 * 20, 1, random), query = Random(20, 1, random);
    const std::unique_ptr<Codec> codec = CodecFor(metric, 20, vectors);
    const CodeArray codes = EncodeAll(*codec, vectors);
    const std::unique_ptr<QueryScorer> scorer = codec->Prepare(query.data());
    std::vector<float> distances(50);
    scorer->Distances(codes.at(0), 50, distances.data());
    CodeExtremes extremes = ExtremesOf(*scorer, codes, distances);
    for (size_t i = 0; i < 50 && metric != Metric::kInnerProduct; ++i) {
      EXPECT_EQ(scorer->BoundBeyond(distances[i], extremes), scorer->LowerBound(distances[i], codes.at(i)));
    }
    distances[7] = std::numeric_limits<float>::infinity();
    extremes = ExtremesOf(*scorer, codes, distances);
    EXPECT_EQ(scorer->BoundBeyond(distances[0], extremes), -std::numeric_limits<double>::infinity());
  }
}

TEST(Codec, LowerBoundsHoldAfterTranscoding) {
  std::mt19937_64 random(4);
  for (const Metric metric : kMetrics) {
    const uint32_t dims = 20;
    const std::unique_ptr<Codec> large = TrainFor(metric, dims, 1e38f);
    const std::unique_ptr<Codec> larger = TrainFor(metric, dims, FLT_MAX);
    const std::unique_ptr<Codec> plain = TrainFor(metric, dims, 1);
    for (const float scale : {1e-44f, 1e-30f, 1e-15f, 1e-13f, 1.0f}) {
      const std::vector<float> vector = Random(dims, scale, random);
      CodeArray codes(plain->stride(), 3);
      large->Encode(vector.data(), codes.at(0));
      larger->Transcode(*large, codes.at(0), codes.at(1));
      plain->Transcode(*larger, codes.at(1), codes.at(2));
      for (const float query_scale : {1e-44f, 1e-15f, 1e-13f, 1.0f}) {
        std::vector<float> query = Random(dims, query_scale, random);
        if (query_scale == scale) query = vector;
        const std::unique_ptr<QueryScorer> scorer = plain->Prepare(query.data());
        const float distance = scorer->Distance(codes.at(2));
        EXPECT_LE(scorer->LowerBound(distance, codes.at(2)),
                  ExactDistance(metric, query.data(), vector.data(), dims));
      }
    }
  }
}

// Bounds that always hold may also be useless; these are close to the exact distance.
TEST(Codec, LowerBoundsAreTight) {
  std::mt19937_64 random(5);
  for (const Metric metric : kMetrics) {
    for (const float scale : {1e-16f, 1.0f, 1e20f}) {
      const uint32_t dims = 768;
      const std::vector<float> vectors = Random(50 * dims, scale, random),
                               query = Random(dims, scale, random);
      const std::unique_ptr<Codec> codec = CodecFor(metric, dims, vectors);
      const CodeArray codes = EncodeAll(*codec, vectors);
      const std::unique_ptr<QueryScorer> scorer = codec->Prepare(query.data());
      for (size_t i = 0; i < 50; ++i) {
        const float* vector = vectors.data() + i * dims;
        const double exact = ExactDistance(metric, query.data(), vector, dims);
        double terms = std::fabs(exact);
        if (metric == Metric::kInnerProduct) {
          terms = std::sqrt(SquaredNorm(query.data(), dims) * SquaredNorm(vector, dims));
        }
        EXPECT_GE(scorer->LowerBound(scorer->Distance(codes.at(i)), codes.at(i)), exact - 1e-3 * terms);
      }
    }
  }
}

// The order of distances is that of the exact ones, but for pairs that are nearly equal.
TEST(Codec, DistancesOrderVectorsWhateverTheScales) {
  std::mt19937_64 random(6);
  const uint32_t dims = 24;
  for (const Metric metric : kMetrics) {
    for (const float scale : {1e-40f, 1e-20f, 1.0f, 1e20f, 1e37f}) {
      for (const float ratio : {1e-3f, 1.0f, 30.0f}) {
        const std::vector<float> vectors = Random(100 * dims, scale, random);
        const std::vector<float> query = Random(dims, scale * ratio, random);
        const std::unique_ptr<Codec> codec = CodecFor(metric, dims, vectors);
        const CodeArray codes = EncodeAll(*codec, vectors);
        const std::unique_ptr<QueryScorer> scorer = codec->Prepare(query.data());
        size_t pairs = 0;
        for (size_t i = 0; i + 1 < 100; ++i) {
          const double a = ExactDistance(metric, query.data(), vectors.data() + i * dims, dims);
          const double b = ExactDistance(metric, query.data(), vectors.data() + (i + 1) * dims, dims);
          if (std::fabs(a - b) < 1e-3 * std::max(std::fabs(a), std::fabs(b))) continue;
          ++pairs;
          EXPECT_EQ(a < b, scorer->Distance(codes.at(i)) < scorer->Distance(codes.at(i + 1)))
              << "metric " << static_cast<int>(metric) << ", scale " << scale << ", ratio " << ratio;
        }
        EXPECT_GT(pairs, 50u);
      }
    }
  }
}

// A query far outside the range that the codes were scaled for must still tell the vectors apart: under L2
// and L1 with such a query, what remains of the order is that of -q * x.
TEST(Codec, HugeQueriesKeepTheOrder) {
  std::mt19937_64 random(7);
  const uint32_t dims = 10;
  const std::vector<float> vectors = Random(50 * dims, 1, random);
  for (const Metric metric : {Metric::kL2, Metric::kL1}) {
    const std::unique_ptr<Codec> codec = CodecFor(metric, dims, vectors);
    const CodeArray codes = EncodeAll(*codec, vectors);
    for (const float size : {0x1p50f, 1e20f, 1e38f}) {
      std::vector<float> query(dims);
      for (float& value : query) value = random() % 2 ? size : -size;
      const std::unique_ptr<QueryScorer> scorer = codec->Prepare(query.data());
      for (size_t i = 0; i + 1 < 50; ++i) {
        const double a = ExactDistance(Metric::kInnerProduct, query.data(), vectors.data() + i * dims, dims);
        const double b =
            ExactDistance(Metric::kInnerProduct, query.data(), vectors.data() + (i + 1) * dims, dims);
        if (std::fabs(a - b) < 1e-3 * size) continue;
        EXPECT_EQ(a < b, scorer->Distance(codes.at(i)) < scorer->Distance(codes.at(i + 1)));
      }
    }
  }
}

TEST(Codec, EqualVectorsHaveEqualCodes) {
  for (const Metric metric : kMetrics) {
    const std::unique_ptr<Codec> codec = TrainFor(metric, 3, 2);
    const float a[] = {0.0f, 1, 2}, b[] = {-0.0f, 1, 2};
    CodeArray codes(codec->stride(), 2);
    codec->Encode(a, codes.at(0));
    codec->Encode(b, codes.at(1));
    EXPECT_EQ(0, std::memcmp(codes.at(0), codes.at(1), codec->stride()));
  }
}

TEST(Codec, CodesArePaddedWithZeros) {
  for (const uint32_t dims : {1u, 15u, 16u, 17u, 16000u}) {
    const std::unique_ptr<Codec> codec = TrainFor(Metric::kL2, dims, 1);
    EXPECT_EQ(codec->stride() % 64, 0u);
    EXPECT_GE(codec->stride(), dims * sizeof(float));
    EXPECT_LT(codec->stride(), dims * sizeof(float) + 64);
    CodeArray codes(codec->stride(), 1);
    std::memset(codes.at(0), 0xFF, codec->stride());
    const std::vector<float> vector(dims, 1.0f);
    codec->Encode(vector.data(), codes.at(0));
    for (size_t i = dims * sizeof(float); i < codec->stride(); ++i) EXPECT_EQ(codes.at(0)[i], std::byte{0});
  }
}

TEST(Codec, ParametersRoundTrip) {
  for (const Metric metric : kMetrics) {
    for (const float magnitude : {0.0f, FLT_TRUE_MIN, 1e-20f, 1.0f, 1e15f, 0x1p50f, 1e20f, FLT_MAX}) {
      const std::unique_ptr<Codec> codec = TrainFor(metric, 5, magnitude);
      EXPECT_TRUE(codec->Holds({magnitude}));
      const std::vector<std::byte> parameters = codec->Parameters();
      const Result<std::unique_ptr<Codec>> loaded = Codec::Load(CodeKind::kNone, metric, 5, parameters);
      ASSERT_TRUE(loaded.ok()) << loaded.status().message();
      EXPECT_TRUE((*loaded)->SameAs(*codec));
      EXPECT_TRUE(codec->SameAs(**loaded));
    }
  }
}

TEST(Codec, DamagedParametersAreCorruption) {
  const auto code_of = [](Metric metric, int32_t exponent, size_t size) {
    std::vector<std::byte> bytes(8);
    std::memcpy(bytes.data(), &exponent, sizeof(exponent));
    bytes.resize(size);
    return Codec::Load(CodeKind::kNone, metric, 4, bytes).status().code();
  };
  EXPECT_EQ(code_of(Metric::kL2, 0, 4), StatusCode::kOk);
  EXPECT_EQ(code_of(Metric::kL2, 78, 4), StatusCode::kOk);
  EXPECT_EQ(code_of(Metric::kL2, -148, 4), StatusCode::kOk);
  for (const int32_t exponent : {79, 1000, -1, -39, -149, INT32_MIN, INT32_MAX}) {
    EXPECT_EQ(code_of(Metric::kL2, exponent, 4), StatusCode::kCorruption) << exponent;
  }
  EXPECT_EQ(code_of(Metric::kCosine, 1, 4), StatusCode::kCorruption);
  for (const size_t size : {0, 3, 5, 8}) EXPECT_EQ(code_of(Metric::kL2, 0, size), StatusCode::kCorruption);
}

TEST(Codec, RefusesWhatItCannotTrain) {
  const auto code_of = [](CodeKind kind, Metric metric, uint32_t dims, float magnitude) {
    return Codec::Train(kind, metric, dims, {magnitude}).status().code();
  };
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(code_of(CodeKind::kNone, Metric::kL2, 0, 1), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of(CodeKind::kNone, Metric::kL2, kMaxDims + 1, 1), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of(CodeKind::kNone, Metric::kL2, 4, infinity), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of(static_cast<CodeKind>(99), Metric::kL2, 4, 1), StatusCode::kUnsupported);
  EXPECT_EQ(code_of(CodeKind::kNone, static_cast<Metric>(99), 4, 1), StatusCode::kUnsupported);
}

TEST(Codec, HoldsWhatDoesNotOverflow) {
  const std::unique_ptr<Codec> plain = TrainFor(Metric::kL2, 4, 1);
  EXPECT_TRUE(plain->Holds({0}));
  EXPECT_TRUE(plain->Holds({0x0.ffffffp50f}));
  EXPECT_FALSE(plain->Holds({0x1p50f}));
  const std::unique_ptr<Codec> scaled = TrainFor(Metric::kL2, 4, 1e30f);
  EXPECT_FALSE(scaled->SameAs(*plain));
  EXPECT_TRUE(scaled->Holds({1e30f}));
  EXPECT_FALSE(scaled->Holds({4e30f}));
  EXPECT_TRUE(TrainFor(Metric::kCosine, 4, 1)->Holds({FLT_MAX}));
}

TEST(Codec, StatisticsSurviveEncoding) {
  const float vector[] = {1, -1e25f, 3};
  VectorStatistics statistics;
  statistics.Add(vector, 3);
  EXPECT_EQ(statistics.max_magnitude, 1e25f);
  const std::unique_ptr<Codec> codec = TrainFor(Metric::kL2, 3, 1e30f);
  CodeArray codes(codec->stride(), 1);
  codec->Encode(vector, codes.at(0));
  EXPECT_EQ(codec->StatisticsOf(codes.at(0)).max_magnitude, 1e25f);
  VectorStatistics merged{5};
  merged.Merge(statistics);
  EXPECT_EQ(merged.max_magnitude, 1e25f);
}

TEST(Codec, TranscodingGivesTheCodeOfTheVector) {
  std::mt19937_64 random(8);
  for (const Metric metric : kMetrics) {
    const std::unique_ptr<Codec> plain = TrainFor(metric, 30, 1);
    const std::unique_ptr<Codec> scaled = TrainFor(metric, 30, 1e30f);
    const std::vector<float> vector = Random(30, 1, random);
    CodeArray codes(plain->stride(), 4);
    plain->Encode(vector.data(), codes.at(0));
    scaled->Encode(vector.data(), codes.at(1));
    scaled->Transcode(*plain, codes.at(0), codes.at(2));
    plain->Transcode(*scaled, codes.at(1), codes.at(3));
    EXPECT_EQ(0, std::memcmp(codes.at(2), codes.at(1), plain->stride()));
    EXPECT_EQ(0, std::memcmp(codes.at(3), codes.at(0), plain->stride()));
  }
}

TEST(Codec, CodeDistanceIsSymmetricAndNeverNaN) {
  std::mt19937_64 random(9);
  for (const Metric metric : kMetrics) {
    const std::vector<float> vectors = Random(10 * 37, FLT_MAX / 8, random);
    const std::unique_ptr<Codec> codec = CodecFor(metric, 37, vectors);
    CodeArray codes = EncodeAll(*codec, vectors);
    // As a damaged file might have it.
    const float damage[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()};
    std::memcpy(codes.at(3), &damage[0], sizeof(float));
    std::memcpy(codes.at(7), &damage[1], sizeof(float));
    const std::unique_ptr<QueryScorer> scorer = codec->Prepare(vectors.data());
    for (size_t a = 0; a < 10; ++a) {
      for (size_t b = 0; b < 10; ++b) {
        const float distance = codec->CodeDistance(codes.at(a), codes.at(b));
        EXPECT_FALSE(std::isnan(distance));
        EXPECT_EQ(distance, codec->CodeDistance(codes.at(b), codes.at(a)));
        EXPECT_TRUE(std::isfinite(distance) || a % 4 == 3 || b % 4 == 3);
      }
      EXPECT_FALSE(std::isnan(scorer->Distance(codes.at(a))));
      EXPECT_FALSE(std::isnan(scorer->LowerBound(scorer->Distance(codes.at(a)), codes.at(a))));
    }
  }
}

}  // namespace
}  // namespace vecckpt
