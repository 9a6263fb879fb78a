// The float16 kernels on every instruction set: conversion of all 65,536 values, and sums that have the bits
// of the float32 kernels' and are right by long double; all short lengths, some long ones, any alignment;
// and nothing is read beyond the arrays.

#include "hnsw/half_kernels.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "hnsw/exact.hpp"
#include "kernel_testing.hpp"

namespace vecckpt {
namespace {

constexpr Metric kMetrics[] = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine, Metric::kL1};
constexpr uint16_t kLargest = 0x7BFF, kInfinity = 0x7C00, kNegative = 0x8000;

// By the definition of the format.
double ValueOf(Half half) {
  const int exponent = half.bits >> 10 & 31, mantissa = half.bits & 1023;
  double magnitude = 0;
  if (exponent == 31) {
    magnitude = mantissa == 0 ? std::numeric_limits<double>::infinity() : std::nan("");
  } else if (exponent == 0) {
    magnitude = std::ldexp(mantissa, -24);
  } else {
    magnitude = std::ldexp(1024 + mantissa, exponent - 25);
  }
  return half.bits & kNegative ? -magnitude : magnitude;
}

std::vector<float> FloatsOf(const std::vector<Half>& halves) {
  std::vector<float> floats;
  for (const Half half : halves) floats.push_back(static_cast<float>(ValueOf(half)));
  return floats;
}

void ExpectSameNumber(float converted, Half half) {
  const float expected = static_cast<float>(ValueOf(half));
  if (std::isnan(expected)) {
    ASSERT_TRUE(std::isnan(converted)) << "bits " << half.bits;
  } else {
    ASSERT_EQ(std::bit_cast<uint32_t>(converted), std::bit_cast<uint32_t>(expected)) << "bits " << half.bits;
  }
}

TEST(HalfKernels, EveryValueConverts) {
  std::vector<Half> all(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<uint16_t>(i);
  OnEveryTarget([&] {
    // Together, where registers are full, and alone.
    std::vector<float> together(all.size());
    HalvesToFloats(all.data(), all.size(), together.data());
    for (size_t i = 0; i < all.size() && !testing::Test::HasFatalFailure(); ++i) {
      ExpectSameNumber(together[i], all[i]);
      float alone = 0;
      HalvesToFloats(&all[i], 1, &alone);
      ExpectSameNumber(alone, all[i]);
    }
  });
}

TEST(HalfKernels, ConversionWritesAsManyAsItReads) {
  std::vector<Half> halves(kMaxDims);
  for (size_t i = 0; i < halves.size(); ++i) halves[i].bits = static_cast<uint16_t>(i);
  OnEveryTarget([&] {
    for (const size_t n : KernelLengths()) {
      for (const size_t shift : {0u, 1u, 3u}) {
        const ExactArray<Half> from(halves.data(), n, shift);
        const ExactArray<float> to(n, 2 * shift);
        HalvesToFloats(from.data, n, to.data);
        for (size_t i = 0; i < n; ++i) ASSERT_EQ(to.data[i], ValueOf(halves[i]));
      }
    }
  });
}

// Every metric of `a` and `b`, and of the floats of `a` and `b`, against the float32 kernels on the floats of
// both, and against long double.
void Check(const std::vector<Half>& a, const std::vector<Half>& b) {
  const std::vector<float> a_floats = FloatsOf(a), b_floats = FloatsOf(b);
  for (const size_t n : KernelLengths()) {
    long double squares = 0, absolutes = 0, products = 0, magnitudes = 0;
    for (size_t i = 0; i < n; ++i) {
      const long double x = ValueOf(a[i]), y = ValueOf(b[i]);
      squares += (x - y) * (x - y);
      absolutes += std::fabs(x - y);
      products += x * y;
      magnitudes += std::fabs(x * y);
    }
    const auto check = [n](double sum, long double expected, long double magnitude) {
      const long double tolerance = static_cast<long double>(n + 8) * 0x1p-53L * magnitude;
      ASSERT_NEAR(sum, static_cast<double>(expected), static_cast<double>(tolerance)) << "n = " << n;
    };
    for (const size_t shift : {0u, 1u, 3u}) {
      const ExactArray<Half> x(a.data(), n, shift), y(b.data(), n, 2 * shift);
      const ExactArray<float> xf(a_floats.data(), n, shift), yf(b_floats.data(), n, 2 * shift);
      check(SumOfSquaredDifferences(x.data, y.data, n), squares, squares);
      check(SumOfAbsoluteDifferences(x.data, y.data, n), absolutes, absolutes);
      check(SumOfProducts(x.data, y.data, n), products, magnitudes);
      if (testing::Test::HasFatalFailure()) return;
      const CosineTerms terms = SumCosineTerms(x.data, y.data, n);
      ASSERT_EQ(terms.product, SumCosineTerms(xf.data, yf.data, n).product) << "n = " << n;
      ASSERT_EQ(terms.squared_norm_a, SumCosineTerms(xf.data, xf.data, n).product) << "n = " << n;
      ASSERT_EQ(terms.squared_norm_b, SumCosineTerms(yf.data, yf.data, n).product) << "n = " << n;
      for (const Metric metric : kMetrics) {
        // NaN, cosine of a zero vector, has no bits of its own.
        const double expected = ExactDistance(metric, xf.data, yf.data, n);
        const double halves = ExactDistance(metric, x.data, y.data, n);
        const double exchanged = ExactDistance(metric, y.data, x.data, n);
        const double mixed = ExactDistance(metric, xf.data, y.data, n);
        if (std::isnan(expected)) {
          ASSERT_TRUE(std::isnan(halves) && std::isnan(exchanged) && std::isnan(mixed)) << "n = " << n;
        } else {
          ASSERT_EQ(halves, expected) << "n = " << n << ", metric " << static_cast<int>(metric);
          ASSERT_EQ(exchanged, expected) << "n = " << n << ", metric " << static_cast<int>(metric);
          ASSERT_EQ(mixed, expected) << "n = " << n << ", metric " << static_cast<int>(metric);
        }
      }
    }
  }
}

// Random finite values whose magnitudes have bits below `limit`.
std::vector<Half> RandomHalves(uint16_t limit, std::mt19937& random) {
  std::vector<Half> halves(kMaxDims);
  for (Half& half : halves) {
    half.bits = static_cast<uint16_t>(random() % limit | (random() % 2 ? kNegative : 0));
  }
  return halves;
}

TEST(HalfKernels, SumsOfValuesOfAllMagnitudes) {
  std::mt19937 random(1);
  // All of them; denormal ones; those up to 1.
  for (const uint16_t limit : {kInfinity, uint16_t{0x0400}, uint16_t{0x3C01}}) {
    SCOPED_TRACE("bits below " + std::to_string(limit));
    const std::vector<Half> a = RandomHalves(limit, random), b = RandomHalves(limit, random);
    OnEveryTarget([&] { Check(a, b); });
    if (HasFatalFailure()) return;
  }
}

TEST(HalfKernels, LargestAndSmallestValues) {
  const auto all = [](int bits) { return std::vector<Half>(kMaxDims, Half{static_cast<uint16_t>(bits)}); };
  OnEveryTarget([&] {
    Check(all(kLargest), all(kLargest | kNegative));
    Check(all(kLargest), all(1));
    Check(all(1), all(1 | kNegative));
    Check(all(0), all(kNegative));
  });
  EXPECT_EQ(ExactDistance(Metric::kL1, all(1).data(), all(0).data(), kMaxDims), kMaxDims * 0x1p-24);
  EXPECT_EQ(ExactDistance(Metric::kL2, all(1).data(), all(0).data(), kMaxDims), kMaxDims * 0x1p-48);
  EXPECT_EQ(ExactDistance(Metric::kCosine, all(1).data(), all(1).data(), kMaxDims), 0);
}

// A query need not be a float16 vector.
TEST(HalfKernels, FloatQueriesOfAllMagnitudes) {
  std::mt19937 random(2);
  const std::vector<Half> b = RandomHalves(kInfinity, random);
  const std::vector<float> b_floats = FloatsOf(b);
  std::vector<float> query(kMaxDims);
  for (float& value : query) {
    do {
      value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    } while (!std::isfinite(value));
  }
  OnEveryTarget([&] {
    for (const size_t n : KernelLengths()) {
      for (const Metric metric : kMetrics) {
        if (n == 0 && metric == Metric::kCosine) continue;
        ASSERT_EQ(ExactDistance(metric, query.data(), b.data(), n),
                  ExactDistance(metric, query.data(), b_floats.data(), n))
            << "n = " << n << ", metric " << static_cast<int>(metric);
      }
    }
  });
}

// Whoever sees a finite distance need not look at the values.
TEST(HalfKernels, ValuesThatAreNotFiniteShow) {
  const std::vector<float> floats(65, 1.0f), zeros(65, 0.0f);
  OnEveryTarget([&] {
    for (const uint16_t bits : {uint16_t{0x7C00}, uint16_t{0xFC00}, uint16_t{0x7E00}, uint16_t{0x7C01}}) {
      for (size_t n = 1; n <= 65; ++n) {
        for (size_t i = 0; i < n; ++i) {
          std::vector<Half> halves(n, Half{0x3C00});
          halves[i].bits = bits;
          for (const Metric metric : kMetrics) {
            ASSERT_FALSE(std::isfinite(ExactDistance(metric, floats.data(), halves.data(), n)));
            ASSERT_FALSE(std::isfinite(ExactDistance(metric, zeros.data(), halves.data(), n)));
            ASSERT_FALSE(std::isfinite(ExactDistance(metric, halves.data(), halves.data(), n)));
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace vecckpt
