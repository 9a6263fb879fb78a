// A node as a search keeps it in sorted arrays: one 64-bit number of its distance, as bits that compare like
// the numbers, its id, and in the lowest bit whether it has been expanded. Ties are broken by the id, so that
// no order depends on the order of arrival.

#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "hnsw/types.hpp"

namespace vecckpt {

using NodeKey = uint64_t;

constexpr NodeKey kExpandedBit = 1;
// REQUIRES of ids: below. So no job may make, and no search follows, a graph of more nodes.
constexpr uint32_t kMostKeyedNodes = uint32_t{1} << 31;
static_assert(kMostKeyedNodes - 1 < kNoNode);

// REQUIRES: `distance` is not NaN.
inline NodeKey KeyOf(uint32_t node, float distance) {
  const uint32_t bits = std::bit_cast<uint32_t>(distance + 0.0f);  // no negative zero
  const uint32_t ordered = bits ^ (bits >> 31 != 0 ? 0xFFFFFFFFu : 0x80000000u);
  return NodeKey{ordered} << 32 | NodeKey{node} << 1;
}
inline uint32_t NodeOf(NodeKey key) {
  return static_cast<uint32_t>(key) >> 1;
}
inline float DistanceOf(NodeKey key) {
  const uint32_t ordered = static_cast<uint32_t>(key >> 32);
  return std::bit_cast<float>(ordered ^ (ordered >> 31 != 0 ? 0x80000000u : 0xFFFFFFFFu));
}
inline bool IsExpanded(NodeKey key) {
  return (key & kExpandedBit) != 0;
}

// How many of `count` sorted keys come before `key`; without branches that nobody can foretell.
inline size_t PlaceOf(NodeKey key, const NodeKey* keys, size_t count) {
  size_t place = 0;
  for (size_t length = count; length > 0;) {
    const size_t half = length / 2;
    place += keys[place + half] < key ? length - half : 0;
    length = half;
  }
  return place;
}

// Sorts `added` and merges it into `sorted`: from the back, each moving what lies between it and the one
// before. Calls merged(i, place) for each, the last first, where `place` is how many of `sorted` as it was
// come before added[i].
template <typename Merged>
void MergeKeys(std::vector<NodeKey>* added, std::vector<NodeKey>* sorted, const Merged& merged) {
  std::sort(added->begin(), added->end());
  size_t end = sorted->size();
  sorted->resize(end + added->size());
  NodeKey* const keys = sorted->data();
  for (size_t i = added->size(); i-- > 0;) {
    const size_t place = PlaceOf((*added)[i], keys, end);
    std::copy_backward(keys + place, keys + end, keys + end + i + 1);
    keys[place + i] = (*added)[i];
    end = place;
    merged(i, place);
  }
}

}  // namespace vecckpt
