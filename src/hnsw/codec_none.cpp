// See codec_none.hpp. How the lower bounds are derived:
//
// Let q and x be the query and a vector, scaled, and q', x' what their codes hold. A float kernel's sum is
// within `roundings_` * 2^-24 of the sum over q' and x' (FloatRoundings), plus 2^-149 a term where products
// underflow. A component of x' is off by at most kComponentError in original units: scaling by a power of two
// is exact unless a value falls below 2^-126, and as no exponent exceeds 78, the roundings at 2^(exponent -
// 150) of a code that was scaled again and again sum to less. Under cosine, normalisation moves a unit vector
// by 2^-24 and a hair. ExactDistance itself is within kExactError of the truth, relative to its terms.

#include "hnsw/codec_none.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "hnsw/codec_scale.hpp"
#include "hnsw/exact.hpp"
#include "hnsw/gather.hpp"
#include "hnsw/kernels.hpp"

namespace vecckpt {

namespace {

constexpr double kComponentError = 0x1p-71;
constexpr double kUnitVectorError = 1.01 * 0x1p-24;

const float* Values(const std::byte* code) {
  return reinterpret_cast<const float*>(code);
}

float MaxMagnitude(const float* values, size_t count) {
  VectorStatistics statistics;
  statistics.Add(values, count);
  return statistics.max_magnitude;
}

// values * 2^-exponent; adding 0 turns -0 into 0.
void Scale(const float* values, size_t count, int exponent, float* out) {
  const double factor = std::ldexp(1.0, -exponent);
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<float>(values[i] * factor) + 0.0f;
}

void Normalize(const float* values, size_t count, float* out) {
  const double norm = std::sqrt(SquaredNorm(values, count));
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<float>(values[i] / norm) + 0.0f;
}

float Compare(Metric metric, const float* a, const float* b, size_t length) {
  float distance = 0;
  switch (metric) {
    case Metric::kL2:
      distance = FloatSumOfSquaredDifferences(a, b, length);
      break;
    case Metric::kInnerProduct:
      distance = 0.0f - FloatSumOfProducts(a, b, length);
      break;
    case Metric::kCosine:
      distance = 0.5f * FloatSumOfSquaredDifferences(a, b, length);
      break;
    case Metric::kL1:
      distance = FloatSumOfAbsoluteDifferences(a, b, length);
      break;
  }
  // Only a corrupt code makes it NaN, and heaps need an order.
  return std::isnan(distance) ? std::numeric_limits<float>::infinity() : distance;
}

double Square(double value) {
  return value * value;
}
double AtLeastZero(double value) {
  return std::max(value, 0.0);
}

// Scores codes with the float kernels. Distances are on the codes' scale; under inner product the query has
// a scale of its own, which brings its largest magnitude into [0.5, 1).
class FloatScorer final : public QueryScorer {
 public:
  FloatScorer(Metric metric, uint32_t dims, size_t stride, int exponent, const float* query)
      : metric_(metric), dims_(dims), exponent_(exponent), query_(stride / sizeof(float)) {
    const double roundings = static_cast<double>(FloatRoundings(query_.size()));
    relative_error_ = roundings * 1.01 * 0x1p-24 + kExactError;
    component_error_ = std::ldexp(kComponentError, -exponent);
    underflow_ = static_cast<double>(query_.size()) * 0x1p-147;
    if (metric == Metric::kCosine) {
      Normalize(query, dims, query_.data());
      return;
    }
    if (metric == Metric::kInnerProduct) {
      const float magnitude = MaxMagnitude(query, dims);
      query_exponent_ = magnitude == 0 ? 0 : std::ilogb(magnitude) + 1;
      Scale(query, dims, query_exponent_, query_.data());
    } else {
      Scale(query, dims, exponent, query_.data());
    }
    for (const float value : query_) query_l1_norm_ += std::fabs(value);
  }

  float Distance(const std::byte* code) const override {
    return Compare(metric_, query_.data(), Values(code), query_.size());
  }

  void Distances(const std::byte* codes, size_t count, float* out) const override {
    for (size_t i = 0; i < count; ++i) out[i] = Distance(codes + i * query_.size() * sizeof(float));
  }

  void DistancesOf(const std::byte* codes, std::span<const uint32_t> nodes, float* out,
                   const FetchBelow& below) const override {
    Gather(
        codes, query_.size() * sizeof(float), nodes, out,
        [this](const std::byte* code) { return FloatScorer::Distance(code); }, below);
  }

  double LowerBound(float distance, const std::byte* code) const override {
    if (!std::isfinite(distance)) return -std::numeric_limits<double>::infinity();
    switch (metric_) {
      case Metric::kL2: {
        const double moved = 2 * std::sqrt(static_cast<double>(dims_)) * component_error_;
        const double scaled = Square(AtLeastZero(CodesApart(distance) - moved));
        return std::ldexp(scaled, 2 * exponent_) * (1 - kExactError);
      }
      case Metric::kCosine: {
        const double apart = AtLeastZero(CodesApart(2.0 * distance) - 2 * kUnitVectorError);
        return AtLeastZero(0.5 * Square(apart) * (1 - kExactError) - kExactError);
      }
      case Metric::kL1: {
        const double moved = 2.0 * dims_ * component_error_;
        const double scaled = AtLeastZero(distance * (1 - relative_error_) - moved);
        return std::ldexp(scaled, exponent_) * (1 - kExactError);
      }
      case Metric::kInnerProduct:
        break;
    }
    return InnerProductBound(distance, code);
  }

  void AddExtremes(const std::byte*, std::span<const uint32_t> nodes, const float* distances,
                   CodeExtremes* extremes) const override {
    for (size_t i = 0; i < nodes.size(); ++i) extremes->unbounded |= !std::isfinite(distances[i]);
  }

  // But for inner product a bound does not depend on the code, and grows with the distance.
  double BoundBeyond(float distance, const CodeExtremes& extremes) const override {
    if (extremes.unbounded || metric_ == Metric::kInnerProduct) {
      return -std::numeric_limits<double>::infinity();
    }
    return FloatScorer::LowerBound(distance, nullptr);
  }

 private:
  // At most the Euclidean distance of the two codes whose kernel result is `squared`.
  double CodesApart(double squared) const {
    return std::sqrt(AtLeastZero(squared * (1 - relative_error_) - underflow_));
  }

  double InnerProductBound(float distance, const std::byte* code) const {
    const double terms = FloatSumOfAbsoluteProducts(query_.data(), Values(code), query_.size());
    const double rounded = relative_error_ * (terms * (1 + relative_error_) + underflow_) + underflow_;
    // A component of the query is off by 2^-150 at most, one of a code is below 2^50.
    const double moved = component_error_ * query_l1_norm_ + dims_ * 0x1p-98;
    return std::ldexp(distance - rounded - moved, exponent_ + query_exponent_);
  }

  Metric metric_;
  uint32_t dims_;
  int exponent_;
  int query_exponent_ = 0;  // inner product only
  std::vector<float> query_;
  double query_l1_norm_ = 0;
  double relative_error_;
  double component_error_;  // on the codes' scale
  double underflow_;
};

// Scores codes against a query that is too large for the codes' scale, under L2 or L1: in double, and leaving
// out what is the same for all codes (the query's own square or magnitude), which would drown the rest.
class WideScorer final : public QueryScorer {
 public:
  WideScorer(Metric metric, uint32_t dims, size_t stride, int exponent, const float* query)
      : metric_(metric), stride_(stride), exponent_(exponent), query_(dims) {
    double largest = 0;
    for (uint32_t i = 0; i < dims; ++i) {
      query_[i] = std::ldexp(static_cast<double>(query[i]), -exponent);
      largest = std::max(largest, std::fabs(query_[i]));
      constant_ += metric == Metric::kL2 ? Square(query_[i]) : std::fabs(query_[i]);
    }
    if (metric == Metric::kL2) {
      const double most =
          dims * std::ldexp(std::ldexp(1.0, kMaxMagnitudeLog2) + 2 * largest, kMaxMagnitudeLog2);
      result_exponent_ = std::max(0, std::ilogb(most) + 1 - 120);
    }
  }

  float Distance(const std::byte* code) const override {
    const float* values = Values(code);
    double sum = 0;
    if (metric_ == Metric::kL2) {
      for (size_t i = 0; i < query_.size(); ++i) sum += values[i] * (values[i] - 2 * query_[i]);
    } else {
      // |q - x| - |q|, without the loss of computing |q - x|.
      for (size_t i = 0; i < query_.size(); ++i) {
        const double along = std::copysign(1.0, query_[i]) * values[i];
        sum += std::max(-along, along - 2 * std::fabs(query_[i]));
      }
    }
    const float distance = static_cast<float>(std::ldexp(sum, -result_exponent_));
    return std::isnan(distance) ? std::numeric_limits<float>::infinity() : distance;
  }

  void Distances(const std::byte* codes, size_t count, float* out) const override {
    for (size_t i = 0; i < count; ++i) out[i] = Distance(codes + i * stride_);
  }

  void DistancesOf(const std::byte* codes, std::span<const uint32_t> nodes, float* out,
                   const FetchBelow& below) const override {
    Gather(
        codes, stride_, nodes, out, [this](const std::byte* code) { return WideScorer::Distance(code); },
        below);
  }

  double LowerBound(float distance, const std::byte*) const override {
    if (!std::isfinite(distance)) return -std::numeric_limits<double>::infinity();
    const double dims = static_cast<double>(query_.size());
    const double component_error = std::ldexp(kComponentError, -exponent_);
    // What the float result may have lost. Every component of a code is below the query's largest, so that
    // the terms' magnitudes sum to less than 4 dims times the constant.
    const double sum = std::ldexp(static_cast<double>(distance), result_exponent_);
    const double rounded = std::fabs(sum) * 0x1p-23 + std::ldexp(1.0, result_exponent_ - 148) +
                           (dims + 8) * 0x1p-53 * (4 * dims + 4) * constant_;
    const double scaled = AtLeastZero(constant_ + sum - rounded);
    if (metric_ == Metric::kL1) {
      return std::ldexp(AtLeastZero(scaled - dims * component_error), exponent_) * (1 - kExactError);
    }
    const double apart = AtLeastZero(std::sqrt(scaled) - std::sqrt(dims) * component_error);
    return std::ldexp(Square(apart), 2 * exponent_) * (1 - kExactError);
  }

 private:
  Metric metric_;
  size_t stride_;
  int exponent_;
  int result_exponent_ = 0;  // Distance is the sum * 2^-this
  std::vector<double> query_;
  double constant_ = 0;
};

}  // namespace

NoneCodec::NoneCodec(Metric metric, uint32_t dims, int32_t exponent)
    : metric_(metric), dims_(dims), exponent_(exponent), stride_(Stride(dims)) {}

Result<std::unique_ptr<Codec>> NoneCodec::Train(Metric metric, uint32_t dims,
                                                const VectorStatistics& statistics) {
  const int32_t exponent = ChooseExponent(metric, statistics.max_magnitude);
  return std::unique_ptr<Codec>(new NoneCodec(metric, dims, exponent));
}

Result<std::unique_ptr<Codec>> NoneCodec::Load(Metric metric, uint32_t dims, Bytes parameters) {
  int32_t exponent = 0;
  if (parameters.size() != sizeof(exponent)) {
    return Status::Corruption("codec parameters have " + std::to_string(parameters.size()) + " bytes");
  }
  std::memcpy(&exponent, parameters.data(), sizeof(exponent));
  if (!IsChoosableExponent(metric, exponent)) {
    return Status::Corruption("codec parameters have exponent " + std::to_string(exponent));
  }
  return std::unique_ptr<Codec>(new NoneCodec(metric, dims, exponent));
}

size_t NoneCodec::Stride(uint32_t dims) {
  return AlignUp(dims * sizeof(float), 64);
}

std::vector<std::byte> NoneCodec::Parameters() const {
  const Bytes bytes = AsBytes(exponent_);
  return {bytes.begin(), bytes.end()};
}

bool NoneCodec::SameAs(const Codec& other) const {
  return other.kind() == kind() && other.metric() == metric_ && other.dims() == dims_ &&
         static_cast<const NoneCodec&>(other).exponent_ == exponent_;
}

bool NoneCodec::Holds(const VectorStatistics& statistics) const {
  return metric_ == Metric::kCosine || FitsScale(statistics.max_magnitude, exponent_);
}

VectorStatistics NoneCodec::StatisticsOf(const std::byte* code) const {
  return {std::ldexp(MaxMagnitude(Values(code), dims_), exponent_)};
}

void NoneCodec::Encode(const float* vector, std::byte* code) const {
  std::memset(code, 0, stride_);
  float* values = reinterpret_cast<float*>(code);
  if (metric_ == Metric::kCosine) {
    Normalize(vector, dims_, values);
  } else {
    Scale(vector, dims_, exponent_, values);
  }
}

void NoneCodec::Decode(const std::byte* code, float* vector) const {
  Scale(Values(code), dims_, -exponent_, vector);
}

void NoneCodec::Transcode(const Codec& other, const std::byte* from, std::byte* to) const {
  std::memset(to, 0, stride_);
  const int32_t other_exponent = static_cast<const NoneCodec&>(other).exponent_;
  Scale(Values(from), dims_, exponent_ - other_exponent, reinterpret_cast<float*>(to));
}

float NoneCodec::CodeDistance(const std::byte* a, const std::byte* b) const {
  return Compare(metric_, Values(a), Values(b), stride_ / sizeof(float));
}

std::unique_ptr<QueryScorer> NoneCodec::Prepare(const float* query) const {
  const bool scaled_with_codes = metric_ == Metric::kL2 || metric_ == Metric::kL1;
  if (scaled_with_codes && !FitsScale(MaxMagnitude(query, dims_), exponent_)) {
    return std::make_unique<WideScorer>(metric_, dims_, stride_, exponent_, query);
  }
  return std::make_unique<FloatScorer>(metric_, dims_, stride_, exponent_, query);
}

}  // namespace vecckpt
