// The bridge to pgvector's types, behind the operator classes of extension vecckpt_pgvector.
//
// pgvector's headers are not needed, so that the library builds, and its other operator classes work, where
// pgvector is not installed. What it relies on: a value of type vector or halfvec is a varlena of
//
//   4 bytes      length word of the varlena
//   int16        number of dimensions, 1 to 16,000
//   int16        not used
//   elements     one a dimension: float4 in vector, IEEE binary16 in halfvec; finite
//
// and its type modifier, where it has one, is the number of dimensions. A value that does not look so is
// refused.

#include "pg/vector_input.hpp"

#include <cmath>

namespace vecckpt {
namespace {

struct PgvectorHeader {
  int32 length_word;
  int16 dims;
  int16 unused;
};
static_assert(sizeof(PgvectorHeader) == 8);

template <ElementType type>
StoredVector VectorFromPgvector(Datum value, const VectorSite& site) {
  auto* header = reinterpret_cast<PgvectorHeader*>(PG_DETOAST_DATUM(value));
  StoredVector vector = {type, static_cast<uint32>(Max(header->dims, 0)), header + 1};
  if (vector.dims < 1 || vector.dims > kMaxDims ||
      VARSIZE(header) != sizeof(PgvectorHeader) + vector.bytes().size())
    ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("value is not laid out as a vector of pgvector"),
                    errdetail("It has %u bytes and %d dimensions.", static_cast<uint32>(VARSIZE(header)),
                              header->dims)));
  if (!std::isfinite(SquaredNorm(vector))) CheckFinite({FloatsOf(vector), vector.dims}, site);
  return vector;
}

constexpr char kCountDims[] = "vector_dims(%s)";

constexpr OpclassSupport SupportForVector(Metric metric) {
  return {metric,    ElementType::kFloat32, "vector", true, VectorFromPgvector<ElementType::kFloat32>,
          kCountDims};
}
constexpr OpclassSupport SupportForHalfvec(Metric metric) {
  return {metric,    ElementType::kFloat16, "halfvec", true, VectorFromPgvector<ElementType::kFloat16>,
          kCountDims};
}

constexpr OpclassSupport kVectorL2 = SupportForVector(Metric::kL2);
constexpr OpclassSupport kVectorInnerProduct = SupportForVector(Metric::kInnerProduct);
constexpr OpclassSupport kVectorCosine = SupportForVector(Metric::kCosine);
constexpr OpclassSupport kVectorL1 = SupportForVector(Metric::kL1);
constexpr OpclassSupport kHalfvecL2 = SupportForHalfvec(Metric::kL2);
constexpr OpclassSupport kHalfvecInnerProduct = SupportForHalfvec(Metric::kInnerProduct);
constexpr OpclassSupport kHalfvecCosine = SupportForHalfvec(Metric::kCosine);
constexpr OpclassSupport kHalfvecL1 = SupportForHalfvec(Metric::kL1);

}  // namespace
}  // namespace vecckpt

extern "C" {

PG_FUNCTION_INFO_V1(vhnsw_vector_l2_support);
PGDLLEXPORT Datum vhnsw_vector_l2_support(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_POINTER(&vecckpt::kVectorL2);
}

PG_FUNCTION_INFO_V1(vhnsw_vector_ip_support);
PGDLLEXPORT Datum vhnsw_vector_ip_support(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_POINTER(&vecckpt::kVectorInnerProduct);
}

PG_FUNCTION_INFO_V1(vhnsw_vector_cosine_support);
PGDLLEXPORT Datum vhnsw_vector_cosine_support(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_POINTER(&vecckpt::kVectorCosine);
}

PG_FUNCTION_INFO_V1(vhnsw_vector_l1_support);
PGDLLEXPORT Datum vhnsw_vector_l1_support(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_POINTER(&vecckpt::kVectorL1);
}

PG_FUNCTION_INFO_V1(vhnsw_halfvec_l2_support);
PGDLLEXPORT Datum vhnsw_halfvec_l2_support(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_POINTER(&vecckpt::kHalfvecL2);
}

PG_FUNCTION_INFO_V1(vhnsw_halfvec_ip_support);
PGDLLEXPORT Datum vhnsw_halfvec_ip_support(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_POINTER(&vecckpt::kHalfvecInnerProduct);
}

PG_FUNCTION_INFO_V1(vhnsw_halfvec_cosine_support);
PGDLLEXPORT Datum vhnsw_halfvec_cosine_support(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_POINTER(&vecckpt::kHalfvecCosine);
}

PG_FUNCTION_INFO_V1(vhnsw_halfvec_l1_support);
PGDLLEXPORT Datum vhnsw_halfvec_l1_support(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_POINTER(&vecckpt::kHalfvecL1);
}
}
