// The exact kernel, on every instruction set, against scalar sums in long double. float16 vectors are tested
// in half_kernels_test.cpp.

#include "hnsw/exact.hpp"

#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernel_testing.hpp"

namespace vecckpt {
namespace {

constexpr Metric kMetrics[] = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine, Metric::kL1};

struct Reference {
  long double value = 0;
  long double magnitude = 0;  // the sum of the terms' magnitudes, which rounding errors are relative to
};

Reference Compute(Metric metric, const float* a, const float* b, size_t dims) {
  long double squares = 0, absolutes = 0, products = 0, product_magnitudes = 0, norm_a = 0, norm_b = 0;
  for (size_t i = 0; i < dims; ++i) {
    const long double x = a[i], y = b[i];
    squares += (x - y) * (x - y);
    absolutes += std::fabs(x - y);
    products += x * y;
    product_magnitudes += std::fabs(x * y);
    norm_a += x * x;
    norm_b += y * y;
  }
  switch (metric) {
    case Metric::kL2:
      return {squares, squares};
    case Metric::kL1:
      return {absolutes, absolutes};
    case Metric::kInnerProduct:
      return {-products, product_magnitudes};
    case Metric::kCosine:
      break;
  }
  return {1 - products / (std::sqrt(norm_a) * std::sqrt(norm_b)), 2};
}

std::vector<size_t> AllDims() {
  std::vector<size_t> dims;
  for (size_t i = 1; i <= 129; ++i) dims.push_back(i);
  for (const size_t i : {768, 1000, 16000}) dims.push_back(i);
  return dims;
}

// Random vectors whose magnitude is `scale`.
std::vector<float> RandomVector(size_t dims, float scale, std::mt19937_64& random) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> vector(dims);
  for (float& value : vector) value = uniform(random) * scale;
  return vector;
}

void ExpectMatches(Metric metric, const std::vector<float>& a, const std::vector<float>& b) {
  const Reference expected = Compute(metric, a.data(), b.data(), a.size());
  const double distance = ExactDistance(metric, a.data(), b.data(), a.size());
  // 2^-53 a rounding; cosine has three sums.
  const long double tolerance = (a.size() + 8) * 0x3p-53L * expected.magnitude;
  EXPECT_NEAR(distance, static_cast<double>(expected.value), static_cast<double>(tolerance))
      << "metric " << static_cast<int>(metric) << ", dims " << a.size();
}

TEST(Exact, MatchesLongDoubleAtEveryDimension) {
  OnEveryTarget([] {
    std::mt19937_64 random(1);
    for (const size_t dims : AllDims()) {
      for (const Metric metric : kMetrics) {
        ExpectMatches(metric, RandomVector(dims, 1, random), RandomVector(dims, 1, random));
      }
    }
  });
}

TEST(Exact, MatchesLongDoubleAtExtremeScales) {
  OnEveryTarget([] {
    std::mt19937_64 random(2);
    for (const float scale : {FLT_TRUE_MIN * 1000, FLT_MIN, 1e-20f, 1e20f, FLT_MAX}) {
      for (const size_t dims : {1, 7, 33, 768, 16000}) {
        for (const Metric metric : kMetrics) {
          const std::vector<float> a = RandomVector(dims, scale, random);
          std::vector<float> b = RandomVector(dims, scale, random);
          ExpectMatches(metric, a, b);
          b = RandomVector(dims, 1, random);
          ExpectMatches(metric, a, b);
        }
      }
    }
  });
}

TEST(Exact, LargestAndSmallestValuesNeitherOverflowNorVanish) {
  const std::vector<float> large(16000, FLT_MAX), negative(16000, -FLT_MAX);
  const std::vector<float> tiny(16000, FLT_TRUE_MIN), zero(16000, 0.0f);
  for (const Metric metric : kMetrics) {
    ExpectMatches(metric, large, negative);
    EXPECT_TRUE(std::isfinite(ExactDistance(metric, large.data(), negative.data(), large.size())));
  }
  EXPECT_GT(ExactDistance(Metric::kL2, tiny.data(), zero.data(), tiny.size()), 0);
  EXPECT_GT(ExactDistance(Metric::kL1, tiny.data(), zero.data(), tiny.size()), 0);
  EXPECT_LT(ExactDistance(Metric::kInnerProduct, tiny.data(), tiny.data(), tiny.size()), 0);
  EXPECT_EQ(ExactDistance(Metric::kCosine, tiny.data(), tiny.data(), tiny.size()), 0);
}

TEST(Exact, ResultDoesNotDependOnAlignmentOrOrderOfArguments) {
  std::mt19937_64 random(3);
  for (const size_t dims : {1, 5, 17, 64, 100, 769}) {
    const std::vector<float> a = RandomVector(dims, 1, random), b = RandomVector(dims, 1, random);
    for (const Metric metric : kMetrics) {
      const double expected = ExactDistance(metric, a.data(), b.data(), dims);
      EXPECT_EQ(expected, ExactDistance(metric, b.data(), a.data(), dims));
      for (size_t shift = 0; shift < 16; ++shift) {
        std::vector<float> moved_a(dims + 16), moved_b(dims + 16);
        std::copy(a.begin(), a.end(), moved_a.begin() + shift);
        std::copy(b.begin(), b.end(), moved_b.begin() + (shift * 7) % 16);
        EXPECT_EQ(expected,
                  ExactDistance(metric, moved_a.data() + shift, moved_b.data() + (shift * 7) % 16, dims));
      }
    }
  }
}

TEST(Exact, CosineStaysInRange) {
  OnEveryTarget([] {
    std::mt19937_64 random(4);
    for (const size_t dims : AllDims()) {
      const std::vector<float> a = RandomVector(dims, 3, random);
      std::vector<float> opposite(a), doubled(a);
      for (float& value : opposite) value = -value;
      for (float& value : doubled) value *= 1.7f;
      EXPECT_EQ(ExactDistance(Metric::kCosine, a.data(), a.data(), dims), 0);
      EXPECT_EQ(ExactDistance(Metric::kCosine, a.data(), opposite.data(), dims), 2);
      EXPECT_GE(ExactDistance(Metric::kCosine, a.data(), doubled.data(), dims), 0);
      const std::vector<float> zero(dims, 0.0f);
      EXPECT_TRUE(std::isnan(ExactDistance(Metric::kCosine, a.data(), zero.data(), dims)));
    }
  });
}

TEST(Exact, ProductOfZeroIsNotNegativeZero) {
  const float a[] = {1, 0}, b[] = {0, 1};
  EXPECT_FALSE(std::signbit(ExactDistance(Metric::kInnerProduct, a, b, 2)));
}

TEST(Exact, SqlDistanceIsTheRootForL2Only) {
  EXPECT_EQ(SqlDistance(Metric::kL2, 9.0), 3.0);
  EXPECT_EQ(SqlDistance(Metric::kInnerProduct, -9.0), -9.0);
  EXPECT_EQ(SqlDistance(Metric::kCosine, 0.5), 0.5);
  EXPECT_EQ(SqlDistance(Metric::kL1, 9.0), 9.0);
}

TEST(Exact, SquaredNorm) {
  const float a[] = {3, -4, 12};
  EXPECT_EQ(SquaredNorm(a, 3), 169.0);
}

}  // namespace
}  // namespace vecckpt
