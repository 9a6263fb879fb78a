// What the codecs of code kinds `sq8` and `sq4` share: scalar quantization with parameters of each vector.
//
// A vector x becomes y = 2^-exponent x - mean (under cosine x is divided by its norm first), with an exponent
// as in codec_scale.hpp and a mean of the first vectors, both chosen once a segment. A component of y is
// stored as a level l, a small integer, which stands for offset + step * l; offset and step are the vector's
// own. The code ends with what makes distances and their bounds out of a dot product of integers:
//
//   | levels, Levels::Bytes(dims) bytes | zeros | ScalarTrailer, the last 24 bytes of the stride |
//
// Parameters on disk: the exponent, 4 bytes, signed; then the mean, dims float32.
//
// Serves L2, inner product and cosine, from 9 dimensions on: with fewer, float codes are as short.
//
// `Levels` is what tells the code kinds apart (Sq8Levels, Sq4Levels), all static:
//   kKind, kName; kHighest, the highest level, the lowest being 0
//   kFitted: whether offset and step, which the least and the largest component give first, are fitted to
//     all components once the levels are known, by least squares; a query's step too
//   Kernels, BestKernels(): integer dot products of levels, as in byte_kernels.hpp
//   Bytes(dims); Get(code, dims, i); Put(code, dims, i, levels, count), those from i on, over zero bytes
//   ErrorShare(dims): what part of an error's norm distances are at most off by, in the error's product with
//     another vector; 1 is rigorous
//   LeastDistance(square, code_error, query_error, share): a distance that the query and the encoded vector
//     are not closer than if `square`, at least 0, is the squared distance of what their codes say, and the
//     errors are the norms of what codes miss; may be negative, or NaN from corrupt codes
//   ProductError(code_error, code_norm, query_error, query_norm, share): how far the inner product of what
//     codes say may be from that of query and vector; the norms are that of what the code says and of the
//     query

#pragma once

#include <vector>

#include "hnsw/codec.hpp"

namespace vecckpt {

// All on the scale of y. `norm` and `residue` depend on the metric:
//   L2, cosine     norm: the squared norm of y; residue: that minus the squared norm of what the levels say
//   inner product  norm: y * mean + mean * mean / 2; residue: the norm of what the levels say, rounded up
struct ScalarTrailer {
  float offset;
  float step;
  float sum;  // of the levels, exact
  float norm;
  float residue;
  float error;  // the norm of y minus what the levels say, rounded up
};

constexpr uint32_t kMinScalarDims = 9;

constexpr bool ScalarCodecServes(Metric metric, uint32_t dims) {
  return metric != Metric::kL1 && dims >= kMinScalarDims;
}

template <typename Levels>
class ScalarCodec final : public Codec {
 public:
  static size_t Stride(uint32_t dims) { return AlignUp(Levels::Bytes(dims) + sizeof(ScalarTrailer), 64); }
  static Result<std::unique_ptr<Codec>> Train(Metric metric, uint32_t dims,
                                              const VectorStatistics& statistics,
                                              std::span<const float> sample);
  static Result<std::unique_ptr<Codec>> Load(Metric metric, uint32_t dims, Bytes parameters);

  CodeKind kind() const override { return Levels::kKind; }
  Metric metric() const override { return metric_; }
  uint32_t dims() const override { return static_cast<uint32_t>(mean_.size()); }
  size_t stride() const override { return stride_; }
  std::vector<std::byte> Parameters() const override;
  bool SameAs(const Codec& other) const override;
  bool Holds(const VectorStatistics& statistics) const override;
  VectorStatistics StatisticsOf(const std::byte* code) const override;
  void Encode(const float* vector, std::byte* code) const override;
  void Decode(const std::byte* code, float* vector) const override;
  double CodeError(const std::byte* code) const override;
  void Transcode(const Codec& other, const std::byte* from, std::byte* to) const override;
  float CodeDistance(const std::byte* a, const std::byte* b) const override;
  void CodeDistancesOf(const std::byte* from, const std::byte* codes, std::span<const uint32_t> nodes,
                       float* out) const override;
  bool AnyCloserThan(float distance, const std::byte* from, const std::byte* codes,
                     std::span<const uint32_t> nodes) const override;
  std::unique_ptr<QueryScorer> Prepare(const float* query) const override;

 private:
  ScalarCodec(Metric metric, int32_t exponent, std::vector<float> mean);

  const ScalarTrailer& TrailerOf(const std::byte* code) const {
    return *reinterpret_cast<const ScalarTrailer*>(code + stride_ - sizeof(ScalarTrailer));
  }
  // What y a code says, plus the mean.
  double ComponentOf(const std::byte* code, const ScalarTrailer& trailer, size_t i) const;
  // fill(begin, count, x): components of the scaled vector, mean not yet subtracted. `known_error`: how far
  // they may be from the true ones. `norm_gain`: what the true squared norm of y has more than this vector's,
  // estimated.
  template <typename Fill>
  void EncodeScaled(const Fill& fill, double known_error, double norm_gain, std::byte* code) const;

  Metric metric_;
  int32_t exponent_;
  std::vector<float> mean_;
  double mean_norm_;  // Euclidean
  size_t stride_;
  typename Levels::Kernels kernels_;
};

}  // namespace vecckpt
