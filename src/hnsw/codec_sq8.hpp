// The codec of code kind `sq8`: 8 bits a dimension.
//
// A vector x becomes y = 2^-exponent x - mean (under cosine x is divided by its norm first), with an exponent
// as in codec_scale.hpp and a mean of the first vectors, both chosen once a segment. A component of y is
// stored as a byte c, which stands for offset + step * c; offset and step are the vector's own. The code ends
// with what makes distances and their bounds out of a dot product of bytes:
//
//   | dims bytes | zeros | Sq8Trailer, the last 24 bytes of the stride |
//
// Parameters on disk: the exponent, 4 bytes, signed; then the mean, dims float32.
//
// Serves L2, inner product and cosine, from 9 dimensions on: with fewer, float codes are as short.

#pragma once

#include <vector>

#include "hnsw/byte_kernels.hpp"
#include "hnsw/codec.hpp"

namespace vecckpt {

// All on the scale of y. `norm` and `residue` depend on the metric:
//   L2, cosine     norm: the squared norm of y; residue: that minus the squared norm of what the bytes say
//   inner product  norm: y * mean + mean * mean / 2; residue: the norm of what the bytes say, rounded up
struct Sq8Trailer {
  float offset;
  float step;
  float sum;  // of the bytes, exact
  float norm;
  float residue;
  float error;  // the norm of y minus what the bytes say, rounded up
};

class Sq8Codec final : public Codec {
 public:
  static bool Serves(Metric metric, uint32_t dims);
  static size_t Stride(uint32_t dims);
  static Result<std::unique_ptr<Codec>> Train(Metric metric, uint32_t dims,
                                              const VectorStatistics& statistics,
                                              std::span<const float> sample);
  static Result<std::unique_ptr<Codec>> Load(Metric metric, uint32_t dims, Bytes parameters);

  CodeKind kind() const override { return CodeKind::kSq8; }
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
  Sq8Codec(Metric metric, int32_t exponent, std::vector<float> mean);

  const Sq8Trailer& TrailerOf(const std::byte* code) const {
    return *reinterpret_cast<const Sq8Trailer*>(code + stride_ - sizeof(Sq8Trailer));
  }
  // What y a code says, plus the mean.
  double ComponentOf(const std::byte* code, const Sq8Trailer& trailer, size_t i) const;
  // `component(i)` is that of the scaled vector, mean not yet subtracted. `known_error`: how far it may be
  // from the true one. `norm_gain`: what the true squared norm of y has more than this vector's, estimated.
  template <typename Function>
  void EncodeScaled(Function component, double known_error, double norm_gain, std::byte* code) const;

  Metric metric_;
  int32_t exponent_;
  std::vector<float> mean_;
  double mean_norm_;  // Euclidean
  size_t stride_;
  ByteKernels kernels_;
};

}  // namespace vecckpt
