// See code_check.hpp. Roundings: Decode gives floats, and codes of kind none are floats, each within 2^-24 of
// its value or, where scaling underflows, within 2^-71 (codec_none.cpp).

#include "hnsw/code_check.hpp"

#include <cmath>

#include "hnsw/exact.hpp"

namespace vecckpt {

namespace {

constexpr double kRelative = 0x1p-22;
constexpr double kUnderflow = 0x1p-70;

}  // namespace

bool CodeStandsFor(const Codec& codec, const std::byte* code, const float* vector, float* scratch) {
  const size_t dims = codec.dims();
  codec.Decode(code, scratch);
  const double norm = std::sqrt(SquaredNorm(vector, dims));
  const bool unit_length = codec.metric() == Metric::kCosine;
  const double scale = unit_length ? 1 / norm : 1;
  double square = 0;
  for (size_t i = 0; i < dims; ++i) {
    const double apart = vector[i] * scale - scratch[i];
    square += apart * apart;
  }
  const double lengths = (unit_length ? 1 : norm) + std::sqrt(SquaredNorm(scratch, dims));
  const double allowed = codec.CodeError(code) * (1 + kRelative) + kRelative * lengths +
                         kUnderflow * std::sqrt(static_cast<double>(dims));
  return std::sqrt(square) <= allowed;  // NaN is not
}

}  // namespace vecckpt
