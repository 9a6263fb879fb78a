// Scores codes of a ScalarCodec against a query (scalar_codec.hpp, whose .cpp alone includes this).
//
// Distances use the stored norm of y, not that of what the levels say, which makes them estimates without a
// bias. How far they may be off is for the code kind to say: ErrorShare and LeastDistance of its levels.

#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "hnsw/codec_scale.hpp"
#include "hnsw/gather.hpp"
#include "hnsw/scalar_codec.hpp"

namespace vecckpt {

constexpr double kMaxQueryByte = 127;

// A float result's own rounding, twice over.
constexpr double kFloatError = 0x1p-23;
// What a float may lose below its smallest magnitude.
constexpr double kFloatUnderflow = 0x1p-148;
// The sums of a distance in double; more than kExactError because terms may be larger than their sum.
constexpr double kSumError = 0x1p-34;

inline double Square(double value) {
  return value * value;
}
// 0 for NaN too, which only a corrupt code brings.
inline double AtLeastZero(double value) {
  return std::max(0.0, value);
}

inline float WithoutNaN(double distance) {
  // Only a corrupt code makes it NaN, and heaps need an order.
  return std::isnan(distance) ? std::numeric_limits<float>::infinity() : static_cast<float>(distance);
}

// A query as signed bytes, each standing for `step` times itself. What they miss can be made bytes again,
// which is done for the lower bounds of single codes: then the query's own error is as good as none.
struct QueryBytes {
  std::vector<int8_t> bytes;
  double step = 0;
  double sum = 0;          // of the bytes, times step
  double norm = 0;         // of what is represented, rounded up
  double error = 0;        // the norm of the difference, rounded up
  double square = 0;       // of what is represented
  double byte_square = 0;  // of what the bytes say

  // `doubt`: how far, in norm, `values` may be from the true ones. `fitted`: the step is fitted to all
  // values, so that the difference is orthogonal to what is represented.
  QueryBytes(const std::vector<double>& values, double doubt, bool fitted) : bytes(values.size()) {
    double largest = 0;
    for (const double value : values) largest = std::max(largest, std::fabs(value));
    step = largest / kMaxQueryByte;
    double squared_error = 0, product = 0;
    int64_t total = 0, squares = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const int byte = step > 0 ? static_cast<int>(std::lrint(values[i] / step)) : 0;
      bytes[i] = static_cast<int8_t>(byte);
      total += byte;
      squares += byte * byte;
      product += values[i] * byte;
      square += Square(values[i]);
    }
    if (fitted && squares > 0) step = product / static_cast<double>(squares);
    for (size_t i = 0; i < values.size(); ++i) squared_error += Square(values[i] - step * bytes[i]);
    sum = step * static_cast<double>(total);
    byte_square = step * step * static_cast<double>(squares);
    norm = std::sqrt(square) * (1 + kExactError) + doubt;
    error = std::sqrt(squared_error) * (1 + kExactError) + doubt + kExactError * std::sqrt(square);
  }

  // What the bytes miss of the values they were made from.
  std::vector<double> Missed(std::vector<double> values) const {
    for (size_t i = 0; i < values.size(); ++i) values[i] -= step * bytes[i];
    return values;
  }
};

template <typename Levels>
class ScalarScorer : public QueryScorer {
 public:
  ScalarScorer(const typename Levels::Kernels& kernels, size_t stride, const std::vector<double>& query,
               double doubt)
      : dot_(kernels.dot_with_signed),
        stride_(stride),
        query_(query, doubt, Levels::kFitted),
        missed_(query_.Missed(query), doubt, Levels::kFitted),
        error_share_(Levels::ErrorShare(query.size())) {}

  void AddExtremes(const std::byte* codes, std::span<const uint32_t> nodes, const float* distances,
                   CodeExtremes* extremes) const override {
    bool finite = true;
    for (size_t i = 0; i < nodes.size(); ++i) {
      const ScalarTrailer& trailer = TrailerOf(codes + nodes[i] * stride_);
      // Of finite floats this sum is finite, of others not.
      finite &= std::isfinite(double{trailer.error} + trailer.residue + trailer.norm + distances[i]);
      CodeExtremes::Raise(&extremes->error, trailer.error);
      CodeExtremes::Raise(&extremes->residue, trailer.residue);
      CodeExtremes::Raise(&extremes->norm, trailer.norm);
    }
    extremes->unbounded |= !finite;
  }

  // Bounds grow with the distance, and fall with each of the three. (Roundings apart, for which the bounds of
  // all codes have more than enough room.)
  double BoundBeyond(float distance, const CodeExtremes& extremes) const override {
    constexpr double kNone = -std::numeric_limits<double>::infinity();
    if (extremes.unbounded) return kNone;
    ScalarTrailer worst{};
    worst.error = extremes.error;
    worst.residue = extremes.residue;
    worst.norm = extremes.norm;
    const double bound = Bound(distance, worst);
    return std::isnan(bound) ? kNone : bound;
  }

 protected:
  // LowerBound of any code that ends with this trailer.
  virtual double Bound(float distance, const ScalarTrailer& trailer) const = 0;

  const ScalarTrailer& TrailerOf(const std::byte* code) const {
    return *reinterpret_cast<const ScalarTrailer*>(code + stride_ - sizeof(ScalarTrailer));
  }
  // The inner product of what the bytes of the query and the levels of the code say.
  double Product(const std::byte* code, const ScalarTrailer& trailer) const {
    return ProductWith(query_, code, trailer);
  }
  // The same, both parts of the query taken together.
  double RefinedProduct(const std::byte* code, const ScalarTrailer& trailer) const {
    return ProductWith(query_, code, trailer) + ProductWith(missed_, code, trailer);
  }
  double ProductWith(const QueryBytes& query, const std::byte* code, const ScalarTrailer& trailer) const {
    const int32_t dot = dot_(reinterpret_cast<const uint8_t*>(code), query.bytes.data(), query.bytes.size());
    return trailer.step * query.step * dot + trailer.offset * query.sum;
  }

  int32_t (*dot_)(const uint8_t*, const int8_t*, size_t);
  size_t stride_;
  QueryBytes query_;
  QueryBytes missed_;
  double error_share_;
};

// L2 and cosine. Under cosine half the squared distance of unit vectors stands for the distance. A query so
// large that its square would drown or overflow everything leaves it out of the float distance, and scales.
template <typename Levels>
class EuclideanScorer final : public ScalarScorer<Levels> {
 public:
  EuclideanScorer(const typename Levels::Kernels& kernels, size_t stride, const std::vector<double>& query,
                  double doubt, Metric metric, int exponent)
      : ScalarScorer<Levels>(kernels, stride, query, doubt), cosine_(metric == Metric::kCosine) {
    // No vector in the frame is longer than this.
    constexpr double kLongest = 0x1p59;
    factor_ = cosine_ ? 0.5 : 1;
    if (query_.square > Square(kLongest)) {
      left_out_ = query_.square;
      factor_ = std::ldexp(1.0, std::min(0, 120 - std::ilogb(query_.norm * kLongest)));
    }
    added_ = query_.square - left_out_;
    for (size_t i = 0; i < query.size(); ++i) {
      refined_square_ += Square(query_.step * query_.bytes[i] + missed_.step * missed_.bytes[i]);
    }
    back_ = 1 / factor_;
    exact_scale_ = std::ldexp(cosine_ ? 0.5 : 1.0, 2 * exponent) * (1 - kExactError);
  }

  float Distance(const std::byte* code) const override {
    const ScalarTrailer& trailer = this->TrailerOf(code);
    return WithoutNaN((added_ + trailer.norm - 2 * this->Product(code, trailer)) * factor_);
  }

  void Distances(const std::byte* codes, size_t count, float* out) const override {
    for (size_t i = 0; i < count; ++i) out[i] = EuclideanScorer::Distance(codes + i * stride_);
  }

  void DistancesOf(const std::byte* codes, std::span<const uint32_t> nodes, float* out,
                   const FetchBelow& below) const override {
    Gather(
        codes, stride_, nodes, out, [this](const std::byte* code) { return EuclideanScorer::Distance(code); },
        below);
  }

  double Bound(float distance, const ScalarTrailer& trailer) const override {
    const double estimate = distance * back_;
    const double residue = trailer.residue;
    const double doubt = kFloatError * (std::fabs(estimate) + std::fabs(residue)) + kFloatUnderflow * back_ +
                         kSumError * (query_.square + trailer.norm);
    const double levels_apart = estimate + left_out_ - (query_.square - query_.byte_square) - residue - doubt;
    return BoundOf(levels_apart, trailer, query_.error);
  }

  double LowerBound(float, const std::byte* code) const override {
    const ScalarTrailer& trailer = this->TrailerOf(code);
    // The squared norm of what the levels say; both floats are rounded.
    const double level_square = double{trailer.norm} - trailer.residue;
    const double doubt = kFloatError * (std::fabs(trailer.norm) + std::fabs(trailer.residue)) +
                         kFloatUnderflow + kSumError * (query_.square + trailer.norm);
    const double levels_apart =
        refined_square_ + level_square - 2 * this->RefinedProduct(code, trailer) - doubt;
    return BoundOf(levels_apart, trailer, missed_.error);
  }

 private:
  using ScalarScorer<Levels>::stride_;
  using ScalarScorer<Levels>::query_;
  using ScalarScorer<Levels>::missed_;
  using ScalarScorer<Levels>::error_share_;

  // `levels_apart`: the squared distance of what the query's bytes and the levels say, at least.
  double BoundOf(double levels_apart, const ScalarTrailer& trailer, double query_error) const {
    const double apart = AtLeastZero(
        Levels::LeastDistance(AtLeastZero(levels_apart), trailer.error, query_error, error_share_));
    const double bound = Square(apart) * exact_scale_;
    return cosine_ ? AtLeastZero(bound - kExactError) : bound;
  }

  bool cosine_;
  double left_out_ = 0;        // of the query's square
  double refined_square_ = 0;  // of what both parts of the query say
  double added_;               // the rest of it
  double factor_;              // a power of two
  double back_;
  double exact_scale_;  // from the frame to exact distances
};

// The query keeps a scale of its own, which brings its largest magnitude into [0.5, 1).
template <typename Levels>
class ProductScorer final : public ScalarScorer<Levels> {
 public:
  ProductScorer(const typename Levels::Kernels& kernels, size_t stride, const std::vector<double>& query,
                int exponent, const std::vector<float>& mean, double mean_norm)
      : ScalarScorer<Levels>(kernels, stride, query, 0),
        mean_norm_(mean_norm),
        exact_scale_(std::ldexp(1.0, exponent)) {
    for (size_t i = 0; i < mean.size(); ++i) with_mean_ += query[i] * mean[i];
  }

  float Distance(const std::byte* code) const override {
    return WithoutNaN(-(this->Product(code, this->TrailerOf(code)) + with_mean_));
  }

  void Distances(const std::byte* codes, size_t count, float* out) const override {
    for (size_t i = 0; i < count; ++i) out[i] = ProductScorer::Distance(codes + i * stride_);
  }

  void DistancesOf(const std::byte* codes, std::span<const uint32_t> nodes, float* out,
                   const FetchBelow& below) const override {
    Gather(
        codes, stride_, nodes, out, [this](const std::byte* code) { return ProductScorer::Distance(code); },
        below);
  }

  // What fitted codes allow for does not fall with each part of a trailer: no common bound.
  double BoundBeyond(float distance, const CodeExtremes& extremes) const override {
    if (Levels::kFitted) return -std::numeric_limits<double>::infinity();
    return ScalarScorer<Levels>::BoundBeyond(distance, extremes);
  }

  double Bound(float distance, const ScalarTrailer& trailer) const override {
    return BoundOf(distance, kFloatError * std::fabs(distance) + kFloatUnderflow, trailer, query_.error);
  }

  double LowerBound(float, const std::byte* code) const override {
    const ScalarTrailer& trailer = this->TrailerOf(code);
    return BoundOf(-(this->RefinedProduct(code, trailer) + with_mean_), 0, trailer, missed_.error);
  }

 private:
  // `estimate` is off by `rounding` and what the bytes of query and code miss.
  double BoundOf(double estimate, double rounding, const ScalarTrailer& trailer, double query_error) const {
    const double off =
        Levels::ProductError(trailer.error, trailer.residue, query_error, query_.norm, error_share_);
    const double length = trailer.residue + trailer.error + mean_norm_;
    const double doubt = rounding + kSumError * query_.norm * length;
    const double bound = (estimate - off - doubt) * exact_scale_;
    return std::isnan(bound) ? -std::numeric_limits<double>::infinity() : bound;
  }

  using ScalarScorer<Levels>::stride_;
  using ScalarScorer<Levels>::query_;
  using ScalarScorer<Levels>::missed_;
  using ScalarScorer<Levels>::error_share_;

  double mean_norm_;
  double exact_scale_;
  double with_mean_ = 0;  // the query's product with the mean
};

}  // namespace vecckpt
