// Codecs of any parameters, with codes of any bytes as a damaged file might have them, and with codes that
// they made themselves:
//   - Load gives a codec or a Status, and a codec that survives being written again;
//   - whatever the codes, nothing is read outside them, no distance or bound is NaN, and the ways to get a
//     distance (one, a batch, by node) agree;
//   - for vectors that the codec encoded, also when transcoded, bounds are never above the exact distance
//     (sq4, whose bounds hold nearly always: never NaN).
//
// An input: code kind, metric, dims, a byte of flags; then parameters of two codecs, a query, vectors, codes.
// What it lacks is zeros.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "fuzzing.hpp"
#include "hnsw/codec.hpp"
#include "hnsw/exact.hpp"

namespace vecckpt {
namespace {

constexpr size_t kCodes = 5;
constexpr uint8_t kRawParameters = 1;  // flag: all that follows are parameters
constexpr uint8_t kTrained = 2;        // flag: the first codec is trained for the vectors
constexpr uint8_t kNearQuery = 4;      // flag: vectors are neighbours of the query by a few bits

struct alignas(64) Line {
  std::byte bytes[64];
};

// Codes side by side, as in a segment.
struct Codes {
  explicit Codes(const Codec& codec) : stride(codec.stride()), lines(stride / 64 * kCodes) {}
  std::byte* at(size_t i) { return reinterpret_cast<std::byte*>(lines.data()) + i * stride; }
  const std::byte* at(size_t i) const {
    return reinterpret_cast<const std::byte*>(lines.data()) + i * stride;
  }
  size_t stride;
  std::vector<Line> lines;
};

std::vector<uint32_t> AllNodes() {
  std::vector<uint32_t> nodes(kCodes);
  std::iota(nodes.rbegin(), nodes.rend(), 0);
  return nodes;
}

bool Same(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

// Distances of all codes, after whatever holds for codes of any bytes. Only those that were `encoded` must
// have symmetric distances: a damaged sum of levels counts on one side.
std::vector<float> CheckAnyCodes(const Codec& codec, const QueryScorer& scorer, const Codes& codes,
                                 bool encoded) {
  const std::vector<uint32_t> nodes = AllNodes();
  std::vector<float> batch(kCodes), by_node(kCodes), from_code(kCodes);
  scorer.Distances(codes.at(0), kCodes, batch.data());
  scorer.DistancesOf(codes.at(0), nodes, by_node.data(), {});
  CodeExtremes extremes;
  scorer.AddExtremes(codes.at(0), nodes, by_node.data(), &extremes);
  for (size_t i = 0; i < kCodes; ++i) {
    const float distance = scorer.Distance(codes.at(i));
    EXPECT(!std::isnan(distance));
    EXPECT(Same(distance, batch[i]) && Same(distance, by_node[kCodes - 1 - i]));
    EXPECT(!std::isnan(scorer.LowerBound(distance, codes.at(i))));
    EXPECT(!std::isnan(scorer.BoundBeyond(distance, extremes)));

    codec.CodeDistancesOf(codes.at(i), codes.at(0), nodes, from_code.data());
    for (size_t other = 0; other < kCodes; ++other) {
      const float apart = codec.CodeDistance(codes.at(i), codes.at(other));
      EXPECT(!std::isnan(apart));
      EXPECT(!encoded || Same(apart, codec.CodeDistance(codes.at(other), codes.at(i))));
      EXPECT(Same(apart, from_code[kCodes - 1 - other]));
    }
    const bool any = codec.AnyCloserThan(distance, codes.at(i), codes.at(0), nodes);
    EXPECT(any == std::any_of(from_code.begin(), from_code.end(), [=](float d) { return d < distance; }));

    std::vector<float> decoded(codec.dims());
    codec.Decode(codes.at(i), decoded.data());
    (void)codec.StatisticsOf(codes.at(i));
    (void)codec.CodeError(codes.at(i));
  }
  return batch;
}

void CheckBounds(const Codec& codec, const Codes& codes, const std::vector<std::vector<float>>& vectors,
                 const std::vector<float>& query) {
  const std::unique_ptr<QueryScorer> scorer = codec.Prepare(query.data());
  const std::vector<float> distances = CheckAnyCodes(codec, *scorer, codes, true);
  if (codec.kind() == CodeKind::kSq4) return;
  CodeExtremes extremes;
  for (uint32_t i = 0; i < kCodes; ++i) {
    scorer->AddExtremes(codes.at(0), {&i, 1}, &distances[i], &extremes);
    const double exact = ExactDistance(codec.metric(), query.data(), vectors[i].data(), codec.dims());
    EXPECT(scorer->LowerBound(distances[i], codes.at(i)) <= exact);
  }
  for (size_t i = 0; i < kCodes; ++i) {
    const double bound = scorer->BoundBeyond(distances[i], extremes);
    for (size_t other = 0; other < kCodes; ++other) {
      if (distances[other] < distances[i]) continue;
      EXPECT(bound <= ExactDistance(codec.metric(), query.data(), vectors[other].data(), codec.dims()));
    }
  }
}

void CheckParameters(CodeKind kind, Metric metric, uint32_t dims, Bytes parameters) {
  const Result<std::unique_ptr<Codec>> codec = Codec::Load(kind, metric, dims, parameters);
  if (!codec.ok()) return;
  const std::vector<std::byte> written = (*codec)->Parameters();
  const Result<std::unique_ptr<Codec>> again = Codec::Load(kind, metric, dims, written);
  EXPECT(again.ok() && (*again)->SameAs(**codec) && (*again)->stride() == Codec::Stride(kind, dims));
}

// Parameters whose size is right.
std::unique_ptr<Codec> TakeCodec(CodeKind kind, Metric metric, uint32_t dims, Input* input) {
  const int32_t exponent = input->Take<int16_t>() % 160;
  std::vector<std::byte> parameters(sizeof(exponent));
  std::memcpy(parameters.data(), &exponent, sizeof(exponent));
  if (kind != CodeKind::kNone) {
    const std::vector<float> mean = input->TakeFinite(dims);
    const Bytes bytes = AsBytes(std::span<const float>(mean));
    parameters.insert(parameters.end(), bytes.begin(), bytes.end());
  }
  Result<std::unique_ptr<Codec>> codec = Codec::Load(kind, metric, dims, parameters);
  return codec.ok() ? std::move(*codec) : nullptr;
}

std::vector<float> TakeVector(Metric metric, uint32_t dims, Input* input) {
  std::vector<float> vector = input->TakeFinite(dims);
  const bool zero = std::all_of(vector.begin(), vector.end(), [](float value) { return value == 0; });
  if (metric == Metric::kCosine && zero) vector[0] = 1;
  return vector;
}

// The same but for up to 127 units of the last place, which may not change its sign or make it infinite.
std::vector<float> TakeNeighbour(const std::vector<float>& of, Input* input) {
  std::vector<float> vector(of);
  for (float& value : vector) {
    const int64_t magnitude = std::bit_cast<uint32_t>(std::fabs(value));
    const int64_t moved = std::clamp<int64_t>(magnitude + input->Take<int8_t>(), 1, 0x7F7FFFFF);
    value = std::copysign(std::bit_cast<float>(static_cast<uint32_t>(moved)), value);
  }
  return vector;
}

void Check(Input input) {
  const CodeKind kind = static_cast<CodeKind>(1 + input.Take<uint8_t>() % 3);
  const Metric metric = static_cast<Metric>(1 + input.Take<uint8_t>() % 4);
  const uint32_t dims = 1u + input.Take<uint8_t>();
  const uint8_t flags = input.Take<uint8_t>();
  if ((flags & kRawParameters) != 0) return CheckParameters(kind, metric, dims, input.rest());
  if (Codec::KindFor(kind, metric, dims) != kind) return;

  std::unique_ptr<Codec> first = TakeCodec(kind, metric, dims, &input);
  const std::unique_ptr<Codec> second = TakeCodec(kind, metric, dims, &input);
  if (first == nullptr || second == nullptr) return;
  const std::vector<float> query = TakeVector(metric, dims, &input);

  std::vector<std::vector<float>> vectors;
  VectorStatistics statistics;
  std::vector<float> sample;
  for (size_t i = 0; i < kCodes; ++i) {
    vectors.push_back((flags & kNearQuery) != 0 ? TakeNeighbour(query, &input)
                                                : TakeVector(metric, dims, &input));
    statistics.Add(vectors.back().data(), dims);
    sample.insert(sample.end(), vectors.back().begin(), vectors.back().end());
  }
  if ((flags & kTrained) != 0) {
    first = std::move(Codec::Train(kind, metric, dims, statistics, sample).value());
    EXPECT(first->Holds(statistics));
  }

  Codes codes(*first), transcoded(*second);
  if (first->Holds(statistics)) {
    for (size_t i = 0; i < kCodes; ++i) first->Encode(vectors[i].data(), codes.at(i));
    CheckBounds(*first, codes, vectors, query);
    if (second->Holds(statistics)) {
      for (size_t i = 0; i < kCodes; ++i) second->Transcode(*first, codes.at(i), transcoded.at(i));
      CheckBounds(*second, transcoded, vectors, query);
    }
  }

  // Some bytes of each code, or all, are the input's.
  for (size_t i = 0; i < kCodes; ++i) {
    const size_t begin = input.Take<uint16_t>() % codes.stride;
    input.Fill(codes.at(i) + begin, codes.stride - begin);
    second->Transcode(*first, codes.at(i), transcoded.at(i));
  }
  CheckAnyCodes(*first, *first->Prepare(query.data()), codes, false);
  CheckAnyCodes(*second, *second->Prepare(query.data()), transcoded, false);
}

}  // namespace
}  // namespace vecckpt

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vecckpt::Check(vecckpt::Input(data, size));
  return 0;
}
