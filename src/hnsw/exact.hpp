// The exact distance kernel, shared by the SQL operators and by re-ranking, so that index order and operator
// order never disagree.
//
// Sums accumulate in double. Run-time dispatched SIMD; the same call with the same input gives the same bits
// throughout a server's life.

#pragma once

#include <cstddef>

#include "hnsw/types.hpp"

namespace vecckpt {

// The *search distance* of two vectors of `dims` float32 values: L2: the squared Euclidean distance; inner
// product: the negative inner product; cosine: 1 - cosine similarity, within [0, 2], NaN if a norm is 0;
// L1: the sum of absolute differences. Infinite where the true value exceeds a double; NaN only for cosine.
double ExactDistance(Metric metric, const float* a, const float* b, size_t dims);
// The same of float16 values: the distance of the float32 values that are equal to them, bit for bit.
double ExactDistance(Metric metric, const float* a, const Half* b, size_t dims);
double ExactDistance(Metric metric, const Half* a, const Half* b, size_t dims);

// What the SQL operator shows for a search distance: its square root for L2, itself for the others.
double SqlDistance(Metric metric, double search_distance);

// The sum of the squares, in double.
double SquaredNorm(const float* a, size_t dims);

}  // namespace vecckpt
