// The codec of code kind `sq4`: 4 bits a dimension, packed as nibble_kernels.hpp says (scalar_codec.hpp).
//
// Its lower bounds are statistical: on tested data fewer than one in 1,000 is above the exact distance
// (codec_sq4.cpp).

#pragma once

#include "hnsw/nibble_kernels.hpp"
#include "hnsw/scalar_codec.hpp"

namespace vecckpt {

struct Sq4Levels {
  static constexpr CodeKind kKind = CodeKind::kSq4;
  static constexpr const char* kName = "sq4";
  static constexpr double kHighest = 15;
  static constexpr bool kFitted = true;

  using Kernels = NibbleKernels;
  static const Kernels& BestKernels() { return BestNibbleKernels(); }

  static constexpr size_t Bytes(size_t dims) { return NibbleBytes(dims); }
  static int Get(const std::byte* code, size_t dims, size_t i) {
    const NibblePlace place = NibblePlaceOf(i, dims);
    return std::to_integer<int>(code[place.byte] >> place.shift & std::byte{15});
  }
  static void Put(std::byte* code, size_t dims, size_t i, const uint8_t* levels, size_t count) {
    for (size_t n = 0; n < count; ++n) {
      const NibblePlace place = NibblePlaceOf(i + n, dims);
      code[place.byte] |= static_cast<std::byte>(levels[n] << place.shift);
    }
  }
  // The sum of a_i * b_i, exact.
  static double Dot(const Kernels& kernels, const uint8_t* a, const uint8_t* b, size_t dims, double) {
    return kernels.dot(a, b, dims);
  }

  static double ErrorShare(size_t dims);
  static double LeastDistance(double square, double code_error, double query_error, double share);
  static double ProductError(double code_error, double code_norm, double query_error, double query_norm,
                             double share);
};

extern template class ScalarCodec<Sq4Levels>;
using Sq4Codec = ScalarCodec<Sq4Levels>;

}  // namespace vecckpt
