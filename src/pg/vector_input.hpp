// From an SQL value to a checked vector, and what an operator class tells the access method.

#pragma once

#include "pg/pg.hpp"

#include "hnsw/types.hpp"

namespace vecckpt {

// `data` points into the (detoasted) value.
struct VectorRef {
  const float* data;
  uint32 dims;
};

// A real[] as a vector. Raises an error for arrays that are empty, have more than one dimension or more than
// kMaxDims elements, hold NULL, NaN or infinity.
VectorRef VectorFromArray(Datum value);

// The same in two steps, for callers that see NaN and infinity in what they compute.
VectorRef UncheckedFromArray(Datum value);
void CheckFinite(const VectorRef& vector);

// What support function 1 of an operator class returns: a pointer to one of these, in static memory.
struct OpclassSupport {
  Metric metric;
  ElementType element_type;
  VectorRef (*to_vector)(Datum value);
};

// REQUIRES: an index of access method vhnsw.
const OpclassSupport* SupportOf(Relation index);

// Raises the error for a vector whose dims are not the index's.
[[noreturn]] void RaiseWrongDims(uint32 expected, uint32 actual);

// Vectors that cannot be indexed under the metric (zero vectors under cosine).
bool IsIndexable(Metric metric, const VectorRef& vector);

}  // namespace vecckpt
