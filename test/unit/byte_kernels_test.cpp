// Every implementation of the byte kernels against a plain loop: all short lengths, some long ones, random
// and extreme bytes, any alignment; and nothing is read beyond the arrays.

#include "hnsw/byte_kernels.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "kernel_testing.hpp"

namespace vecckpt {
namespace {

void Check(const ByteKernels& kernels, const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  for (const size_t n : KernelLengths()) {
    int64_t shifted_sum = 0, signed_sum = 0;
    for (size_t i = 0; i < n; ++i) {
      shifted_sum += int64_t{a[i]} * (b[i] - 128);
      signed_sum += int64_t{a[i]} * static_cast<int8_t>(b[i]);
    }
    for (const size_t shift : {0u, 1u, 24u}) {
      const ExactArray<uint8_t> x(a.data(), n, shift), y(b.data(), n, 2 * shift);
      const int8_t* z = reinterpret_cast<const int8_t*>(y.data);
      ASSERT_EQ(kernels.dot_shifted(x.data, y.data, n), shifted_sum) << kernels.name << ", n = " << n;
      ASSERT_EQ(kernels.dot_with_signed(x.data, z, n), signed_sum) << kernels.name << ", n = " << n;
    }
  }
}

void CheckAll(const ByteKernels& kernels) {
  std::mt19937 random(1);
  std::vector<uint8_t> a(kMaxDims), b(kMaxDims);
  for (uint8_t& value : a) value = static_cast<uint8_t>(random());
  for (uint8_t& value : b) value = static_cast<uint8_t>(random());
  Check(kernels, a, b);
  // 127 and 128 are the largest and the smallest signed byte.
  for (const int one : {0, 1, 127, 128, 255}) {
    for (const int other : {0, 127, 128, 255}) {
      Check(kernels, std::vector<uint8_t>(kMaxDims, one), std::vector<uint8_t>(kMaxDims, other));
    }
  }
}

TEST(ByteKernels, AllImplementationsAreExact) {
  for (const ByteKernels& kernels : AllByteKernels()) CheckAll(kernels);
  EXPECT_EQ(BestByteKernels().dot_shifted, AllByteKernels().front().dot_shifted);
}

// The portable one is compiled for several instruction sets; each that runs here has its turn.
TEST(ByteKernels, PortableOneIsExactOnEveryTarget) {
  const ByteKernels& portable = AllByteKernels().back();
  EXPECT_EQ(portable.name, std::string("highway"));
  OnEveryTarget([&] { CheckAll(portable); });
}

}  // namespace
}  // namespace vecckpt
