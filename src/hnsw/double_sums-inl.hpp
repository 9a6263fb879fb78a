// The loops that sum in double, for every type that vectors are stored in (see kernels.hpp,
// half_kernels.hpp). Included once per Highway target, after foreach_target.h.
//
// An array is read through a small struct:
//   Load(d, i)      the values from number i on, as a vector of doubles
//   operator[](i)   one of them
// Reading is exact, and the order of the terms depends on their number alone: so equal values give equal
// bits, whatever type they are stored in.

#if defined(VECCKPT_DOUBLE_SUMS_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef VECCKPT_DOUBLE_SUMS_INL_HPP
#undef VECCKPT_DOUBLE_SUMS_INL_HPP
#else
#define VECCKPT_DOUBLE_SUMS_INL_HPP
#endif

#include <hwy/highway.h>

#include <cmath>

#include "hnsw/kernels.hpp"

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

struct Floats {
  const float* data;
  template <class D>
  HWY_INLINE hn::Vec<D> Load(D d, size_t i) const {
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, D>(), data + i));
  }
  HWY_INLINE double operator[](size_t i) const { return data[i]; }
};

// Four sums hide the latency of the additions and shorten the chains of roundings.
template <class Term, class A, class B>
HWY_INLINE double SumInDouble(const A a, const B b, size_t n) {
  size_t i = 0;
  double sum = 0;
#if HWY_HAVE_FLOAT64
  const hn::ScalableTag<double> d;
  const size_t lanes = hn::Lanes(d);
  auto sum0 = hn::Zero(d), sum1 = hn::Zero(d), sum2 = hn::Zero(d), sum3 = hn::Zero(d);
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    sum0 = Term::Add(a.Load(d, i), b.Load(d, i), sum0);
    sum1 = Term::Add(a.Load(d, i + lanes), b.Load(d, i + lanes), sum1);
    sum2 = Term::Add(a.Load(d, i + 2 * lanes), b.Load(d, i + 2 * lanes), sum2);
    sum3 = Term::Add(a.Load(d, i + 3 * lanes), b.Load(d, i + 3 * lanes), sum3);
  }
  for (; i + lanes <= n; i += lanes) sum0 = Term::Add(a.Load(d, i), b.Load(d, i), sum0);
  sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
#endif
  for (; i < n; ++i) sum = Term::AddOne(a[i], b[i], sum);
  return sum;
}

// One pass over both arrays; all three sums take their terms in the same order.
template <class A, class B>
HWY_INLINE CosineTerms CosineTermsInDouble(const A a, const B b, size_t n) {
  size_t i = 0;
  CosineTerms terms;
#if HWY_HAVE_FLOAT64
  const hn::ScalableTag<double> d;
  const size_t lanes = hn::Lanes(d);
  auto ab0 = hn::Zero(d), ab1 = hn::Zero(d);
  auto aa0 = hn::Zero(d), aa1 = hn::Zero(d);
  auto bb0 = hn::Zero(d), bb1 = hn::Zero(d);
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto a0 = a.Load(d, i), b0 = b.Load(d, i);
    const auto a1 = a.Load(d, i + lanes), b1 = b.Load(d, i + lanes);
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

}  // namespace HWY_NAMESPACE
}  // namespace vecckpt
HWY_AFTER_NAMESPACE();

#endif
