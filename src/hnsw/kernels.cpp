// See kernels.hpp. This file is compiled once per target by Highway's foreach_target.h.

#include "hnsw/kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hnsw/kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "hnsw/double_sums-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace vecckpt {
namespace HWY_NAMESPACE {

struct AbsoluteProduct {
  template <class V>
  static HWY_INLINE V Add(V a, V b, V sum) {
    return hn::Add(sum, hn::Abs(hn::Mul(a, b)));
  }
};

// Four sums, as in double.
template <class Term>
HWY_INLINE float SumInFloat(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, size_t n) {
  const hn::CappedTag<float, kFloatBlock> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  auto sum0 = hn::Zero(d), sum1 = hn::Zero(d), sum2 = hn::Zero(d), sum3 = hn::Zero(d);
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    sum0 = Term::Add(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum0);
    sum1 = Term::Add(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), sum1);
    sum2 = Term::Add(hn::LoadU(d, a + i + 2 * lanes), hn::LoadU(d, b + i + 2 * lanes), sum2);
    sum3 = Term::Add(hn::LoadU(d, a + i + 3 * lanes), hn::LoadU(d, b + i + 3 * lanes), sum3);
  }
  for (; i < n; i += lanes) sum0 = Term::Add(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum0);
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
}

double SquaredDifferencesKernel(const float* a, const float* b, size_t n) {
  return SumInDouble<SquaredDifference>(Floats{a}, Floats{b}, n);
}
double AbsoluteDifferencesKernel(const float* a, const float* b, size_t n) {
  return SumInDouble<AbsoluteDifference>(Floats{a}, Floats{b}, n);
}
double ProductsKernel(const float* a, const float* b, size_t n) {
  return SumInDouble<Product>(Floats{a}, Floats{b}, n);
}

CosineTerms CosineKernel(const float* a, const float* b, size_t n) {
  return CosineTermsInDouble(Floats{a}, Floats{b}, n);
}

float FloatSquaredDifferencesKernel(const float* a, const float* b, size_t n) {
  return SumInFloat<SquaredDifference>(a, b, n);
}
float FloatAbsoluteDifferencesKernel(const float* a, const float* b, size_t n) {
  return SumInFloat<AbsoluteDifference>(a, b, n);
}
float FloatProductsKernel(const float* a, const float* b, size_t n) {
  return SumInFloat<Product>(a, b, n);
}
float FloatAbsoluteProductsKernel(const float* a, const float* b, size_t n) {
  return SumInFloat<AbsoluteProduct>(a, b, n);
}

// Of a term: 2 of the difference (it counts twice in a square), 1 of the product; 1 of each addition to its
// sum (3 of them may come from the loop of single vectors); 2 joining the four sums, `lanes` joining lanes.
size_t FloatRoundingsKernel(size_t n) {
  const hn::CappedTag<float, kFloatBlock> d;
  const size_t lanes = hn::Lanes(d);
  return n / (4 * lanes) + 3 + 3 + 2 + lanes;
}

}  // namespace HWY_NAMESPACE
}  // namespace vecckpt
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vecckpt {

HWY_EXPORT(SquaredDifferencesKernel);
HWY_EXPORT(AbsoluteDifferencesKernel);
HWY_EXPORT(ProductsKernel);
HWY_EXPORT(CosineKernel);
HWY_EXPORT(FloatSquaredDifferencesKernel);
HWY_EXPORT(FloatAbsoluteDifferencesKernel);
HWY_EXPORT(FloatProductsKernel);
HWY_EXPORT(FloatAbsoluteProductsKernel);
HWY_EXPORT(FloatRoundingsKernel);

double SumOfSquaredDifferences(const float* a, const float* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(SquaredDifferencesKernel)(a, b, n);
}
double SumOfAbsoluteDifferences(const float* a, const float* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(AbsoluteDifferencesKernel)(a, b, n);
}
double SumOfProducts(const float* a, const float* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(ProductsKernel)(a, b, n);
}
CosineTerms SumCosineTerms(const float* a, const float* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(CosineKernel)(a, b, n);
}
float FloatSumOfSquaredDifferences(const float* a, const float* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(FloatSquaredDifferencesKernel)(a, b, n);
}
float FloatSumOfAbsoluteDifferences(const float* a, const float* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(FloatAbsoluteDifferencesKernel)(a, b, n);
}
float FloatSumOfProducts(const float* a, const float* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(FloatProductsKernel)(a, b, n);
}
float FloatSumOfAbsoluteProducts(const float* a, const float* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(FloatAbsoluteProductsKernel)(a, b, n);
}
size_t FloatRoundings(size_t n) {
  return HWY_DYNAMIC_DISPATCH(FloatRoundingsKernel)(n);
}

}  // namespace vecckpt
#endif
