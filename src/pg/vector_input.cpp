// See vector_input.hpp.

#include "pg/vector_input.hpp"

#include <cmath>

#include "hnsw/exact.hpp"

namespace vecckpt {

VectorRef UncheckedFromArray(Datum value, const VectorSite& site) {
  ArrayType* array = DatumGetArrayTypeP(value);
  if (ARR_NDIM(array) == 0)
    ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("vector must have at least 1 dimension"),
                    DetailOf(site), HintOf(site, "cardinality(%s) = 0")));
  if (ARR_NDIM(array) > 1)
    ereport(ERROR,
            (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("vector must be a one-dimensional array"),
             site.building ? DetailOf(site) : errdetail("The array has %d dimensions.", ARR_NDIM(array)),
             HintOf(site, "array_ndims(%s) > 1")));
  if (array_contains_nulls(array))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("vector must not contain NULL"),
                    DetailOf(site), HintOf(site, "num_nulls(VARIADIC %s) > 0")));
  int dims = ARR_DIMS(array)[0];
  if (dims > static_cast<int>(kMaxDims))
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("vector cannot have more than %u dimensions", kMaxDims),
                    site.building ? DetailOf(site) : errdetail("The array has %d elements.", dims),
                    HintOf(site, "cardinality(%s) > 16000")));
  return {reinterpret_cast<const float*>(ARR_DATA_PTR(array)), static_cast<uint32>(dims)};
}

void CheckFinite(const VectorRef& vector, const VectorSite& site) {
  // No sum of squares of so many finite float4 overflows a double.
  if (std::isfinite(SquaredNorm(vector.data, vector.dims))) return;
  for (uint32 i = 0; i < vector.dims; i++) {
    if (std::isfinite(vector.data[i])) continue;
    ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                    errmsg("vector must not contain %s", std::isnan(vector.data[i]) ? "NaN" : "infinity"),
                    DetailOf(site), HintOf(site, "%s && '{NaN,Infinity,-Infinity}'")));
  }
}

const float* FloatsOf(const StoredVector& vector) {
  if (vector.type == ElementType::kFloat32) return static_cast<const float*>(vector.elements);
  float* floats = static_cast<float*>(palloc(vector.dims * sizeof(float)));
  ToFloats(vector, floats);
  return floats;
}

const OpclassSupport* SupportOf(Relation index) {
  FmgrInfo* function = index_getprocinfo(index, 1, 1);
  return reinterpret_cast<const OpclassSupport*>(
      DatumGetPointer(FunctionCall1(function, PointerGetDatum(nullptr))));
}

bool IsIndexable(Metric metric, const StoredVector& vector) {
  return metric != Metric::kCosine || SquaredNorm(vector) != 0;
}

namespace {

StoredVector VectorFromArray(Datum value, const VectorSite& site) {
  VectorRef vector = UncheckedFromArray(value, site);
  CheckFinite(vector, site);
  return {ElementType::kFloat32, vector.dims, vector.data};
}

constexpr OpclassSupport SupportForReal(Metric metric) {
  return {metric, ElementType::kFloat32, "_float4", false, VectorFromArray, "cardinality(%s)"};
}

constexpr OpclassSupport kRealL2 = SupportForReal(Metric::kL2);
constexpr OpclassSupport kRealInnerProduct = SupportForReal(Metric::kInnerProduct);
constexpr OpclassSupport kRealCosine = SupportForReal(Metric::kCosine);
constexpr OpclassSupport kRealL1 = SupportForReal(Metric::kL1);
}  // namespace

}  // namespace vecckpt

extern "C" {

PG_FUNCTION_INFO_V1(vhnsw_real_l2_support);
PGDLLEXPORT Datum vhnsw_real_l2_support(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_POINTER(&vecckpt::kRealL2);
}

PG_FUNCTION_INFO_V1(vhnsw_real_ip_support);
PGDLLEXPORT Datum vhnsw_real_ip_support(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_POINTER(&vecckpt::kRealInnerProduct);
}

PG_FUNCTION_INFO_V1(vhnsw_real_cosine_support);
PGDLLEXPORT Datum vhnsw_real_cosine_support(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_POINTER(&vecckpt::kRealCosine);
}

PG_FUNCTION_INFO_V1(vhnsw_real_l1_support);
PGDLLEXPORT Datum vhnsw_real_l1_support(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_POINTER(&vecckpt::kRealL1);
}
}
