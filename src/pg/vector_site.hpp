// Where a vector that cannot be taken comes from, for the error that says so.

#pragma once

#include "pg/pg.hpp"

namespace vecckpt {

struct VectorSite {
  Relation index;              // null: a function's argument
  const ItemPointerData* tid;  // the row; null: a query
  bool building;               // the row was there before the index: the user has to find it
  const char* count_dims;      // SQL for the number of dimensions of a value, %s
};

// Within ereport. `condition` finds rows with the same fault: SQL in which %s stands for the indexed column
// or expression. No detail and no hint where nothing is known.
int DetailOf(const VectorSite& site);
int HintOf(const VectorSite& site, const char* condition);

// Raises the error for a vector whose dims are not the index's.
[[noreturn]] void RaiseWrongDims(const VectorSite& site, uint32 expected, uint32 actual);

}  // namespace vecckpt
