// See codec_sq8.hpp. How the lower bounds are derived:
//
// Let q' and y be the query and a vector in the frame of the codes, q^ and y^ what their bytes say, e_q and
// e_y the norms of the differences, which are known (the stored one is rounded up, and grows when a code is
// transcoded). Under L2 and cosine the triangle inequality gives |q' - y| >= |q^ - y^| - e_q - e_y. Its
// square is tighter near the query than the squared estimate minus 2 (e_y |q'| + |y^| e_q), and does not
// depend on the stored norm of y. Under inner product |q y - q^ y^| <= e_y |q| + |y^| e_q.
//
// Distances themselves use the norm of y, not of y^, which makes them estimates without a bias.

#include "hnsw/codec_sq8.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "hnsw/codec_scale.hpp"
#include "hnsw/exact.hpp"
#include "hnsw/gather.hpp"

namespace vecckpt {

namespace {

constexpr uint32_t kMinDims = 9;
constexpr double kMaxByte = 255;
constexpr double kMaxQueryByte = 127;

// A float result's own rounding, twice over.
constexpr double kFloatError = 0x1p-23;
// What a float may lose below its smallest magnitude.
constexpr double kFloatUnderflow = 0x1p-148;
// The sums of a distance in double; more than kExactError because terms may be larger than their sum.
constexpr double kSumError = 0x1p-34;

double Square(double value) {
  return value * value;
}
double AtLeastZero(double value) {
  return std::max(value, 0.0);
}

// The least float that is not below a non-negative value.
float RoundUp(double value) {
  if (value > FLT_MAX) return std::numeric_limits<float>::infinity();
  const float rounded = static_cast<float>(value);
  return rounded < value ? std::nextafterf(rounded, FLT_MAX) : rounded;
}

float WithoutNaN(double distance) {
  // Only a corrupt code makes it NaN, and heaps need an order.
  return std::isnan(distance) ? std::numeric_limits<float>::infinity() : static_cast<float>(distance);
}

// What scales a vector to the frame of the codes, before the mean is subtracted.
double ScaleOf(Metric metric, int exponent, const float* vector, size_t dims) {
  return metric == Metric::kCosine ? 1 / std::sqrt(SquaredNorm(vector, dims)) : std::ldexp(1.0, -exponent);
}

// A query as signed bytes, each standing for `step` times itself.
struct QueryBytes {
  std::vector<int8_t> bytes;
  double step = 0;
  double sum = 0;          // of the bytes, times step
  double norm = 0;         // of what is represented, rounded up
  double error = 0;        // the norm of the difference, rounded up
  double square = 0;       // of what is represented
  double byte_square = 0;  // of what the bytes say

  // `doubt`: how far, in norm, `values` may be from the true ones.
  QueryBytes(const std::vector<double>& values, double doubt) : bytes(values.size()) {
    double largest = 0;
    for (const double value : values) largest = std::max(largest, std::fabs(value));
    step = largest / kMaxQueryByte;
    double squared_error = 0;
    int64_t total = 0, squares = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const int byte = step > 0 ? static_cast<int>(std::lrint(values[i] / step)) : 0;
      bytes[i] = static_cast<int8_t>(byte);
      total += byte;
      squares += byte * byte;
      squared_error += Square(values[i] - step * byte);
      square += Square(values[i]);
    }
    sum = step * static_cast<double>(total);
    byte_square = step * step * static_cast<double>(squares);
    norm = std::sqrt(square) * (1 + kExactError) + doubt;
    error = std::sqrt(squared_error) * (1 + kExactError) + doubt + kExactError * std::sqrt(square);
  }
};

class Sq8Scorer : public QueryScorer {
 public:
  Sq8Scorer(const ByteKernels& kernels, size_t stride, const std::vector<double>& query, double doubt)
      : dot_(kernels.dot_with_signed), stride_(stride), query_(query, doubt) {}

  double LowerBound(float distance, const std::byte* code) const override {
    return Bound(distance, TrailerOf(code));
  }

  void AddExtremes(const std::byte* codes, std::span<const uint32_t> nodes, const float* distances,
                   CodeExtremes* extremes) const override {
    bool finite = true;
    for (size_t i = 0; i < nodes.size(); ++i) {
      const Sq8Trailer& trailer = TrailerOf(codes + nodes[i] * stride_);
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
    Sq8Trailer worst{};
    worst.error = extremes.error;
    worst.residue = extremes.residue;
    worst.norm = extremes.norm;
    const double bound = Bound(distance, worst);
    return std::isnan(bound) ? kNone : bound;
  }

 protected:
  // LowerBound of a code that ends with this trailer.
  virtual double Bound(float distance, const Sq8Trailer& trailer) const = 0;

  const Sq8Trailer& TrailerOf(const std::byte* code) const {
    return *reinterpret_cast<const Sq8Trailer*>(code + stride_ - sizeof(Sq8Trailer));
  }
  // The inner product of what the bytes of query and code say.
  double Product(const std::byte* code, const Sq8Trailer& trailer) const {
    const int32_t dot =
        dot_(reinterpret_cast<const uint8_t*>(code), query_.bytes.data(), query_.bytes.size());
    return trailer.step * query_.step * dot + trailer.offset * query_.sum;
  }

  int32_t (*dot_)(const uint8_t*, const int8_t*, size_t);
  size_t stride_;
  QueryBytes query_;
};

// L2 and cosine. Under cosine half the squared distance of unit vectors stands for the distance. A query so
// large that its square would drown or overflow everything leaves it out of the float distance, and scales.
class EuclideanScorer final : public Sq8Scorer {
 public:
  EuclideanScorer(const ByteKernels& kernels, size_t stride, const std::vector<double>& query, double doubt,
                  Metric metric, int exponent)
      : Sq8Scorer(kernels, stride, query, doubt), cosine_(metric == Metric::kCosine) {
    // No vector in the frame is longer than this.
    constexpr double kLongest = 0x1p59;
    factor_ = cosine_ ? 0.5 : 1;
    if (query_.square > Square(kLongest)) {
      left_out_ = query_.square;
      factor_ = std::ldexp(1.0, std::min(0, 120 - std::ilogb(query_.norm * kLongest)));
    }
    added_ = query_.square - left_out_;
    back_ = 1 / factor_;
    exact_scale_ = std::ldexp(cosine_ ? 0.5 : 1.0, 2 * exponent) * (1 - kExactError);
  }

  float Distance(const std::byte* code) const override {
    const Sq8Trailer& trailer = TrailerOf(code);
    return WithoutNaN((added_ + trailer.norm - 2 * Product(code, trailer)) * factor_);
  }

  void Distances(const std::byte* codes, size_t count, float* out) const override {
    for (size_t i = 0; i < count; ++i) out[i] = EuclideanScorer::Distance(codes + i * stride_);
  }

  void DistancesOf(const std::byte* codes, std::span<const uint32_t> nodes, float* out) const override {
    Gather(codes, stride_, nodes, out,
           [this](const std::byte* code) { return EuclideanScorer::Distance(code); });
  }

  double Bound(float distance, const Sq8Trailer& trailer) const override {
    const double estimate = distance * back_;
    const double residue = trailer.residue;
    const double doubt = kFloatError * (std::fabs(estimate) + std::fabs(residue)) + kFloatUnderflow * back_ +
                         kSumError * (query_.square + trailer.norm);
    const double bytes_apart = estimate + left_out_ - (query_.square - query_.byte_square) - residue - doubt;
    const double apart = AtLeastZero(std::sqrt(AtLeastZero(bytes_apart)) - trailer.error - query_.error);
    const double bound = Square(apart) * exact_scale_;
    return cosine_ ? AtLeastZero(bound - kExactError) : bound;
  }

 private:
  bool cosine_;
  double left_out_ = 0;  // of the query's square
  double added_;         // the rest of it
  double factor_;        // a power of two
  double back_;
  double exact_scale_;  // from the frame to exact distances
};

// The query keeps a scale of its own, which brings its largest magnitude into [0.5, 1).
class ProductScorer final : public Sq8Scorer {
 public:
  ProductScorer(const ByteKernels& kernels, size_t stride, const std::vector<double>& query, int exponent,
                const std::vector<float>& mean, double mean_norm)
      : Sq8Scorer(kernels, stride, query, 0), mean_norm_(mean_norm), exact_scale_(std::ldexp(1.0, exponent)) {
    for (size_t i = 0; i < mean.size(); ++i) with_mean_ += query[i] * mean[i];
  }

  float Distance(const std::byte* code) const override {
    return WithoutNaN(-(Product(code, TrailerOf(code)) + with_mean_));
  }

  void Distances(const std::byte* codes, size_t count, float* out) const override {
    for (size_t i = 0; i < count; ++i) out[i] = ProductScorer::Distance(codes + i * stride_);
  }

  void DistancesOf(const std::byte* codes, std::span<const uint32_t> nodes, float* out) const override {
    Gather(codes, stride_, nodes, out,
           [this](const std::byte* code) { return ProductScorer::Distance(code); });
  }

  double Bound(float distance, const Sq8Trailer& trailer) const override {
    const double off = trailer.error * query_.norm + trailer.residue * query_.error;
    const double length = trailer.residue + trailer.error + mean_norm_;
    const double doubt =
        kFloatError * std::fabs(distance) + kFloatUnderflow + kSumError * query_.norm * length;
    return (distance - off - doubt) * exact_scale_;
  }

 private:
  double mean_norm_;
  double exact_scale_;
  double with_mean_ = 0;  // the query's product with the mean
};

}  // namespace

bool Sq8Codec::Serves(Metric metric, uint32_t dims) {
  return metric != Metric::kL1 && dims >= kMinDims;
}

size_t Sq8Codec::Stride(uint32_t dims) {
  return AlignUp(dims + sizeof(Sq8Trailer), 64);
}

Sq8Codec::Sq8Codec(Metric metric, int32_t exponent, std::vector<float> mean)
    : metric_(metric),
      exponent_(exponent),
      mean_(std::move(mean)),
      mean_norm_(std::sqrt(SquaredNorm(mean_.data(), mean_.size()))),
      stride_(Stride(static_cast<uint32_t>(mean_.size()))),
      kernels_(BestByteKernels()) {}

Result<std::unique_ptr<Codec>> Sq8Codec::Train(Metric metric, uint32_t dims,
                                               const VectorStatistics& statistics,
                                               std::span<const float> sample) {
  if (!Serves(metric, dims)) return Status::InvalidArgument("code kind sq8 does not serve this index");
  const int32_t exponent = ChooseExponent(metric, statistics.max_magnitude);
  const size_t count = std::min(sample.size() / dims, kTrainingSample);
  std::vector<double> sum(dims, 0);
  for (size_t v = 0; v < count; ++v) {
    const float* vector = sample.data() + v * dims;
    const double scale = ScaleOf(metric, exponent, vector, dims);
    for (uint32_t i = 0; i < dims; ++i) sum[i] += vector[i] * scale;
  }
  std::vector<float> mean(dims, 0);
  for (uint32_t i = 0; i < dims && count > 0; ++i) {
    mean[i] = static_cast<float>(sum[i] / static_cast<double>(count)) + 0.0f;
  }
  return std::unique_ptr<Codec>(new Sq8Codec(metric, exponent, std::move(mean)));
}

Result<std::unique_ptr<Codec>> Sq8Codec::Load(Metric metric, uint32_t dims, Bytes parameters) {
  int32_t exponent = 0;
  if (!Serves(metric, dims) || parameters.size() != sizeof(exponent) + dims * sizeof(float)) {
    return Status::Corruption("codec parameters have " + std::to_string(parameters.size()) + " bytes");
  }
  std::memcpy(&exponent, parameters.data(), sizeof(exponent));
  std::vector<float> mean(dims);
  std::memcpy(mean.data(), parameters.data() + sizeof(exponent), dims * sizeof(float));
  if (!IsChoosableExponent(metric, exponent)) {
    return Status::Corruption("codec parameters have exponent " + std::to_string(exponent));
  }
  for (const float value : mean) {
    if (!FitsScale(std::fabs(value), 0)) return Status::Corruption("codec parameters have a wrong mean");
  }
  return std::unique_ptr<Codec>(new Sq8Codec(metric, exponent, std::move(mean)));
}

std::vector<std::byte> Sq8Codec::Parameters() const {
  const Bytes exponent = AsBytes(exponent_);
  const Bytes mean = AsBytes<float>(mean_);
  std::vector<std::byte> parameters(exponent.begin(), exponent.end());
  parameters.insert(parameters.end(), mean.begin(), mean.end());
  return parameters;
}

bool Sq8Codec::SameAs(const Codec& other) const {
  if (other.kind() != kind() || other.metric() != metric_ || other.dims() != dims()) return false;
  const auto& same_kind = static_cast<const Sq8Codec&>(other);
  return same_kind.exponent_ == exponent_ && same_kind.mean_ == mean_;
}

bool Sq8Codec::Holds(const VectorStatistics& statistics) const {
  return metric_ == Metric::kCosine || FitsScale(statistics.max_magnitude, exponent_);
}

VectorStatistics Sq8Codec::StatisticsOf(const std::byte* code) const {
  std::vector<float> vector(dims());
  Decode(code, vector.data());
  VectorStatistics statistics;
  statistics.Add(vector.data(), vector.size());
  return statistics;
}

template <typename Function>
void Sq8Codec::EncodeScaled(Function component, double known_error, double norm_gain, std::byte* code) const {
  const size_t dims = mean_.size();
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (size_t i = 0; i < dims; ++i) {
    const double y = component(i) - mean_[i];
    low = std::min(low, y);
    high = std::max(high, y);
  }
  Sq8Trailer trailer{};
  trailer.offset = static_cast<float>(low) + 0.0f;
  trailer.step = static_cast<float>((high - low) / kMaxByte);
  const double offset = trailer.offset, step = trailer.step;
  const double inverse = step > 0 ? 1 / step : 0;

  std::memset(code, 0, stride_);
  auto* bytes = reinterpret_cast<uint8_t*>(code);
  uint32_t sum = 0;
  double squared_error = 0, square = 0, byte_square = 0, with_mean = 0, length = 0;
  for (size_t i = 0; i < dims; ++i) {
    const double x = component(i);
    const double y = x - mean_[i];
    const double steps = std::min((y - offset) * inverse, kMaxByte) + 0.5;
    const auto byte = static_cast<uint8_t>(static_cast<int32_t>(std::max(steps, 0.0)));
    const double said = offset + step * byte;
    bytes[i] = byte;
    sum += byte;
    squared_error += Square(y - said);
    square += Square(y);
    byte_square += Square(said);
    with_mean += y * mean_[i];
    length += Square(x);
  }
  // The subtraction of the mean rounds relative to its operands.
  const double rounding = kExactError * (mean_norm_ + std::sqrt(length));
  trailer.sum = static_cast<float>(sum);
  trailer.error = RoundUp(std::sqrt(squared_error) * (1 + kExactError) + rounding + known_error);
  if (metric_ == Metric::kInnerProduct) {
    trailer.norm = static_cast<float>(with_mean + 0.5 * Square(mean_norm_));
    trailer.residue = RoundUp(std::sqrt(byte_square) * (1 + kExactError));
  } else {
    trailer.norm = static_cast<float>(square + norm_gain);
    trailer.residue = static_cast<float>(trailer.norm - byte_square);
  }
  std::memcpy(code + stride_ - sizeof(trailer), &trailer, sizeof(trailer));
}

void Sq8Codec::Encode(const float* vector, std::byte* code) const {
  const double scale = ScaleOf(metric_, exponent_, vector, mean_.size());
  EncodeScaled([=](size_t i) { return vector[i] * scale; }, 0, 0, code);
}

double Sq8Codec::ComponentOf(const std::byte* code, const Sq8Trailer& trailer, size_t i) const {
  const double byte = std::to_integer<int>(code[i]);
  return trailer.offset + double{trailer.step} * byte + mean_[i];
}

void Sq8Codec::Decode(const std::byte* code, float* vector) const {
  const Sq8Trailer& trailer = TrailerOf(code);
  const double scale = std::ldexp(1.0, exponent_);
  for (size_t i = 0; i < mean_.size(); ++i) {
    const double value = ComponentOf(code, trailer, i) * scale;
    vector[i] = static_cast<float>(std::clamp<double>(value, -FLT_MAX, FLT_MAX));
  }
}

double Sq8Codec::CodeError(const std::byte* code) const {
  return std::ldexp(static_cast<double>(TrailerOf(code).error), exponent_);
}

void Sq8Codec::Transcode(const Codec& other, const std::byte* from, std::byte* to) const {
  const auto& source = static_cast<const Sq8Codec&>(other);
  const Sq8Trailer& trailer = source.TrailerOf(from);
  const double scale = std::ldexp(1.0, source.exponent_ - exponent_);
  const double norm_gain = metric_ == Metric::kInnerProduct ? 0 : trailer.residue * Square(scale);
  EncodeScaled([&](size_t i) { return source.ComponentOf(from, trailer, i) * scale; }, trailer.error * scale,
               norm_gain, to);
}

float Sq8Codec::CodeDistance(const std::byte* a, const std::byte* b) const {
  const Sq8Trailer& in_a = TrailerOf(a);
  const Sq8Trailer& in_b = TrailerOf(b);
  const double dims = static_cast<double>(mean_.size());
  const double dot =
      kernels_.dot(reinterpret_cast<const uint8_t*>(a), reinterpret_cast<const uint8_t*>(b), mean_.size());
  // Grouped so that exchanging a and b gives the same bits.
  const double offsets =
      (double{in_a.step} * in_b.offset * in_a.sum + double{in_b.step} * in_a.offset * in_b.sum) +
      double{in_a.offset} * in_b.offset * dims;
  const double product = double{in_a.step} * in_b.step * dot + offsets;
  const double norms = double{in_a.norm} + in_b.norm;
  return WithoutNaN(metric_ == Metric::kInnerProduct ? -(product + norms) : norms - 2 * product);
}

std::unique_ptr<QueryScorer> Sq8Codec::Prepare(const float* query) const {
  const size_t dims = mean_.size();
  std::vector<double> scaled(dims);
  if (metric_ == Metric::kInnerProduct) {
    VectorStatistics statistics;
    statistics.Add(query, dims);
    const float magnitude = statistics.max_magnitude;
    const int query_exponent = magnitude == 0 ? 0 : std::ilogb(magnitude) + 1;
    for (size_t i = 0; i < dims; ++i) scaled[i] = std::ldexp(static_cast<double>(query[i]), -query_exponent);
    return std::make_unique<ProductScorer>(kernels_, stride_, scaled, exponent_ + query_exponent, mean_,
                                           mean_norm_);
  }
  const double scale = ScaleOf(metric_, exponent_, query, dims);
  double length = 0;
  for (size_t i = 0; i < dims; ++i) {
    const double x = query[i] * scale;
    length += Square(x);
    scaled[i] = x - mean_[i];
  }
  const double doubt = kExactError * (mean_norm_ + std::sqrt(length));
  return std::make_unique<EuclideanScorer>(kernels_, stride_, scaled, doubt, metric_, exponent_);
}

}  // namespace vecckpt
