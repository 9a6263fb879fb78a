// The distance functions behind the operators <->, <#>, <=> and <+> on real[]. They call the exact kernel
// that re-ranking calls, so that index order and operator order never disagree.

#include "pg/pg.hpp"

#include <cmath>

#include "hnsw/exact.hpp"
#include "pg/vector_input.hpp"

namespace vecckpt {
namespace {

// The executor computes this once more for every row that a scan returns. A distance is finite only if every
// element is, under each metric, so that elements are looked at one by one only where it is not.
Datum Distance(FunctionCallInfo fcinfo, Metric metric, double sign) {
  VectorRef a = UncheckedFromArray(PG_GETARG_DATUM(0));
  VectorRef b = UncheckedFromArray(PG_GETARG_DATUM(1));
  bool comparable = a.dims == b.dims;
  double distance = comparable ? ExactDistance(metric, a.data, b.data, a.dims) : 0;
  if (!comparable || !std::isfinite(distance)) {
    CheckFinite(a);
    CheckFinite(b);
  }
  if (!comparable)
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                    errmsg("different vector dimensions %u and %u", a.dims, b.dims)));
  PG_RETURN_FLOAT8(sign * SqlDistance(metric, distance) + 0.0);  // which makes 0 of -0
}

}  // namespace
}  // namespace vecckpt

extern "C" {

PG_FUNCTION_INFO_V1(vecckpt_l2_distance);
PGDLLEXPORT Datum vecckpt_l2_distance(PG_FUNCTION_ARGS) {
  return vecckpt::Distance(fcinfo, vecckpt::Metric::kL2, 1);
}

PG_FUNCTION_INFO_V1(vecckpt_inner_product);
PGDLLEXPORT Datum vecckpt_inner_product(PG_FUNCTION_ARGS) {
  return vecckpt::Distance(fcinfo, vecckpt::Metric::kInnerProduct, -1);
}

PG_FUNCTION_INFO_V1(vecckpt_negative_inner_product);
PGDLLEXPORT Datum vecckpt_negative_inner_product(PG_FUNCTION_ARGS) {
  return vecckpt::Distance(fcinfo, vecckpt::Metric::kInnerProduct, 1);
}

PG_FUNCTION_INFO_V1(vecckpt_cosine_distance);
PGDLLEXPORT Datum vecckpt_cosine_distance(PG_FUNCTION_ARGS) {
  return vecckpt::Distance(fcinfo, vecckpt::Metric::kCosine, 1);
}

PG_FUNCTION_INFO_V1(vecckpt_l1_distance);
PGDLLEXPORT Datum vecckpt_l1_distance(PG_FUNCTION_ARGS) {
  return vecckpt::Distance(fcinfo, vecckpt::Metric::kL1, 1);
}
}
