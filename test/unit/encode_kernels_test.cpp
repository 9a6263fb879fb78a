// The loops of encoding against plain ones, with every instruction set, at all lengths and alignments.

#include "hnsw/encode_kernels.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernel_testing.hpp"

namespace vecckpt {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
// Sums are compared relative to the sum of their terms' magnitudes.
constexpr double kTolerance = 1e-11;

struct Input {
  Input(size_t n, size_t shift, std::mt19937_64& random)
      : n(n), values(n, shift), mean(n, shift), x(n, shift) {
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < n; ++i) {
      values.data[i] = normal(random);
      mean.data[i] = normal(random) / 8;
      x.data[i] = double{normal(random)} * (i % 7 == 0 ? 3 : 1);
    }
  }
  double y(size_t i) const { return x.data[i] - mean.data[i]; }
  size_t n;
  ExactArray<float> values, mean;
  ExactArray<double> x;
};

template <typename Check>
void OnInputs(Check check) {
  OnEveryTarget([&] {
    std::mt19937_64 random(7);
    size_t shift = 0;
    for (const size_t n : KernelLengths()) {
      SCOPED_TRACE(n);
      Input input(n, shift++ % 4, random);
      check(input);
      if (testing::Test::HasFailure()) return;
    }
  });
}

int PlainLevel(double y, const LevelRule& rule) {
  const double steps = (y - rule.first) * rule.inverse;
  if (!(steps > 0)) return 0;
  return static_cast<int>(std::min(steps, rule.highest) + 0.5);
}

TEST(EncodeKernelsTest, LargestMagnitude) {
  OnInputs([](Input& input) {
    float expected = 0;
    for (size_t i = 0; i < input.n; ++i) expected = std::max(expected, std::fabs(input.values.data[i]));
    EXPECT_EQ(LargestMagnitude(input.values.data, input.n), expected);
    if (input.n == 0) return;
    const size_t place = input.n * 5 / 7;
    input.values.data[place] = -expected * 2;
    EXPECT_EQ(LargestMagnitude(input.values.data, input.n), expected * 2);
    input.values.data[place] = kNaN;
    EXPECT_LE(LargestMagnitude(input.values.data, input.n), expected);
  });
}

TEST(EncodeKernelsTest, ScaleValues) {
  OnInputs([](Input& input) {
    ExactArray<double> out(input.n, 1);
    ScaleValues(input.values.data, 0.37, input.n, out.data);
    for (size_t i = 0; i < input.n; ++i) ASSERT_EQ(out.data[i], input.values.data[i] * 0.37) << i;
  });
}

TEST(EncodeKernelsTest, WidenRange) {
  OnInputs([](Input& input) {
    double low = 0.25, high = -0.25, expected_low = low, expected_high = high;
    for (size_t i = 0; i < input.n; ++i) {
      expected_low = std::min(expected_low, input.y(i));
      expected_high = std::max(expected_high, input.y(i));
    }
    WidenRange(input.x.data, input.mean.data, input.n, &low, &high);
    EXPECT_EQ(low, expected_low);
    EXPECT_EQ(high, expected_high);
    if (input.n == 0) return;
    for (size_t i = 0; i < input.n; ++i) input.x.data[i] = std::numeric_limits<double>::quiet_NaN();
    WidenRange(input.x.data, input.mean.data, input.n, &low, &high);
    EXPECT_EQ(low, expected_low);
    EXPECT_EQ(high, expected_high);
  });
}

TEST(EncodeKernelsTest, AddToLine) {
  OnInputs([](Input& input) {
    const LevelRule rule = {-2, 3.5, 15};
    LineSums expected{1, 2, 3, 4}, sums = expected;
    double magnitudes = 10;
    for (size_t i = 0; i < input.n; ++i) {
      const double level = PlainLevel(input.y(i), rule);
      expected.levels += level;
      expected.level_squares += level * level;
      expected.components += input.y(i);
      expected.products += level * input.y(i);
      magnitudes += level * std::fabs(input.y(i)) + std::fabs(input.y(i));
    }
    AddToLine(input.x.data, input.mean.data, input.n, rule, &sums);
    EXPECT_EQ(sums.levels, expected.levels);
    EXPECT_EQ(sums.level_squares, expected.level_squares);
    EXPECT_NEAR(sums.components, expected.components, kTolerance * magnitudes);
    EXPECT_NEAR(sums.products, expected.products, kTolerance * magnitudes);
  });
}

TEST(EncodeKernelsTest, WriteLevels) {
  OnInputs([](Input& input) {
    // Some components lie below and above all levels; one is not a number.
    const LevelRule rule = {-1.5, 70, 255};
    const double offset = -1.4, step = 1.0 / 71;
    const bool with_nan = input.n > 2 && input.n % 2 == 0;
    if (with_nan) input.x.data[input.n / 3] = std::numeric_limits<double>::quiet_NaN();
    ExactArray<uint8_t> levels(input.n, 1);
    CodeSums sums, expected;
    WriteLevels(input.x.data, input.mean.data, input.n, rule, offset, step, levels.data, &sums);
    for (size_t i = 0; i < input.n; ++i) {
      const double x = input.x.data[i], y = input.y(i);
      const int level = PlainLevel(y, rule);
      ASSERT_EQ(levels.data[i], level) << i;
      const double said = offset + step * level;
      expected.levels += level;
      expected.squared_error += (y - said) * (y - said);
      expected.square += y * y;
      expected.said_square += said * said;
      expected.with_mean += y * input.mean.data[i];
      expected.length += x * x;
    }
    EXPECT_EQ(sums.levels, expected.levels);
    EXPECT_NEAR(sums.said_square, expected.said_square, kTolerance * expected.said_square);
    if (with_nan) {
      EXPECT_TRUE(std::isnan(sums.squared_error));
      return;
    }
    EXPECT_NEAR(sums.squared_error, expected.squared_error, kTolerance * expected.squared_error);
    EXPECT_NEAR(sums.square, expected.square, kTolerance * expected.square);
    EXPECT_NEAR(sums.with_mean, expected.with_mean, kTolerance * (expected.square + 1));
    EXPECT_NEAR(sums.length, expected.length, kTolerance * expected.length);
  });
}

}  // namespace
}  // namespace vecckpt
