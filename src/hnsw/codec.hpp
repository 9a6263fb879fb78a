// Codecs: how a segment keeps vectors for search.
//
// A Codec turns a float32 vector into a code of fixed stride (a multiple of 64 bytes, 64-byte aligned in a
// segment, padding zero) and compares codes. Its parameters are chosen once per segment from statistics of
// the vectors (`Train`), stored in the `codec` section, and read back with `Load`.
//
// Code kinds `sq8` and `sq4`: 8 or 4 bits a dimension of the vector minus the segment's mean
// (scalar_codec.hpp).
//
// Code kind `none`: the code is the vector as float32, multiplied by 2^-exponent; the exponent is 0 unless
// the largest magnitude would let a float32 sum overflow, or let all of it underflow. Negative zero becomes
// zero, so that equal vectors have equal codes. Under cosine the vector is divided by its norm first (in
// double).
//
// Thread safety: a Codec and a QueryScorer are immutable and may be shared by threads.

#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.hpp"
#include "base/status.hpp"
#include "hnsw/gather.hpp"
#include "hnsw/types.hpp"

namespace vecckpt {

// How many vectors Train takes a mean from.
constexpr size_t kTrainingSample = 256;

// What Train wants to know of the vectors a segment will hold.
struct VectorStatistics {
  float max_magnitude = 0;  // the largest |x_i| of any vector
  void Add(const float* vector, size_t dims);
  void Merge(const VectorStatistics& other);
};

// What of some codes is the worst for their lower bounds. What `error`, `residue` and `norm` are is the
// codec's.
struct CodeExtremes {
  float error = 0;
  float residue = std::numeric_limits<float>::lowest();
  float norm = std::numeric_limits<float>::lowest();
  bool unbounded = false;  // a distance or a part of a code was not finite

  // REQUIRES: `value` is finite, or the result is not looked at.
  static void Raise(float* extreme, float value) { *extreme = value > *extreme ? value : *extreme; }
};

// Scores codes against one query. Holds what is computed once a query.
class QueryScorer {
 public:
  virtual ~QueryScorer() = default;
  // An approximate search distance (see exact.hpp). Comparable within one scorer only; never NaN.
  virtual float Distance(const std::byte* code) const = 0;
  // `count` consecutive codes.
  virtual void Distances(const std::byte* codes, size_t count, float* out) const = 0;
  // The codes number nodes[0], nodes[1], ... of those that begin at `codes`, fetched ahead of their turn.
  // REQUIRES: `out` has room for all.
  virtual void DistancesOf(const std::byte* codes, std::span<const uint32_t> nodes, float* out,
                           const FetchBelow& below) const = 0;
  // A number that the exact search distance of the code's vector, on its own scale, is never below; under sq4
  // nearly never. `distance` is what Distance gave for the code. Never NaN.
  virtual double LowerBound(float distance, const std::byte* code) const = 0;

  // Lower bounds of many codes at once, which need not be looked at again. AddExtremes notes codes as in
  // DistancesOf, with what that gave for them; BoundBeyond is a lower bound (as LowerBound's) for every code
  // noted whose distance is `distance` or more. Minus infinity if there is no such bound, as in this class.
  virtual void AddExtremes(const std::byte* codes, std::span<const uint32_t> nodes, const float* distances,
                           CodeExtremes* extremes) const;
  virtual double BoundBeyond(float distance, const CodeExtremes& extremes) const;
};

class Codec {
 public:
  // The codec whose parameters suit vectors of these statistics, of which `sample` holds some, one behind the
  // other: kTrainingSample of them are as good as all. Without a sample it works too, but less exactly.
  static Result<std::unique_ptr<Codec>> Train(CodeKind kind, Metric metric, uint32_t dims,
                                              const VectorStatistics& statistics,
                                              std::span<const float> sample = {});
  // The codec with the given stored parameters; kCorruption if they are not what Train writes.
  static Result<std::unique_ptr<Codec>> Load(CodeKind kind, Metric metric, uint32_t dims, Bytes parameters);

  // The code kind for an index that wants `wanted`: kNone where no other kind serves, which is L1 and up to 8
  // dimensions.
  static CodeKind KindFor(CodeKind wanted, Metric metric, uint32_t dims);
  // stride() of a codec of this kind.
  static size_t Stride(CodeKind kind, uint32_t dims);

  virtual ~Codec() = default;
  virtual CodeKind kind() const = 0;
  virtual Metric metric() const = 0;
  virtual uint32_t dims() const = 0;
  virtual size_t stride() const = 0;
  virtual std::vector<std::byte> Parameters() const = 0;
  // True if both give the same code for every vector: then codes may be copied between their segments.
  virtual bool SameAs(const Codec& other) const = 0;
  // True if a vector of these statistics can be encoded.
  virtual bool Holds(const VectorStatistics& statistics) const = 0;
  virtual VectorStatistics StatisticsOf(const std::byte* code) const = 0;

  // REQUIRES: the vector is finite, non-zero under cosine, and Holds its statistics; `code` has stride()
  // bytes.
  virtual void Encode(const float* vector, std::byte* code) const = 0;
  // The vector that a code stands for, nearly; under cosine of length 1.
  virtual void Decode(const std::byte* code, float* vector) const = 0;
  // How far the code's vector (under cosine: scaled to length 1) may lie from the one that was encoded, on
  // the vectors' scale; 0 for rounding alone.
  virtual double CodeError(const std::byte* code) const = 0;
  // A code of `other` (same kind, metric, dims) as a code of this codec. Lower bounds stay valid for the
  // vector that was encoded first, so that they widen each time.
  virtual void Transcode(const Codec& other, const std::byte* from, std::byte* to) const = 0;
  // Distance of two codes, for graph building. Symmetric, never NaN.
  virtual float CodeDistance(const std::byte* a, const std::byte* b) const = 0;
  // The next two may be overridden for speed. out[i] = CodeDistance(from, the code number nodes[i] of those
  // that begin at `codes`).
  virtual void CodeDistancesOf(const std::byte* from, const std::byte* codes, std::span<const uint32_t> nodes,
                               float* out) const;
  // True if one of those is nearer to `from` than `distance`.
  virtual bool AnyCloserThan(float distance, const std::byte* from, const std::byte* codes,
                             std::span<const uint32_t> nodes) const;

  // REQUIRES: `query` is finite, and non-zero under cosine.
  virtual std::unique_ptr<QueryScorer> Prepare(const float* query) const = 0;
};

}  // namespace vecckpt
