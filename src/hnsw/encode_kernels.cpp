// See encode_kernels.hpp. This file is compiled once per target by Highway's foreach_target.h. Every loop
// goes through whole vectors first, where the target has vectors of doubles, then through what remains.

#include "hnsw/encode_kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hnsw/encode_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace vecckpt {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

float MagnitudeKernel(const float* values, size_t n) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  auto largest = hn::Zero(d);
  for (; i + lanes <= n; i += lanes) {
    const auto magnitude = hn::Abs(hn::LoadU(d, values + i));
    largest = hn::IfThenElse(hn::Gt(magnitude, largest), magnitude, largest);
  }
  float result = hn::GetLane(hn::MaxOfLanes(d, largest));
  for (; i < n; ++i) result = std::max(result, std::fabs(values[i]));
  return result;
}

void ScaleKernel(const float* values, double scale, size_t n, double* out) {
  size_t i = 0;
#if HWY_HAVE_FLOAT64
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> d32;
  const size_t lanes = hn::Lanes(d);
  const auto factor = hn::Set(d, scale);
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::Mul(hn::PromoteTo(d, hn::LoadU(d32, values + i)), factor), d, out + i);
#endif
  for (; i < n; ++i) out[i] = values[i] * scale;
}

// One component of y, and a vector of them.
HWY_INLINE double WithoutMean(const double* x, const float* mean, size_t i) {
  return x[i] - mean[i];
}
template <class D>
HWY_INLINE hn::Vec<D> MeanAt(D d, const float* mean, size_t i) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, D>(), mean + i));
}

void RangeKernel(const double* x, const float* mean, size_t n, double* low, double* high) {
  size_t i = 0;
#if HWY_HAVE_FLOAT64
  const hn::ScalableTag<double> d;
  const size_t lanes = hn::Lanes(d);
  auto lows = hn::Set(d, *low), highs = hn::Set(d, *high);
  for (; i + lanes <= n; i += lanes) {
    const auto y = hn::Sub(hn::LoadU(d, x + i), MeanAt(d, mean, i));
    lows = hn::IfThenElse(hn::Lt(y, lows), y, lows);
    highs = hn::IfThenElse(hn::Gt(y, highs), y, highs);
  }
  *low = hn::GetLane(hn::MinOfLanes(d, lows));
  *high = hn::GetLane(hn::MaxOfLanes(d, highs));
#endif
  for (; i < n; ++i) {
    const double y = WithoutMean(x, mean, i);
    *low = std::min(*low, y);
    *high = std::max(*high, y);
  }
}

// A level as a double that is still to be truncated. In this order it is 0 for NaN.
HWY_INLINE double UntruncatedLevel(double y, const LevelRule& rule) {
  return std::max(0.0, std::min((y - rule.first) * rule.inverse, rule.highest) + 0.5);
}

#if HWY_HAVE_FLOAT64
template <class D>
struct VectorRule {
  D d;
  hn::Vec<D> first, inverse, highest;
  VectorRule(D tag, const LevelRule& rule)
      : d(tag),
        first(hn::Set(tag, rule.first)),
        inverse(hn::Set(tag, rule.inverse)),
        highest(hn::Set(tag, rule.highest)) {}
  // Whole numbers.
  HWY_INLINE hn::VFromD<hn::Rebind<int32_t, D>> LevelsOf(hn::Vec<D> y) const {
    auto steps = hn::Mul(hn::Sub(y, first), inverse);
    steps = hn::Add(hn::IfThenElse(hn::Lt(highest, steps), highest, steps), hn::Set(d, 0.5));
    steps = hn::IfThenElseZero(hn::Gt(steps, hn::Zero(d)), steps);
    return hn::DemoteTo(hn::Rebind<int32_t, D>(), steps);
  }
};

template <class D>
HWY_INLINE double Total(D d, hn::Vec<D> sum) {
  return hn::GetLane(hn::SumOfLanes(d, sum));
}
#endif

void LineKernel(const double* x, const float* mean, size_t n, const LevelRule& rule, LineSums* sums) {
  size_t i = 0;
#if HWY_HAVE_FLOAT64
  const hn::ScalableTag<double> d;
  const size_t lanes = hn::Lanes(d);
  const VectorRule<decltype(d)> vector_rule(d, rule);
  auto levels = hn::Zero(d), level_squares = hn::Zero(d), components = hn::Zero(d), products = hn::Zero(d);
  for (; i + lanes <= n; i += lanes) {
    const auto y = hn::Sub(hn::LoadU(d, x + i), MeanAt(d, mean, i));
    const auto level = hn::PromoteTo(d, vector_rule.LevelsOf(y));
    levels = hn::Add(levels, level);
    level_squares = hn::MulAdd(level, level, level_squares);
    components = hn::Add(components, y);
    products = hn::MulAdd(level, y, products);
  }
  sums->levels += Total(d, levels);
  sums->level_squares += Total(d, level_squares);
  sums->components += Total(d, components);
  sums->products += Total(d, products);
#endif
  for (; i < n; ++i) {
    const double y = WithoutMean(x, mean, i);
    const double level = std::floor(UntruncatedLevel(y, rule));
    sums->levels += level;
    sums->level_squares += level * level;
    sums->components += y;
    sums->products += level * y;
  }
}

void LevelsKernel(const double* x, const float* mean, size_t n, const LevelRule& rule, double offset,
                  double step, uint8_t* levels, CodeSums* sums) {
  size_t i = 0;
#if HWY_HAVE_FLOAT64
  const hn::ScalableTag<double> d;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const size_t lanes = hn::Lanes(d);
  const VectorRule<decltype(d)> vector_rule(d, rule);
  const auto offsets = hn::Set(d, offset), steps = hn::Set(d, step);
  auto level_sum = hn::Zero(d), error = hn::Zero(d), square = hn::Zero(d), said_square = hn::Zero(d),
       with_mean = hn::Zero(d), length = hn::Zero(d);
  for (; i + lanes <= n; i += lanes) {
    const auto component = hn::LoadU(d, x + i), middle = MeanAt(d, mean, i);
    const auto y = hn::Sub(component, middle);
    const auto level32 = vector_rule.LevelsOf(y);
    hn::StoreU(hn::DemoteTo(d8, level32), d8, levels + i);
    const auto level = hn::PromoteTo(d, level32);
    const auto said = hn::Add(offsets, hn::Mul(steps, level));
    const auto missed = hn::Sub(y, said);
    level_sum = hn::Add(level_sum, level);
    error = hn::MulAdd(missed, missed, error);
    square = hn::MulAdd(y, y, square);
    said_square = hn::MulAdd(said, said, said_square);
    with_mean = hn::MulAdd(y, middle, with_mean);
    length = hn::MulAdd(component, component, length);
  }
  sums->levels += Total(d, level_sum);
  sums->squared_error += Total(d, error);
  sums->square += Total(d, square);
  sums->said_square += Total(d, said_square);
  sums->with_mean += Total(d, with_mean);
  sums->length += Total(d, length);
#endif
  for (; i < n; ++i) {
    const double y = WithoutMean(x, mean, i);
    levels[i] = static_cast<uint8_t>(UntruncatedLevel(y, rule));
    const double said = offset + step * levels[i];
    sums->levels += levels[i];
    sums->squared_error += (y - said) * (y - said);
    sums->square += y * y;
    sums->said_square += said * said;
    sums->with_mean += y * mean[i];
    sums->length += x[i] * x[i];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace vecckpt
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vecckpt {

HWY_EXPORT(MagnitudeKernel);
HWY_EXPORT(ScaleKernel);
HWY_EXPORT(RangeKernel);
HWY_EXPORT(LineKernel);
HWY_EXPORT(LevelsKernel);

float LargestMagnitude(const float* values, size_t n) {
  return HWY_DYNAMIC_DISPATCH(MagnitudeKernel)(values, n);
}
void ScaleValues(const float* values, double scale, size_t n, double* out) {
  HWY_DYNAMIC_DISPATCH(ScaleKernel)(values, scale, n, out);
}
void WidenRange(const double* x, const float* mean, size_t n, double* low, double* high) {
  HWY_DYNAMIC_DISPATCH(RangeKernel)(x, mean, n, low, high);
}
void AddToLine(const double* x, const float* mean, size_t n, const LevelRule& rule, LineSums* sums) {
  HWY_DYNAMIC_DISPATCH(LineKernel)(x, mean, n, rule, sums);
}
void WriteLevels(const double* x, const float* mean, size_t n, const LevelRule& rule, double offset,
                 double step, uint8_t* levels, CodeSums* sums) {
  HWY_DYNAMIC_DISPATCH(LevelsKernel)(x, mean, n, rule, offset, step, levels, sums);
}

}  // namespace vecckpt
#endif
