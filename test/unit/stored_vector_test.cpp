// Vectors of each element type, against the kernels of that type.

#include "hnsw/stored_vector.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "hnsw/exact.hpp"

namespace vecckpt {
namespace {

constexpr Metric kMetrics[] = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine, Metric::kL1};

// 0.5, -2, 65504 (the largest), 2^-24 (the least) as float16, and as float32.
const std::vector<Half> kHalves = {{0x3800}, {0xC000}, {0x7BFF}, {0x0001}};
const std::vector<float> kFloats = {0.5f, -2.0f, 65504.0f, 0x1p-24f};
const std::vector<float> kQuery = {1.0f, 3.0f, -7.0f, 0.25f};

StoredVector Stored(const std::vector<Half>& halves) {
  return {ElementType::kFloat16, static_cast<uint32_t>(halves.size()), halves.data()};
}
StoredVector Stored(const std::vector<float>& floats) {
  return {ElementType::kFloat32, static_cast<uint32_t>(floats.size()), floats.data()};
}

TEST(StoredVector, BytesAreTheElements) {
  EXPECT_EQ(Stored(kHalves).bytes().size(), 8u);
  EXPECT_EQ(Stored(kFloats).bytes().size(), 16u);
  EXPECT_EQ(Stored(kHalves).bytes()[0], std::byte{0x00});
  EXPECT_EQ(Stored(kHalves).bytes()[1], std::byte{0x38});
}

TEST(StoredVector, BecomesFloats) {
  std::vector<float> floats(4);
  ToFloats(Stored(kHalves), floats.data());
  EXPECT_EQ(floats, kFloats);
  std::fill(floats.begin(), floats.end(), 0.0f);
  ToFloats(Stored(kFloats), floats.data());
  EXPECT_EQ(floats, kFloats);
}

TEST(StoredVector, DistanceIsThatOfItsFloats) {
  for (const Metric metric : kMetrics) {
    const double expected = ExactDistance(metric, kQuery.data(), kFloats.data(), kFloats.size());
    EXPECT_EQ(ExactDistance(metric, kQuery.data(), Stored(kFloats)), expected);
    EXPECT_EQ(ExactDistance(metric, kQuery.data(), Stored(kHalves)), expected);
  }
}

TEST(StoredVector, NormTellsZeroAndWhatIsNotFinite) {
  const double expected = SquaredNorm(kFloats.data(), kFloats.size());
  EXPECT_EQ(SquaredNorm(Stored(kFloats)), expected);
  EXPECT_EQ(SquaredNorm(Stored(kHalves)), expected);
  // Zeros of both signs, then the least value there is.
  EXPECT_EQ(SquaredNorm(Stored(std::vector<Half>{{0x0000}, {0x8000}})), 0);
  EXPECT_EQ(SquaredNorm(Stored(std::vector<float>{0.0f, -0.0f})), 0);
  EXPECT_GT(SquaredNorm(Stored(std::vector<Half>{{0x0000}, {0x8001}})), 0);
  EXPECT_GT(SquaredNorm(Stored(std::vector<float>{0.0f, -std::numeric_limits<float>::denorm_min()})), 0);
  EXPECT_FALSE(std::isfinite(SquaredNorm(Stored(std::vector<Half>{{0x3C00}, {0xFC00}}))));
  EXPECT_FALSE(std::isfinite(SquaredNorm(Stored(std::vector<Half>{{0x3C00}, {0x7E00}}))));
  EXPECT_FALSE(
      std::isfinite(SquaredNorm(Stored(std::vector<float>{1, std::numeric_limits<float>::infinity()}))));
  EXPECT_TRUE(
      std::isfinite(SquaredNorm(Stored(std::vector<float>(16000, std::numeric_limits<float>::max())))));
}

}  // namespace
}  // namespace vecckpt
