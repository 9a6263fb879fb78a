// See exact.hpp. The sums are in kernels.cpp and half_kernels.cpp.

#include "hnsw/exact.hpp"

#include <algorithm>
#include <cmath>

#include "hnsw/half_kernels.hpp"
#include "hnsw/kernels.hpp"

namespace vecckpt {

namespace {

template <typename A, typename B>
double CosineDistance(const A* a, const B* b, size_t dims) {
  const CosineTerms terms = SumCosineTerms(a, b, dims);
  // The root of the product, not the product of the roots: it is exact where a equals b, so that a vector's
  // distance to itself is 0. The squared norms lie between 2^-298 and 2^270: their product is in range.
  const double norms = std::sqrt(terms.squared_norm_a * terms.squared_norm_b);
  // 0 / 0, a zero vector, is NaN and passes through clamp.
  return std::clamp(1.0 - terms.product / norms, 0.0, 2.0);
}

template <typename A, typename B>
double Distance(Metric metric, const A* a, const B* b, size_t dims) {
  switch (metric) {
    case Metric::kL2:
      return SumOfSquaredDifferences(a, b, dims);
    case Metric::kInnerProduct:
      // Not -x, which would show a product of 0 as -0.
      return 0.0 - SumOfProducts(a, b, dims);
    case Metric::kCosine:
      return CosineDistance(a, b, dims);
    case Metric::kL1:
      return SumOfAbsoluteDifferences(a, b, dims);
  }
  return 0;
}

}  // namespace

double ExactDistance(Metric metric, const float* a, const float* b, size_t dims) {
  return Distance(metric, a, b, dims);
}

double ExactDistance(Metric metric, const float* a, const Half* b, size_t dims) {
  return Distance(metric, a, b, dims);
}

double ExactDistance(Metric metric, const Half* a, const Half* b, size_t dims) {
  return Distance(metric, a, b, dims);
}

double SqlDistance(Metric metric, double search_distance) {
  return metric == Metric::kL2 ? std::sqrt(search_distance) : search_distance;
}

double SquaredNorm(const float* a, size_t dims) {
  return SumOfProducts(a, a, dims);
}

}  // namespace vecckpt
