// See scalar_codec.hpp.

#include "hnsw/scalar_codec.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "hnsw/codec_scale.hpp"
#include "hnsw/codec_sq4.hpp"
#include "hnsw/codec_sq8.hpp"
#include "hnsw/encode_kernels.hpp"
#include "hnsw/exact.hpp"
#include "hnsw/gather.hpp"
#include "hnsw/scalar_scorers.hpp"

namespace vecckpt {

namespace {

// The least float that is not below a non-negative value.
float RoundUp(double value) {
  if (value > FLT_MAX) return std::numeric_limits<float>::infinity();
  const float rounded = static_cast<float>(value);
  return rounded < value ? std::nextafterf(rounded, FLT_MAX) : rounded;
}

// What scales a vector to the frame of the codes, before the mean is subtracted.
double ScaleOf(Metric metric, int exponent, const float* vector, size_t dims) {
  return metric == Metric::kCosine ? 1 / std::sqrt(SquaredNorm(vector, dims)) : std::ldexp(1.0, -exponent);
}

}  // namespace

template <typename Levels>
ScalarCodec<Levels>::ScalarCodec(Metric metric, int32_t exponent, std::vector<float> mean)
    : metric_(metric),
      exponent_(exponent),
      mean_(std::move(mean)),
      mean_norm_(std::sqrt(SquaredNorm(mean_.data(), mean_.size()))),
      stride_(Stride(static_cast<uint32_t>(mean_.size()))),
      kernels_(Levels::BestKernels()) {}

template <typename Levels>
Result<std::unique_ptr<Codec>> ScalarCodec<Levels>::Train(Metric metric, uint32_t dims,
                                                          const VectorStatistics& statistics,
                                                          std::span<const float> sample) {
  if (!ScalarCodecServes(metric, dims))
    return Status::InvalidArgument(std::string("code kind ") + Levels::kName + " does not serve this index");
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
  return std::unique_ptr<Codec>(new ScalarCodec(metric, exponent, std::move(mean)));
}

template <typename Levels>
Result<std::unique_ptr<Codec>> ScalarCodec<Levels>::Load(Metric metric, uint32_t dims, Bytes parameters) {
  int32_t exponent = 0;
  if (!ScalarCodecServes(metric, dims) || parameters.size() != sizeof(exponent) + dims * sizeof(float)) {
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
  return std::unique_ptr<Codec>(new ScalarCodec(metric, exponent, std::move(mean)));
}

template <typename Levels>
std::vector<std::byte> ScalarCodec<Levels>::Parameters() const {
  const Bytes exponent = AsBytes(exponent_);
  const Bytes mean = AsBytes<float>(mean_);
  std::vector<std::byte> parameters(exponent.begin(), exponent.end());
  parameters.insert(parameters.end(), mean.begin(), mean.end());
  return parameters;
}

template <typename Levels>
bool ScalarCodec<Levels>::SameAs(const Codec& other) const {
  if (other.kind() != kind() || other.metric() != metric_ || other.dims() != dims()) return false;
  const auto& same_kind = static_cast<const ScalarCodec&>(other);
  return same_kind.exponent_ == exponent_ && same_kind.mean_ == mean_;
}

template <typename Levels>
bool ScalarCodec<Levels>::Holds(const VectorStatistics& statistics) const {
  return metric_ == Metric::kCosine || FitsScale(statistics.max_magnitude, exponent_);
}

template <typename Levels>
VectorStatistics ScalarCodec<Levels>::StatisticsOf(const std::byte* code) const {
  std::vector<float> vector(dims());
  Decode(code, vector.data());
  VectorStatistics statistics;
  statistics.Add(vector.data(), vector.size());
  return statistics;
}

constexpr size_t kPiece = 256;  // components at a time: what stays in the cache

// Calls work(x, begin, count) for the components of a vector, piece by piece; fill(begin, count, x) tells
// them.
template <typename Fill, typename Work>
void ForPieces(size_t dims, const Fill& fill, const Work& work) {
  alignas(64) double x[kPiece];
  for (size_t begin = 0; begin < dims; begin += kPiece) {
    const size_t count = std::min(kPiece, dims - begin);
    fill(begin, count, x);
    work(x, begin, count);
  }
}

template <typename Levels>
template <typename Fill>
void ScalarCodec<Levels>::EncodeScaled(const Fill& fill, double known_error, double norm_gain,
                                       std::byte* code) const {
  const size_t dims = mean_.size();
  const float* mean = mean_.data();
  double low = std::numeric_limits<double>::infinity(), high = -low;
  ForPieces(dims, fill, [&](const double* x, size_t begin, size_t count) {
    WidenRange(x, mean + begin, count, &low, &high);
  });
  ScalarTrailer trailer{};
  trailer.offset = static_cast<float>(low) + 0.0f;
  trailer.step = static_cast<float>((high - low) / Levels::kHighest);
  const LevelRule rule = {trailer.offset, trailer.step > 0 ? 1 / double{trailer.step} : 0, Levels::kHighest};
  if constexpr (Levels::kFitted) {
    LineSums line;
    ForPieces(dims, fill, [&](const double* x, size_t begin, size_t count) {
      AddToLine(x, mean + begin, count, rule, &line);
    });
    const double count = static_cast<double>(dims);
    const double spread = count * line.level_squares - Square(line.levels);
    if (spread > 0) {
      const double slope = (count * line.products - line.levels * line.components) / spread;
      trailer.step = static_cast<float>(slope);
      trailer.offset = static_cast<float>((line.components - slope * line.levels) / count) + 0.0f;
    }
  }

  std::memset(code, 0, stride_);
  CodeSums sums;
  ForPieces(dims, fill, [&](const double* x, size_t begin, size_t count) {
    uint8_t levels[kPiece];
    WriteLevels(x, mean + begin, count, rule, trailer.offset, trailer.step, levels, &sums);
    Levels::Put(code, dims, begin, levels, count);
  });
  // The subtraction of the mean rounds relative to its operands.
  const double rounding = kExactError * (mean_norm_ + std::sqrt(sums.length));
  trailer.sum = static_cast<float>(sums.levels);
  trailer.error = RoundUp(std::sqrt(sums.squared_error) * (1 + kExactError) + rounding + known_error);
  if (metric_ == Metric::kInnerProduct) {
    trailer.norm = static_cast<float>(sums.with_mean + 0.5 * Square(mean_norm_));
    trailer.residue = RoundUp(std::sqrt(sums.said_square) * (1 + kExactError));
  } else {
    trailer.norm = static_cast<float>(sums.square + norm_gain);
    trailer.residue = static_cast<float>(trailer.norm - sums.said_square);
  }
  std::memcpy(code + stride_ - sizeof(trailer), &trailer, sizeof(trailer));
}

template <typename Levels>
void ScalarCodec<Levels>::Encode(const float* vector, std::byte* code) const {
  const double scale = ScaleOf(metric_, exponent_, vector, mean_.size());
  const auto fill = [=](size_t begin, size_t count, double* x) {
    ScaleValues(vector + begin, scale, count, x);
  };
  EncodeScaled(fill, 0, 0, code);
}

template <typename Levels>
double ScalarCodec<Levels>::ComponentOf(const std::byte* code, const ScalarTrailer& trailer, size_t i) const {
  const double level = Levels::Get(code, mean_.size(), i);
  return trailer.offset + double{trailer.step} * level + mean_[i];
}

template <typename Levels>
void ScalarCodec<Levels>::Decode(const std::byte* code, float* vector) const {
  const ScalarTrailer& trailer = TrailerOf(code);
  const double scale = std::ldexp(1.0, exponent_);
  for (size_t i = 0; i < mean_.size(); ++i) {
    const double value = ComponentOf(code, trailer, i) * scale;
    vector[i] = static_cast<float>(std::clamp<double>(value, -FLT_MAX, FLT_MAX));
  }
}

template <typename Levels>
double ScalarCodec<Levels>::CodeError(const std::byte* code) const {
  return std::ldexp(static_cast<double>(TrailerOf(code).error), exponent_);
}

template <typename Levels>
void ScalarCodec<Levels>::Transcode(const Codec& other, const std::byte* from, std::byte* to) const {
  const auto& source = static_cast<const ScalarCodec&>(other);
  const ScalarTrailer& trailer = source.TrailerOf(from);
  const double scale = std::ldexp(1.0, source.exponent_ - exponent_);
  const double norm_gain = metric_ == Metric::kInnerProduct ? 0 : trailer.residue * Square(scale);
  const auto fill = [&](size_t begin, size_t count, double* x) {
    for (size_t i = 0; i < count; ++i) x[i] = source.ComponentOf(from, trailer, begin + i) * scale;
  };
  EncodeScaled(fill, trailer.error * scale, norm_gain, to);
}

template <typename Levels>
float ScalarCodec<Levels>::CodeDistance(const std::byte* a, const std::byte* b) const {
  const ScalarTrailer& in_a = TrailerOf(a);
  const ScalarTrailer& in_b = TrailerOf(b);
  const double dims = static_cast<double>(mean_.size());
  const double dot = Levels::Dot(kernels_, reinterpret_cast<const uint8_t*>(a),
                                 reinterpret_cast<const uint8_t*>(b), mean_.size(), in_a.sum);
  // Grouped so that exchanging a and b gives the same bits.
  const double offsets =
      (double{in_a.step} * in_b.offset * in_a.sum + double{in_b.step} * in_a.offset * in_b.sum) +
      double{in_a.offset} * in_b.offset * dims;
  const double product = double{in_a.step} * in_b.step * dot + offsets;
  const double norms = double{in_a.norm} + in_b.norm;
  return WithoutNaN(metric_ == Metric::kInnerProduct ? -(product + norms) : norms - 2 * product);
}

template <typename Levels>
void ScalarCodec<Levels>::CodeDistancesOf(const std::byte* from, const std::byte* codes,
                                          std::span<const uint32_t> nodes, float* out) const {
  Gather(codes, stride_, nodes, out,
         [&](const std::byte* code) { return ScalarCodec::CodeDistance(from, code); });
}

template <typename Levels>
bool ScalarCodec<Levels>::AnyCloserThan(float distance, const std::byte* from, const std::byte* codes,
                                        std::span<const uint32_t> nodes) const {
  return std::any_of(nodes.begin(), nodes.end(), [&](uint32_t node) {
    return ScalarCodec::CodeDistance(from, codes + node * stride_) < distance;
  });
}

template <typename Levels>
std::unique_ptr<QueryScorer> ScalarCodec<Levels>::Prepare(const float* query) const {
  const size_t dims = mean_.size();
  std::vector<double> scaled(dims);
  if (metric_ == Metric::kInnerProduct) {
    VectorStatistics statistics;
    statistics.Add(query, dims);
    const float magnitude = statistics.max_magnitude;
    const int query_exponent = magnitude == 0 ? 0 : std::ilogb(magnitude) + 1;
    for (size_t i = 0; i < dims; ++i) scaled[i] = std::ldexp(static_cast<double>(query[i]), -query_exponent);
    return std::make_unique<ProductScorer<Levels>>(kernels_, stride_, scaled, exponent_ + query_exponent,
                                                   mean_, mean_norm_);
  }
  const double scale = ScaleOf(metric_, exponent_, query, dims);
  double length = 0;
  for (size_t i = 0; i < dims; ++i) {
    const double x = query[i] * scale;
    length += Square(x);
    scaled[i] = x - mean_[i];
  }
  const double doubt = kExactError * (mean_norm_ + std::sqrt(length));
  return std::make_unique<EuclideanScorer<Levels>>(kernels_, stride_, scaled, doubt, metric_, exponent_);
}

template class ScalarCodec<Sq8Levels>;
template class ScalarCodec<Sq4Levels>;

}  // namespace vecckpt
