// Waiting candidates come out by bound, whatever the order of pushes and pops, ties included.

#include "index/candidate_heap.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace vecckpt {
namespace {

TEST(WaitingCandidates, ComeOutByBound) {
  std::mt19937 random(1);
  const double infinity = std::numeric_limits<double>::infinity();
  for (const uint32_t values : {1u, 3u, 1000u, 1u << 30}) {
    WaitingCandidates waiting;
    std::multiset<double> expected;
    for (uint32_t round = 0; round < 300; ++round) {
      const size_t pushes = random() % 5 == 0 ? random() % 500 : random() % 5;
      for (size_t i = 0; i < pushes; ++i) {
        const uint32_t value = random() % values;
        const double bound = value % 17 == 3 ? infinity : value % 19 == 4 ? -infinity : value;
        waiting.Push({bound, round, static_cast<uint32_t>(i), 0});
        expected.insert(bound);
      }
      for (size_t pops = random() % 60; pops > 0 && !expected.empty(); --pops) {
        ASSERT_FALSE(waiting.empty());
        ASSERT_EQ(waiting.top().bound, *expected.begin());
        waiting.Pop();
        expected.erase(expected.begin());
      }
      ASSERT_EQ(waiting.empty(), expected.empty());
    }
  }
}

}  // namespace
}  // namespace vecckpt
