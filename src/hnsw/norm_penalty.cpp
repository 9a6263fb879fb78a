// See norm_penalty.hpp.

#include "hnsw/norm_penalty.hpp"

#include <algorithm>
#include <cmath>

namespace vecckpt {

namespace {

// The nearest of a sample is about as near as a list's links are in a graph of ten times its size.
constexpr uint32_t kProbes = 64;
constexpr uint32_t kSample = 1024;
constexpr float kLeastWeight = 0.07f;
// Norms whose standard deviation is less than this share of their mean are even.
constexpr double kEvenSpread = 0.01;

bool AreEven(const std::vector<float>& squared_norms) {
  double sum = 0, sum_of_squares = 0;
  for (const float squared_norm : squared_norms) {
    sum += std::sqrt(squared_norm);
    sum_of_squares += squared_norm;
  }
  const double count = static_cast<double>(squared_norms.size());
  return sum_of_squares * count <= sum * sum * (1 + kEvenSpread * kEvenSpread);
}

// The middle one of some nodes' largest cosines with nodes of a sample.
float CosineOfNeighbours(const Codec& codec, const std::byte* codes,
                         const std::vector<float>& squared_norms) {
  std::vector<uint32_t> sample;
  const uint64_t node_count = squared_norms.size();
  const uint64_t sample_size = std::min<uint64_t>(kSample, node_count);
  for (uint64_t i = 0; i < sample_size; ++i) {
    const uint32_t node = static_cast<uint32_t>(i * node_count / sample_size);
    if (squared_norms[node] > 0) sample.push_back(node);
  }
  std::vector<float> largest, distances(sample.size());
  for (size_t i = 0; i < sample.size(); i += std::max<size_t>(sample.size() / kProbes, 1)) {
    const uint32_t probe = sample[i];
    codec.CodeDistancesOf(codes + probe * codec.stride(), codes, sample, distances.data());
    float cosine = 0;
    for (size_t j = 0; j < sample.size(); ++j) {
      const float norms = std::sqrt(squared_norms[probe]) * std::sqrt(squared_norms[sample[j]]);
      if (j != i) cosine = std::max(cosine, std::min(-distances[j] / norms, 1.0f));
    }
    largest.push_back(cosine);
  }
  if (largest.empty()) return 0;
  const auto middle = largest.begin() + static_cast<std::ptrdiff_t>(largest.size() / 2);
  std::nth_element(largest.begin(), middle, largest.end());
  return *middle;
}

}  // namespace

std::vector<float> NormPenalties(const Codec& codec, const std::byte* codes, uint32_t node_count) {
  if (codec.metric() != Metric::kInnerProduct) return {};
  std::vector<float> penalties(node_count);
  for (uint32_t node = 0; node < node_count; ++node) {
    const std::byte* code = codes + node * codec.stride();
    const float squared_norm = 0.0f - codec.CodeDistance(code, code);
    penalties[node] = squared_norm > 0 && std::isfinite(squared_norm) ? squared_norm : 0;
  }
  if (AreEven(penalties)) return {};
  const float cosine = CosineOfNeighbours(codec, codes, penalties);
  const float weight = std::max(cosine * cosine * cosine, kLeastWeight);
  for (float& penalty : penalties) penalty *= 0.5f * weight;
  return penalties;
}

}  // namespace vecckpt
