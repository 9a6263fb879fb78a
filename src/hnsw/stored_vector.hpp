// Vectors in the element type in which the log keeps them, for those above that handle every type alike.
//
// Thread safety: pure functions.

#pragma once

#include <cstddef>

#include "base/bytes.hpp"
#include "hnsw/types.hpp"

namespace vecckpt {

struct StoredVector {
  ElementType type;
  uint32_t dims;
  const void* elements;  // `dims` of them, aligned as their type is

  Bytes bytes() const { return {static_cast<const std::byte*>(elements), size_t{dims} * ElementBytes(type)}; }
};

// The exact search distance (exact.hpp) from a query of as many dims.
double ExactDistance(Metric metric, const float* query, const StoredVector& vector);

// The sum of the squares, in double; infinite or NaN if, and only if, an element is. 0 only for a zero
// vector.
double SquaredNorm(const StoredVector& vector);

// Writes the float32 values that are equal to the elements, `dims` of them.
void ToFloats(const StoredVector& vector, float* out);

}  // namespace vecckpt
