// MeanRecall against values worked out by hand and against how often its intervals hold the true mean.

#include "index/recall_interval.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace vecckpt {
namespace {

TEST(RecallIntervalTest, NothingSampledSaysNothing) {
  const RecallInterval interval = MeanRecall({});
  EXPECT_EQ(interval.low, 0);
  EXPECT_EQ(interval.high, 1);
}

TEST(RecallIntervalTest, OneQueryHasAMeanOnly) {
  const std::vector<double> recalls = {0.8};
  const RecallInterval interval = MeanRecall(recalls);
  EXPECT_EQ(interval.mean, 0.8);
  EXPECT_EQ(interval.low, 0);
  EXPECT_EQ(interval.high, 1);
}

TEST(RecallIntervalTest, ComesFromTheVariance) {
  // Mean 0.5, standard deviation sqrt(0.02 / 3), t of 3 degrees 3.182.
  const std::vector<double> recalls = {0.4, 0.5, 0.5, 0.6};
  const RecallInterval interval = MeanRecall(recalls);
  const double half_width = 3.182 * std::sqrt(0.02 / 3) / 2;
  EXPECT_NEAR(interval.mean, 0.5, 1e-12);
  EXPECT_NEAR(interval.low, 0.5 - half_width, 0.01 * half_width);
  EXPECT_NEAR(interval.high, 0.5 + half_width, 0.01 * half_width);
}

TEST(RecallIntervalTest, FewQueriesGetWideIntervals) {
  const std::vector<double> two = {0.49, 0.51};
  EXPECT_NEAR(MeanRecall(two).low, 0.5 - 12.706 * 0.01, 1e-4);
  const std::vector<double> three = {0.49, 0.5, 0.51};
  EXPECT_NEAR(MeanRecall(three).high, 0.5 + 4.303 * 0.01 / std::sqrt(3.0), 1e-4);
}

TEST(RecallIntervalTest, StaysWithinZeroAndOne) {
  const std::vector<double> high = {1, 1, 0.2};
  EXPECT_EQ(MeanRecall(high).high, 1);
  const std::vector<double> low = {0, 0, 0.8};
  EXPECT_EQ(MeanRecall(low).low, 0);
}

TEST(RecallIntervalTest, EqualRecallsAreNoCertainty) {
  const std::vector<double> perfect(100, 1.0);
  EXPECT_EQ(MeanRecall(perfect).mean, 1);
  EXPECT_NEAR(MeanRecall(perfect).low, 0.97, 1e-12);
  EXPECT_EQ(MeanRecall(perfect).high, 1);
  const std::vector<double> half(2, 0.5);
  EXPECT_EQ(MeanRecall(half).low, 0);
  EXPECT_EQ(MeanRecall(half).high, 1);
}

// Recalls of ten rows each, from queries of which a quarter is hard. An interval that took the rows for
// independent would hold the true mean too seldom.
TEST(RecallIntervalTest, HoldsTheTrueMean) {
  std::mt19937 random(1);
  const double hard = 0.6, easy = 0.98;
  const double truth = (hard + 3 * easy) / 4;
  const int trials = 4000;
  int held = 0;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<double> recalls;
    for (int query = 0; query < 50; ++query) {
      std::binomial_distribution<int> found(10, random() % 4 == 0 ? hard : easy);
      recalls.push_back(found(random) / 10.0);
    }
    const RecallInterval interval = MeanRecall(recalls);
    if (interval.low <= truth && truth <= interval.high) ++held;
  }
  EXPECT_GT(held, trials * 0.92);
  EXPECT_LT(held, trials * 0.98);
}

}  // namespace
}  // namespace vecckpt
