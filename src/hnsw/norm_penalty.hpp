// How far apart nodes are while a graph is built for inner product.
//
// A graph whose lists hold the nodes of the largest inner product is all hubs if norms differ: every node
// has its links to the same few long vectors, these are near to each other, and most nodes have no way in.
// Choosing neighbours makes it worse, because whatever is not the longest in its direction is nearer to a
// longer one and dropped. Lists by Euclidean distance have the opposite fault: they lead to the short
// vectors around the origin, which no query asks for.
//
// So what counts between two nodes is -x y + w/2 (|x|^2 + |y|^2): w = 0 is the inner product, w = 1 half the
// squared Euclidean distance. For one x it orders the others as their Euclidean distance from x / w does: a
// node's neighbours are found in its direction, but farther out, where the answers are. The less vectors
// point the same way, that is the more dimensions they really have, the less may a norm count: w is the
// third power of the cosine that near neighbours have, and 0.07 at least. Where all norms are about the same,
// they make no difference and do not count.

#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.hpp"
#include "hnsw/codec.hpp"

namespace vecckpt {

// w/2 |x|^2 for each of the first `node_count` codes, on the scale of Codec::CodeDistance; 0 for a code whose
// norm is not finite. Empty if norms are even or the metric is not inner product.
std::vector<float> NormPenalties(const Codec& codec, const std::byte* codes, uint32_t node_count);

}  // namespace vecckpt
