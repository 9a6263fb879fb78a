// Every implementation of the byte kernels against a plain loop: all short lengths, some long ones, random
// and extreme bytes, any alignment.

#include "hnsw/byte_kernels.hpp"

#include <gtest/gtest.h>

#include <hwy/targets.h>

#include <random>
#include <string>
#include <vector>

#include "hnsw/types.hpp"

namespace vecckpt {
namespace {

std::vector<size_t> Lengths() {
  std::vector<size_t> lengths{256, 767, 768, 1000, 1536, kMaxDims - 1, kMaxDims};
  for (size_t n = 0; n <= 129; ++n) lengths.push_back(n);
  return lengths;
}

void Check(const ByteKernels& kernels, const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  for (const size_t n : Lengths()) {
    for (const size_t shift : {0u, 1u, 24u}) {
      const uint8_t* x = a.data() + shift;
      const uint8_t* y = b.data() + 2 * shift;
      const int8_t* z = reinterpret_cast<const int8_t*>(y);
      int64_t shifted_sum = 0, signed_sum = 0;
      for (size_t i = 0; i < n; ++i) {
        shifted_sum += int64_t{x[i]} * (y[i] - 128);
        signed_sum += int64_t{x[i]} * z[i];
      }
      ASSERT_EQ(kernels.dot_shifted(x, y, n), shifted_sum) << kernels.name << ", n = " << n;
      ASSERT_EQ(kernels.dot_with_signed(x, z, n), signed_sum) << kernels.name << ", n = " << n;
    }
  }
}

void CheckAll(const ByteKernels& kernels) {
  const size_t size = kMaxDims + 64;
  std::mt19937 random(1);
  std::vector<uint8_t> a(size), b(size);
  for (uint8_t& value : a) value = static_cast<uint8_t>(random());
  for (uint8_t& value : b) value = static_cast<uint8_t>(random());
  Check(kernels, a, b);
  // 127 and 128 are the largest and the smallest signed byte.
  for (const int one : {0, 1, 127, 128, 255}) {
    for (const int other : {0, 127, 128, 255}) {
      Check(kernels, std::vector<uint8_t>(size, one), std::vector<uint8_t>(size, other));
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
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    CheckAll(portable);
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace
}  // namespace vecckpt
