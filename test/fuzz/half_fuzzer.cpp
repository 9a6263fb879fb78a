// float16 values of any bits: each becomes the float32 that is equal to it, at any alignment, and a distance
// of them has the bits of the distance of those float32 values.
//
// An input: metric, dims, where the values begin; then both vectors.

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "fuzzing.hpp"
#include "hnsw/exact.hpp"
#include "hnsw/half_kernels.hpp"

namespace vecckpt {
namespace {

float Value(Half half) {
  const int exponent = half.bits >> 10 & 31, mantissa = half.bits & 1023;
  const float sign = (half.bits >> 15) != 0 ? -1.0f : 1.0f;
  if (exponent == 31) {
    return mantissa == 0 ? sign * std::numeric_limits<float>::infinity() : std::nanf("");
  }
  const int significand = exponent == 0 ? mantissa : 1024 + mantissa;
  return sign * std::ldexp(static_cast<float>(significand), std::max(exponent, 1) - 25);
}

template <typename T>
bool Same(T a, T b) {
  return std::isnan(a) ? std::isnan(b)
                       : std::bit_cast<uint64_t>(double{a}) == std::bit_cast<uint64_t>(double{b});
}

void Check(Input input) {
  const Metric metric = static_cast<Metric>(1 + input.Take<uint8_t>() % 4);
  const uint32_t dims = 1u + input.Take<uint8_t>();
  const size_t begin = input.Take<uint8_t>() % 32;
  // Nothing behind the last one may be read.
  std::vector<Half> a(begin + dims), b(begin + dims);
  input.Fill(a.data() + begin, dims * sizeof(Half));
  input.Fill(b.data() + begin, dims * sizeof(Half));
  const Half *const halves = a.data() + begin, *const others = b.data() + begin;

  std::vector<float> floats(dims), other_floats(dims);
  HalvesToFloats(halves, dims, floats.data());
  HalvesToFloats(others, dims, other_floats.data());
  for (uint32_t i = 0; i < dims; ++i) {
    EXPECT(Same(floats[i], Value(halves[i])));
    EXPECT(Same(other_floats[i], Value(others[i])));
  }
  const double exact = ExactDistance(metric, floats.data(), other_floats.data(), dims);
  EXPECT(Same(ExactDistance(metric, floats.data(), others, dims), exact));
  EXPECT(Same(ExactDistance(metric, halves, others, dims), exact));
}

}  // namespace
}  // namespace vecckpt

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vecckpt::Check(vecckpt::Input(data, size));
  return 0;
}
