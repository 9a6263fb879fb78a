// Every implementation of the nibble kernels against a plain loop: all short lengths, some long ones, random
// and extreme values, any alignment; and nothing is read beyond the code or the query.

#include "hnsw/nibble_kernels.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "kernel_testing.hpp"

namespace vecckpt {
namespace {

ExactArray<uint8_t> Pack(const std::vector<int>& levels, size_t n, size_t shift) {
  ExactArray<uint8_t> packed(NibbleBytes(n), shift);
  for (size_t i = 0; i < n; ++i) {
    const NibblePlace place = NibblePlaceOf(i, n);
    packed.data[place.byte] = static_cast<uint8_t>(packed.data[place.byte] | levels[i] << place.shift);
  }
  return packed;
}

void Check(const NibbleKernels& kernels, const std::vector<int>& a, const std::vector<int>& b,
           const std::vector<int>& query) {
  for (const size_t n : KernelLengths()) {
    int64_t unsigned_sum = 0, signed_sum = 0;
    for (size_t i = 0; i < n; ++i) {
      unsigned_sum += int64_t{a[i]} * b[i];
      signed_sum += int64_t{a[i]} * query[i];
    }
    for (const size_t shift : {0u, 1u, 24u}) {
      const ExactArray<uint8_t> x = Pack(a, n, shift), y = Pack(b, n, 2 * shift);
      const ExactArray<int8_t> z(n, 3 * shift);
      for (size_t i = 0; i < n; ++i) z.data[i] = static_cast<int8_t>(query[i]);
      ASSERT_EQ(kernels.dot(x.data, y.data, n), unsigned_sum) << kernels.name << ", n = " << n;
      ASSERT_EQ(kernels.dot(y.data, x.data, n), unsigned_sum) << kernels.name << ", n = " << n;
      ASSERT_EQ(kernels.dot_with_signed(x.data, z.data, n), signed_sum) << kernels.name << ", n = " << n;
    }
  }
}

void CheckAll(const NibbleKernels& kernels) {
  std::mt19937 random(1);
  std::vector<int> a(kMaxDims), b(kMaxDims), query(kMaxDims);
  for (int& level : a) level = static_cast<int>(random() % 16);
  for (int& level : b) level = static_cast<int>(random() % 16);
  for (int& value : query) value = static_cast<int>(random() % 256) - 128;
  Check(kernels, a, b, query);
  for (const int level : {0, 1, 15}) {
    for (const int value : {-128, -1, 127}) {
      Check(kernels, std::vector<int>(kMaxDims, level), std::vector<int>(kMaxDims, 15),
            std::vector<int>(kMaxDims, value));
    }
  }
}

TEST(NibbleKernels, AllImplementationsAreExact) {
  for (const NibbleKernels& kernels : AllNibbleKernels()) CheckAll(kernels);
  EXPECT_EQ(BestNibbleKernels().dot, AllNibbleKernels().front().dot);
}

// The portable one is compiled for several instruction sets; each that runs here has its turn.
TEST(NibbleKernels, PortableOneIsExactOnEveryTarget) {
  const NibbleKernels& portable = AllNibbleKernels().back();
  EXPECT_EQ(portable.name, std::string("highway"));
  OnEveryTarget([&] { CheckAll(portable); });
}

// Each dimension has a place of its own, in no more bytes than needed.
TEST(NibbleKernels, PlacesAreDistinctAndCompact) {
  for (const size_t n : KernelLengths()) {
    std::vector<int> taken(2 * NibbleBytes(n), 0);
    for (size_t i = 0; i < n; ++i) {
      const NibblePlace place = NibblePlaceOf(i, n);
      ASSERT_LT(place.byte, NibbleBytes(n));
      ASSERT_TRUE(place.shift == 0 || place.shift == 4);
      ASSERT_EQ(taken[2 * place.byte + (place.shift == 4)]++, 0) << "dimension " << i << " of " << n;
    }
  }
}

// What is on disk: byte i holds dimensions i and 64 + i of a whole block.
TEST(NibbleKernels, LayoutIsFixed) {
  const auto is_at = [](size_t i, size_t n, size_t byte, int shift) {
    const NibblePlace place = NibblePlaceOf(i, n);
    return place.byte == byte && place.shift == shift;
  };
  EXPECT_TRUE(is_at(63, 128, 63, 0));
  EXPECT_TRUE(is_at(64, 128, 0, 4));
  EXPECT_TRUE(is_at(128 + 65, 256, 65, 4));
  EXPECT_TRUE(is_at(128 + 4, 137, 68, 0));
  EXPECT_TRUE(is_at(128 + 5, 137, 64, 4));
  EXPECT_TRUE(is_at(4, 9, 4, 0));
  EXPECT_TRUE(is_at(8, 9, 3, 4));
}

}  // namespace
}  // namespace vecckpt
