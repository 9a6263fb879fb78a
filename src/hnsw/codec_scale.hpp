// The power of two by which a segment's codec scales its vectors, and bounds that codecs share.
//
// The exponent is 0 where the segment's largest magnitude lies between 2^-40 and 2^50; it brings larger ones
// below 2^50, where no float32 sum of kMaxDims squares overflows, and smaller ones near 1, where squares do
// not underflow. Under cosine codes are made of unit vectors, and the exponent is 0.

#pragma once

#include <cmath>
#include <cstdint>

#include "hnsw/types.hpp"

namespace vecckpt {

// Scaled values stay below 2^50: then kMaxDims squared differences stay below 2^116.
constexpr int kMaxMagnitudeLog2 = 50;
// Values all below 2^-40 are scaled up to near 1.
constexpr int kSmallMagnitudeLog2 = -40;
constexpr int32_t kMinExponent = -148;
constexpr int32_t kMaxExponent = 128 - kMaxMagnitudeLog2;

// The error of a sum in double relative to the sum of its terms' magnitudes: kMaxDims roundings of 2^-53,
// three times over for good measure. ExactDistance is within it too.
constexpr double kExactError = 0x1p-37;

// True if vectors of this largest magnitude can be scaled by 2^-exponent.
inline bool FitsScale(float max_magnitude, int exponent) {
  return std::isfinite(max_magnitude) &&
         std::ldexp(static_cast<double>(max_magnitude), -exponent) < std::ldexp(1.0, kMaxMagnitudeLog2);
}

inline int32_t ChooseExponent(Metric metric, float max_magnitude) {
  if (max_magnitude == 0 || metric == Metric::kCosine) return 0;
  const int log2 = std::ilogb(max_magnitude);
  if (log2 >= kMaxMagnitudeLog2) return log2 + 1 - kMaxMagnitudeLog2;
  return log2 < kSmallMagnitudeLog2 ? log2 + 1 : 0;
}

// True if ChooseExponent can give this exponent.
inline bool IsChoosableExponent(Metric metric, int32_t exponent) {
  if (exponent == 0) return true;
  if (metric == Metric::kCosine) return false;
  return exponent > 0 ? exponent <= kMaxExponent
                      : exponent >= kMinExponent && exponent <= kSmallMagnitudeLog2;
}

}  // namespace vecckpt
