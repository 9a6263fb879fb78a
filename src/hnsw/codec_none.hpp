// The codec of code kind `none`: float32 values, multiplied by 2^-exponent (see codec.hpp).
//
// codec_scale.hpp says how the exponent is chosen. Under cosine codes are unit vectors, and half the squared
// Euclidean distance of two codes stands for the cosine distance: it is the same number for exact unit
// vectors, and keeps its precision for near ones.
//
// Parameters on disk: the exponent, 4 bytes, signed.

#pragma once

#include "hnsw/codec.hpp"

namespace vecckpt {

class NoneCodec final : public Codec {
 public:
  static Result<std::unique_ptr<Codec>> Train(Metric metric, uint32_t dims,
                                              const VectorStatistics& statistics);
  static Result<std::unique_ptr<Codec>> Load(Metric metric, uint32_t dims, Bytes parameters);

  static size_t Stride(uint32_t dims);

  CodeKind kind() const override { return CodeKind::kNone; }
  Metric metric() const override { return metric_; }
  uint32_t dims() const override { return dims_; }
  size_t stride() const override { return stride_; }
  std::vector<std::byte> Parameters() const override;
  bool SameAs(const Codec& other) const override;
  bool Holds(const VectorStatistics& statistics) const override;
  VectorStatistics StatisticsOf(const std::byte* code) const override;
  void Encode(const float* vector, std::byte* code) const override;
  void Decode(const std::byte* code, float* vector) const override;
  double CodeError(const std::byte*) const override { return 0; }
  void Transcode(const Codec& other, const std::byte* from, std::byte* to) const override;
  float CodeDistance(const std::byte* a, const std::byte* b) const override;
  std::unique_ptr<QueryScorer> Prepare(const float* query) const override;

 private:
  NoneCodec(Metric metric, uint32_t dims, int32_t exponent);

  Metric metric_;
  uint32_t dims_;
  int32_t exponent_;
  size_t stride_;
};

}  // namespace vecckpt
