// Scoring codes that lie apart: while one is scored, the next ones are on their way into the cache.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace vecckpt {

// How many bytes of codes are fetched ahead; more would crowd each other out of the processor's fill buffers.
constexpr size_t kFetchAhead = 2048;
// Of a long code the rest comes by the processor's own prefetching.
constexpr size_t kMostFetched = 2048;

inline void FetchCode(const std::byte* code, size_t stride) {
  for (size_t line = 0; line < stride && line < kMostFetched; line += 64) __builtin_prefetch(code + line);
}

// Rows of a second array, a row for each code, of which those whose codes turn out to be nearer than a limit
// are likely to be wanted next.
struct FetchBelow {
  const std::byte* rows = nullptr;
  size_t row_bytes = 0;
  float limit = -std::numeric_limits<float>::infinity();

  void operator()(uint32_t node, float distance) const {
    if (!(distance < limit)) return;
    const std::byte* row = rows + node * row_bytes;
    for (size_t line = 0; line < row_bytes; line += 64) __builtin_prefetch(row + line);
  }
};

// out[i] = distance(code number nodes[i]).
template <typename Distance>
void Gather(const std::byte* codes, size_t stride, std::span<const uint32_t> nodes, float* out,
            Distance distance, const FetchBelow& below = {}) {
  const size_t count = nodes.size();
  const size_t ahead = std::max<size_t>(kFetchAhead / stride, 2);
  for (size_t i = 0; i < count && i < ahead; ++i) FetchCode(codes + nodes[i] * stride, stride);
  for (size_t i = 0; i < count; ++i) {
    if (i + ahead < count) FetchCode(codes + nodes[i + ahead] * stride, stride);
    out[i] = distance(codes + nodes[i] * stride);
    below(nodes[i], out[i]);
  }
}

}  // namespace vecckpt
