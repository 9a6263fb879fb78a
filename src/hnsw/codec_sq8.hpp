// The codec of code kind `sq8`: 8 bits a dimension, a byte each (scalar_codec.hpp).

#pragma once

#include <cstring>

#include "hnsw/byte_kernels.hpp"
#include "hnsw/scalar_codec.hpp"

namespace vecckpt {

struct Sq8Levels {
  static constexpr CodeKind kKind = CodeKind::kSq8;
  static constexpr const char* kName = "sq8";
  static constexpr double kHighest = 255;
  static constexpr bool kFitted = false;

  using Kernels = ByteKernels;
  static const Kernels& BestKernels() { return BestByteKernels(); }

  static constexpr size_t Bytes(size_t dims) { return dims; }
  static int Get(const std::byte* code, size_t, size_t i) { return std::to_integer<int>(code[i]); }
  static void Put(std::byte* code, size_t, size_t i, const uint8_t* levels, size_t count) {
    std::memcpy(code + i, levels, count);
  }
  // The sum of a_i * b_i, exact; `sum_a`: the sum of a_i.
  static double Dot(const Kernels& kernels, const uint8_t* a, const uint8_t* b, size_t dims, double sum_a) {
    return kernels.dot_shifted(a, b, dims) + 128 * sum_a;
  }

  // Bounds hold for every vector and query.
  static double ErrorShare(size_t) { return 1; }
  static double LeastDistance(double square, double code_error, double query_error, double share);
  static double ProductError(double code_error, double code_norm, double query_error, double query_norm,
                             double) {
    return code_error * query_norm + code_norm * query_error;
  }
};

extern template class ScalarCodec<Sq8Levels>;
using Sq8Codec = ScalarCodec<Sq8Levels>;

}  // namespace vecckpt
