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
  // t of 3 degrees 3.182. The variance of the mean is 0.02 / 3 / 4 = 0.25 / 150, as that of 150 coin throws,
  // whose interval is 0.5 +- 0.12574.
  const std::vector<double> recalls = {0.4, 0.5, 0.5, 0.6};
  const RecallInterval interval = MeanRecall(recalls);
  EXPECT_NEAR(interval.mean, 0.5, 1e-12);
  EXPECT_NEAR(interval.low, 0.5 - 0.12574, 0.002);
  EXPECT_NEAR(interval.high, 0.5 + 0.12574, 0.002);
}

TEST(RecallIntervalTest, IsWilsonsForCoinThrows) {
  // 95 of 100, with t of 99 degrees, 1.9842, and 99 in the variance's denominator.
  std::vector<double> recalls(95, 1.0);
  recalls.resize(100, 0.0);
  const RecallInterval interval = MeanRecall(recalls);
  EXPECT_NEAR(interval.low, 0.8875, 0.001);
  EXPECT_NEAR(interval.high, 0.9788, 0.001);
}

TEST(RecallIntervalTest, FewQueriesGetWideIntervals) {
  // t of 1 degree 12.706, of 2 degrees 4.303; the variance of the mean is 0.0001 and 0.0001 / 3.
  const std::vector<double> two = {0.49, 0.51};
  EXPECT_NEAR(MeanRecall(two).low, 0.5 - 0.1232, 2e-4);
  const std::vector<double> three = {0.49, 0.5, 0.51};
  EXPECT_NEAR(MeanRecall(three).high, 0.5 + 0.0248, 2e-4);
}

TEST(RecallIntervalTest, StaysWithinZeroAndOne) {
  const RecallInterval high = MeanRecall(std::vector<double>{1, 1, 0.2});
  EXPECT_GT(high.high, high.mean);
  EXPECT_LE(high.high, 1);
  const RecallInterval low = MeanRecall(std::vector<double>{0, 0, 0.8});
  EXPECT_LT(low.low, low.mean);
  EXPECT_GE(low.low, 0);
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

// How many of 4,000 intervals, each of `queries` recalls that `recall` draws, hold `truth`.
template <typename Draw>
double ShareThatHolds(double truth, int queries, Draw recall) {
  const int trials = 4000;
  int held = 0;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<double> recalls;
    for (int query = 0; query < queries; ++query) recalls.push_back(recall());
    const RecallInterval interval = MeanRecall(recalls);
    if (interval.low <= truth && truth <= interval.high) ++held;
  }
  return static_cast<double>(held) / trials;
}

// Recalls of ten rows each, from queries of which a quarter is hard. An interval that took the rows for
// independent would hold the true mean too seldom.
TEST(RecallIntervalTest, HoldsTheTrueMean) {
  std::mt19937 random(1);
  std::binomial_distribution<int> hard(10, 0.6), easy(10, 0.98);
  const double share = ShareThatHolds(
      (0.6 + 3 * 0.98) / 4, 50, [&] { return (random() % 4 == 0 ? hard(random) : easy(random)) / 10.0; });
  EXPECT_GT(share, 0.92);
  EXPECT_LT(share, 0.98);
}

// Near 1 most samples hold only a few queries that miss anything.
TEST(RecallIntervalTest, HoldsATrueMeanNearOne) {
  std::mt19937 random(1);
  for (double truth : {0.95, 0.97}) {
    std::bernoulli_distribution found(truth);  // one row each
    EXPECT_GT(ShareThatHolds(truth, 100, [&] { return found(random) ? 1.0 : 0.0; }), 0.92) << truth;
  }
}

}  // namespace
}  // namespace vecckpt
