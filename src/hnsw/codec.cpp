// Chooses the codec class of a code kind; see codec.hpp.

#include "hnsw/codec.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "hnsw/codec_none.hpp"
#include "hnsw/codec_sq4.hpp"
#include "hnsw/codec_sq8.hpp"
#include "hnsw/encode_kernels.hpp"
#include "hnsw/gather.hpp"

namespace vecckpt {

namespace {

bool Known(Metric metric) {
  switch (metric) {
    case Metric::kL2:
    case Metric::kInnerProduct:
    case Metric::kCosine:
    case Metric::kL1:
      return true;
  }
  return false;
}

Status CheckShape(Metric metric, uint32_t dims) {
  if (!Known(metric)) {
    return Status::Unsupported("unknown metric " + std::to_string(static_cast<int>(metric)));
  }
  if (dims < 1 || dims > kMaxDims) {
    return Status::InvalidArgument("codec cannot have " + std::to_string(dims) + " dimensions");
  }
  return Status::Ok();
}

Status UnknownKind(CodeKind kind) {
  return Status::Unsupported("unknown code kind " + std::to_string(static_cast<int>(kind)));
}

}  // namespace

void VectorStatistics::Add(const float* vector, size_t dims) {
  max_magnitude = std::max(max_magnitude, LargestMagnitude(vector, dims));
}

void VectorStatistics::Merge(const VectorStatistics& other) {
  max_magnitude = std::max(max_magnitude, other.max_magnitude);
}

void Codec::CodeDistancesOf(const std::byte* from, const std::byte* codes, std::span<const uint32_t> nodes,
                            float* out) const {
  Gather(codes, stride(), nodes, out, [&](const std::byte* code) { return CodeDistance(from, code); });
}

bool Codec::AnyCloserThan(float distance, const std::byte* from, const std::byte* codes,
                          std::span<const uint32_t> nodes) const {
  return std::any_of(nodes.begin(), nodes.end(),
                     [&](uint32_t node) { return CodeDistance(from, codes + node * stride()) < distance; });
}

void QueryScorer::AddExtremes(const std::byte*, std::span<const uint32_t>, const float*,
                              CodeExtremes*) const {}

double QueryScorer::BoundBeyond(float, const CodeExtremes&) const {
  return -std::numeric_limits<double>::infinity();
}

Result<std::unique_ptr<Codec>> Codec::Train(CodeKind kind, Metric metric, uint32_t dims,
                                            const VectorStatistics& statistics,
                                            std::span<const float> sample) {
  VECCKPT_RETURN_IF_ERROR(CheckShape(metric, dims));
  if (!std::isfinite(statistics.max_magnitude)) {
    return Status::InvalidArgument("vectors for a codec have values that are not finite");
  }
  switch (kind) {
    case CodeKind::kNone:
      return NoneCodec::Train(metric, dims, statistics);
    case CodeKind::kSq8:
      return Sq8Codec::Train(metric, dims, statistics, sample);
    case CodeKind::kSq4:
      return Sq4Codec::Train(metric, dims, statistics, sample);
  }
  return UnknownKind(kind);
}

Result<std::unique_ptr<Codec>> Codec::Load(CodeKind kind, Metric metric, uint32_t dims, Bytes parameters) {
  VECCKPT_RETURN_IF_ERROR(CheckShape(metric, dims));
  switch (kind) {
    case CodeKind::kNone:
      return NoneCodec::Load(metric, dims, parameters);
    case CodeKind::kSq8:
      return Sq8Codec::Load(metric, dims, parameters);
    case CodeKind::kSq4:
      return Sq4Codec::Load(metric, dims, parameters);
  }
  return UnknownKind(kind);
}

CodeKind Codec::KindFor(CodeKind wanted, Metric metric, uint32_t dims) {
  return ScalarCodecServes(metric, dims) ? wanted : CodeKind::kNone;
}

size_t Codec::Stride(CodeKind kind, uint32_t dims) {
  switch (kind) {
    case CodeKind::kNone:
      break;
    case CodeKind::kSq8:
      return Sq8Codec::Stride(dims);
    case CodeKind::kSq4:
      return Sq4Codec::Stride(dims);
  }
  return NoneCodec::Stride(dims);
}

}  // namespace vecckpt
