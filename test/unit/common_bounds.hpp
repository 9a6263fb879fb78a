// What a scorer says of many codes at once, against what is so of each.

#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "built_graph.hpp"
#include "hnsw/exact.hpp"

namespace vecckpt {

// What the scorer notes of `count` codes with these distances.
inline CodeExtremes ExtremesOf(const QueryScorer& scorer, const CodeArray& codes,
                               const std::vector<float>& distances) {
  std::vector<uint32_t> nodes(distances.size());
  std::iota(nodes.begin(), nodes.end(), 0u);
  CodeExtremes extremes;
  scorer.AddExtremes(codes.at(0), nodes, distances.data(), &extremes);
  return extremes;
}

// The bound beyond each code's distance is not above the exact distance of any vector whose code is as far.
inline void CheckCommonBounds(const Codec& codec, const CodeArray& codes, const std::vector<float>& vectors,
                              const std::vector<float>& query, const QueryScorer& scorer,
                              const std::vector<float>& distances) {
  const CodeExtremes extremes = ExtremesOf(scorer, codes, distances);
  const uint32_t dims = codec.dims();
  for (size_t i = 0; i < distances.size(); ++i) {
    const double exact = ExactDistance(codec.metric(), query.data(), vectors.data() + i * dims, dims);
    for (const float distance : distances) {
      if (distance > distances[i]) continue;
      ASSERT_LE(scorer.BoundBeyond(distance, extremes), exact)
          << "metric " << static_cast<int>(codec.metric()) << ", dims " << dims << ", vector " << i;
    }
  }
}

}  // namespace vecckpt
