// The float32 kernels on every instruction set against sums in long double: all short lengths, some long
// ones, denormal and extreme values; and nothing is read beyond the arrays. The double kernels' sums are
// also tested as distances, in exact_test.cpp.

#include "hnsw/kernels.hpp"

#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kernel_testing.hpp"

namespace vecckpt {
namespace {

// A sum of terms f(a_i, b_i), and of their magnitudes, which rounding errors are relative to.
struct Reference {
  long double value = 0;
  long double magnitude = 0;
  void Add(long double term) {
    value += term;
    magnitude += std::fabs(term);
  }
};

struct References {
  Reference squares, absolutes, products, absolute_products, a_squares, b_squares;
};

References Compute(const std::vector<float>& a, const std::vector<float>& b, size_t n) {
  References sums;
  for (size_t i = 0; i < n; ++i) {
    const long double x = a[i], y = b[i];
    sums.squares.Add((x - y) * (x - y));
    sums.absolutes.Add(std::fabs(x - y));
    sums.products.Add(x * y);
    sums.absolute_products.Add(std::fabs(x * y));
    sums.a_squares.Add(x * x);
    sums.b_squares.Add(y * y);
  }
  return sums;
}

// Finite values of every sign, exponent and mantissa between two powers of two; the least are denormal.
std::vector<float> AnyMagnitudes(int least, int most, std::mt19937_64& random) {
  std::uniform_int_distribution<int> exponent(least, most - 1);
  std::uniform_real_distribution<float> mantissa(1, 2);
  std::vector<float> values(kMaxDims);
  for (float& value : values) {
    value = std::ldexp(std::nextafter(mantissa(random), 1.0f), exponent(random));
    if (random() % 2 == 0) value = -value;
  }
  return values;
}

void CheckDoubleKernels(const std::vector<float>& a, const std::vector<float>& b) {
  for (const size_t n : KernelLengths()) {
    const References expected = Compute(a, b, n);
    const auto check = [n](double sum, const Reference& reference) {
      const long double tolerance = static_cast<long double>(n + 8) * 0x1p-53L * reference.magnitude;
      ASSERT_NEAR(sum, static_cast<double>(reference.value), static_cast<double>(tolerance)) << "n = " << n;
    };
    for (const size_t shift : {0u, 1u, 5u}) {
      const ExactArray<float> x(a.data(), n, shift), y(b.data(), n, 2 * shift);
      check(SumOfSquaredDifferences(x.data, y.data, n), expected.squares);
      check(SumOfAbsoluteDifferences(x.data, y.data, n), expected.absolutes);
      check(SumOfProducts(x.data, y.data, n), expected.products);
      const CosineTerms terms = SumCosineTerms(x.data, y.data, n);
      check(terms.product, expected.products);
      check(terms.squared_norm_a, expected.a_squares);
      check(terms.squared_norm_b, expected.b_squares);
      if (testing::Test::HasFatalFailure()) return;

      ASSERT_EQ(SumOfSquaredDifferences(x.data, y.data, n), SumOfSquaredDifferences(y.data, x.data, n));
      ASSERT_EQ(SumOfAbsoluteDifferences(x.data, y.data, n), SumOfAbsoluteDifferences(y.data, x.data, n));
      ASSERT_EQ(SumOfProducts(x.data, y.data, n), SumOfProducts(y.data, x.data, n));
      const CosineTerms exchanged = SumCosineTerms(y.data, x.data, n),
                        self = SumCosineTerms(x.data, x.data, n);
      ASSERT_EQ(terms.product, exchanged.product);
      ASSERT_EQ(terms.squared_norm_a, exchanged.squared_norm_b);
      ASSERT_EQ(self.product, terms.squared_norm_a);
      ASSERT_EQ(self.product, self.squared_norm_b);
    }
  }
}

void CheckFloatKernels(const std::vector<float>& a, const std::vector<float>& b) {
  for (const size_t length : KernelLengths()) {
    const size_t n = length / kFloatBlock * kFloatBlock;
    if (n != length && length <= 260) continue;
    const References expected = Compute(a, b, n);
    const auto check = [n](float sum, const Reference& reference) {
      const long double roundings = static_cast<long double>(FloatRoundings(n));
      const long double rounded = roundings * 0x1.00001p-24L * reference.magnitude;
      const long double underflow = static_cast<long double>(n) * 0x1p-149L;
      ASSERT_NEAR(sum, static_cast<double>(reference.value), static_cast<double>(rounded + underflow))
          << "n = " << n;
    };
    for (const size_t shift : {0u, 1u, 5u}) {
      const ExactArray<float> x(a.data(), n, shift), y(b.data(), n, 2 * shift);
      for (const bool exchange : {false, true}) {
        const float* one = exchange ? y.data : x.data;
        const float* other = exchange ? x.data : y.data;
        check(FloatSumOfSquaredDifferences(one, other, n), expected.squares);
        check(FloatSumOfAbsoluteDifferences(one, other, n), expected.absolutes);
        check(FloatSumOfProducts(one, other, n), expected.products);
        check(FloatSumOfAbsoluteProducts(one, other, n), expected.absolute_products);
        if (testing::Test::HasFatalFailure()) return;
      }
      ASSERT_EQ(FloatSumOfSquaredDifferences(x.data, y.data, n),
                FloatSumOfSquaredDifferences(y.data, x.data, n));
      ASSERT_EQ(FloatSumOfAbsoluteDifferences(x.data, y.data, n),
                FloatSumOfAbsoluteDifferences(y.data, x.data, n));
      ASSERT_EQ(FloatSumOfProducts(x.data, y.data, n), FloatSumOfProducts(y.data, x.data, n));
      ASSERT_EQ(FloatSumOfAbsoluteProducts(x.data, y.data, n), FloatSumOfAbsoluteProducts(y.data, x.data, n));
    }
  }
}

struct Magnitudes {
  int least, most;  // powers of two
};

TEST(Kernels, DoubleSumsOfValuesOfAllMagnitudes) {
  std::mt19937_64 random(1);
  for (const Magnitudes range : {Magnitudes{-1, 1}, {-149, -126}, {-149, 128}, {127, 128}}) {
    SCOPED_TRACE("from 2^" + std::to_string(range.least) + " to 2^" + std::to_string(range.most));
    const std::vector<float> a = AnyMagnitudes(range.least, range.most, random);
    const std::vector<float> b = AnyMagnitudes(range.least, range.most, random);
    OnEveryTarget([&] { CheckDoubleKernels(a, b); });
    if (HasFatalFailure()) return;
  }
}

// Values above 2^50 may overflow; those below 2^-63 have products that underflow.
TEST(Kernels, FloatSumsOfValuesOfAllMagnitudes) {
  std::mt19937_64 random(2);
  for (const Magnitudes range : {Magnitudes{-1, 1}, {-149, -126}, {-80, -60}, {-149, 50}, {49, 50}}) {
    SCOPED_TRACE("from 2^" + std::to_string(range.least) + " to 2^" + std::to_string(range.most));
    const std::vector<float> a = AnyMagnitudes(range.least, range.most, random);
    const std::vector<float> b = AnyMagnitudes(range.least, range.most, random);
    OnEveryTarget([&] { CheckFloatKernels(a, b); });
    if (HasFatalFailure()) return;
  }
}

TEST(Kernels, LargestAndSmallestValues) {
  const std::vector<float> most(kMaxDims, FLT_MAX), least(kMaxDims, FLT_TRUE_MIN);
  const std::vector<float> negative(kMaxDims, -FLT_MAX), zero(kMaxDims, 0.0f), minus_zero(kMaxDims, -0.0f);
  OnEveryTarget([&] {
    CheckDoubleKernels(most, negative);
    CheckDoubleKernels(least, zero);
    CheckDoubleKernels(zero, minus_zero);
    CheckDoubleKernels(most, least);
    CheckFloatKernels(least, zero);
    CheckFloatKernels(zero, minus_zero);
    EXPECT_TRUE(std::isinf(FloatSumOfSquaredDifferences(most.data(), negative.data(), kMaxDims)));
    EXPECT_TRUE(std::isinf(FloatSumOfAbsoluteDifferences(most.data(), negative.data(), kMaxDims)));
    EXPECT_EQ(FloatSumOfProducts(most.data(), negative.data(), kMaxDims),
              -std::numeric_limits<float>::infinity());
  });
}

}  // namespace
}  // namespace vecckpt
