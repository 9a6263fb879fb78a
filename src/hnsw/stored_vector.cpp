// See stored_vector.hpp.

#include "hnsw/stored_vector.hpp"

#include <algorithm>

#include "hnsw/exact.hpp"
#include "hnsw/half_kernels.hpp"
#include "hnsw/kernels.hpp"

namespace vecckpt {
namespace {

const float* Floats(const StoredVector& vector) {
  return static_cast<const float*>(vector.elements);
}
const Half* Halves(const StoredVector& vector) {
  return static_cast<const Half*>(vector.elements);
}

}  // namespace

double ExactDistance(Metric metric, const float* query, const StoredVector& vector) {
  if (vector.type == ElementType::kFloat16) return ExactDistance(metric, query, Halves(vector), vector.dims);
  return ExactDistance(metric, query, Floats(vector), vector.dims);
}

double SquaredNorm(const StoredVector& vector) {
  if (vector.type == ElementType::kFloat16) return SumOfProducts(Halves(vector), Halves(vector), vector.dims);
  return SumOfProducts(Floats(vector), Floats(vector), vector.dims);
}

void ToFloats(const StoredVector& vector, float* out) {
  if (vector.type == ElementType::kFloat16)
    HalvesToFloats(Halves(vector), vector.dims, out);
  else
    std::copy_n(Floats(vector), vector.dims, out);
}

}  // namespace vecckpt
