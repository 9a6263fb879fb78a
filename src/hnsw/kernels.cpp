// See kernels.hpp. This file is compiled once per target by Highway's foreach_target.h.

#include "hnsw/kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hnsw/kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace vecckpt {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// One term added to a sum: of vectors, and of the values that do not fill a vector.
struct SquaredDifference {
  template <class V>
  static HWY_INLINE V Add(V a, V b, V sum) {
    const V difference = hn::Sub(a, b);
    return hn::MulAdd(difference, difference, sum);
  }
  static HWY_INLINE double AddOne(double a, double b, double sum) { return sum + (a - b) * (a - b); }
};

struct AbsoluteDifference {
  template <class V>
  static HWY_INLINE V Add(V a, V b, V sum) {
    return hn::Add(sum, hn::Abs(hn::Sub(a, b)));
  }
  static HWY_INLINE double AddOne(double a, double b, double sum) { return sum + std::fabs(a - b); }
};

struct Product {
  template <class V>
  static HWY_INLINE V Add(V a, V b, V sum) {
    return hn::MulAdd(a, b, sum);
  }
  static HWY_INLINE double AddOne(double a, double b, double sum) { return sum + a * b; }
};

struct AbsoluteProduct {
  template <class V>
  static HWY_INLINE V Add(V a, V b, V sum) {
    return hn::Add(sum, hn::Abs(hn::Mul(a, b)));
  }
};

// Four sums hide the latency of the additions and shorten the chains of roundings.
template <class Term>
HWY_INLINE double SumInDouble(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, size_t n) {
  size_t i = 0;
  double sum = 0;
#if HWY_HAVE_FLOAT64
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> narrow;
  const size_t lanes = hn::Lanes(d);
  const auto load = [&](const float* p) HWY_ATTR { return hn::PromoteTo(d, hn::LoadU(narrow, p)); };
  auto sum0 = hn::Zero(d), sum1 = hn::Zero(d), sum2 = hn::Zero(d), sum3 = hn::Zero(d);
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    sum0 = Term::Add(load(a + i), load(b + i), sum0);
    sum1 = Term::Add(load(a + i + lanes), load(b + i + lanes), sum1);
    sum2 = Term::Add(load(a + i + 2 * lanes), load(b + i + 2 * lanes), sum2);
    sum3 = Term::Add(load(a + i + 3 * lanes), load(b + i + 3 * lanes), sum3);
  }
  for (; i + lanes <= n; i += lanes) sum0 = Term::Add(load(a + i), load(b + i), sum0);
  sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
#endif
  for (; i < n; ++i) sum = Term::AddOne(a[i], b[i], sum);
  return sum;
}

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
  return SumInDouble<SquaredDifference>(a, b, n);
}
double AbsoluteDifferencesKernel(const float* a, const float* b, size_t n) {
  return SumInDouble<AbsoluteDifference>(a, b, n);
}
double ProductsKernel(const float* a, const float* b, size_t n) {
  return SumInDouble<Product>(a, b, n);
}

// One pass over both arrays; all three sums take their terms in the same order.
CosineTerms CosineKernel(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, size_t n) {
  size_t i = 0;
  CosineTerms terms;
#if HWY_HAVE_FLOAT64
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> narrow;
  const size_t lanes = hn::Lanes(d);
  auto ab0 = hn::Zero(d), ab1 = hn::Zero(d);
  auto aa0 = hn::Zero(d), aa1 = hn::Zero(d);
  auto bb0 = hn::Zero(d), bb1 = hn::Zero(d);
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto a0 = hn::PromoteTo(d, hn::LoadU(narrow, a + i));
    const auto b0 = hn::PromoteTo(d, hn::LoadU(narrow, b + i));
    const auto a1 = hn::PromoteTo(d, hn::LoadU(narrow, a + i + lanes));
    const auto b1 = hn::PromoteTo(d, hn::LoadU(narrow, b + i + lanes));
    ab0 = hn::MulAdd(a0, b0, ab0);
    aa0 = hn::MulAdd(a0, a0, aa0);
    bb0 = hn::MulAdd(b0, b0, bb0);
    ab1 = hn::MulAdd(a1, b1, ab1);
    aa1 = hn::MulAdd(a1, a1, aa1);
    bb1 = hn::MulAdd(b1, b1, bb1);
  }
  terms.product = hn::GetLane(hn::SumOfLanes(d, hn::Add(ab0, ab1)));
  terms.squared_norm_a = hn::GetLane(hn::SumOfLanes(d, hn::Add(aa0, aa1)));
  terms.squared_norm_b = hn::GetLane(hn::SumOfLanes(d, hn::Add(bb0, bb1)));
#endif
  for (; i < n; ++i) {
    terms.product = Product::AddOne(a[i], b[i], terms.product);
    terms.squared_norm_a = Product::AddOne(a[i], a[i], terms.squared_norm_a);
    terms.squared_norm_b = Product::AddOne(b[i], b[i], terms.squared_norm_b);
  }
  return terms;
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
