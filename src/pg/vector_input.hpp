// From an SQL value to a checked vector, and what an operator class tells the access method.

#pragma once

#include "pg/pg.hpp"
#include "pg/vector_site.hpp"

#include "hnsw/stored_vector.hpp"

namespace vecckpt {

// `data` points into the (detoasted) value.
struct VectorRef {
  const float* data;
  uint32 dims;
};

// A real[] as a vector. `site`: where it comes from, null for a function's argument. Raises an error for
// arrays that are empty, have more than one dimension or more than kMaxDims elements, or hold NULL.
VectorRef UncheckedFromArray(Datum value, const VectorSite& site = {});
// Raises an error for a vector that holds NaN or infinity. Apart, for callers that see these in what they
// compute.
void CheckFinite(const VectorRef& vector, const VectorSite& site = {});

// What support function 1 of an operator class returns: a pointer to one of these, in static memory.
struct OpclassSupport {
  Metric metric;
  ElementType element_type;
  const char* type_name;  // of the operator class's input type, in pg_type
  bool typmod_is_dims;    // a column's type modifier, where it has one, is its number of dimensions
  // A checked value, detoasted in the current context. Raises an error if the value cannot be a vector.
  StoredVector (*to_vector)(Datum value, const VectorSite& site);
  const char* count_dims;  // SQL for the number of dimensions of a value, %s
};

// REQUIRES: an index of access method vhnsw.
const OpclassSupport* SupportOf(Relation index);

// Vectors that cannot be indexed under the metric (zero vectors under cosine).
bool IsIndexable(Metric metric, const StoredVector& vector);

// The vector's float32 values: its elements, or a copy in the current context.
const float* FloatsOf(const StoredVector& vector);

}  // namespace vecckpt
