// See half_kernels.hpp. Where the processor converts (F16C on x86-64, every aarch64), Highway's PromoteTo is
// that instruction. Elsewhere its substitute takes infinities and NaNs for large numbers in Highway 1.0, so
// that we bring our own.

#include "hnsw/half_kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hnsw/half_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <bit>

#include "hnsw/double_sums-inl.hpp"

// How both formats are laid out: sign, exponent, mantissa from the highest bit down. In target-independent
// code, once.
#ifndef VECCKPT_HALF_FORMAT
#define VECCKPT_HALF_FORMAT
namespace vecckpt {

constexpr uint32_t kHalfMagnitude = 0x7FFF;  // all but the sign
constexpr uint32_t kHalfInfinity = 0x7C00;
constexpr uint32_t kLeastNormalHalf = 0x0400;
constexpr float kLeastHalf = 0x1p-24f;  // a denormal Half is a multiple of it
constexpr int kMantissaShift = 23 - 10;
constexpr int kSignShift = 31 - 15;
constexpr uint32_t kExponentGain = (127 - 15) << 23;

inline float HalfToFloat(Half half) {
  const uint32_t magnitude = half.bits & kHalfMagnitude;
  const uint32_t sign = (half.bits ^ magnitude) << kSignShift;
  uint32_t bits = (magnitude << kMantissaShift) + kExponentGain;
  if (magnitude >= kHalfInfinity) bits += kExponentGain;
  if (magnitude < kLeastNormalHalf) {
    bits = std::bit_cast<uint32_t>(static_cast<float>(magnitude) * kLeastHalf);
  }
  return std::bit_cast<float>(bits | sign);
}

}  // namespace vecckpt
#endif

HWY_BEFORE_NAMESPACE();
namespace vecckpt {
namespace HWY_NAMESPACE {

#undef VECCKPT_CONVERTS_HALVES
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2 && !defined(HWY_DISABLE_F16C)
#define VECCKPT_CONVERTS_HALVES 1
#elif HWY_ARCH_ARM_A64 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
#define VECCKPT_CONVERTS_HALVES 1
#else
#define VECCKPT_CONVERTS_HALVES 0
#endif

template <class D>
HWY_INLINE hn::Vec<D> LoadAsFloats(D d, const Half* halves) {
  const hn::Rebind<uint16_t, D> d16;
  const auto bits16 = hn::LoadU(d16, &halves->bits);
#if VECCKPT_CONVERTS_HALVES
  const hn::Rebind<hwy::float16_t, D> half;
  return hn::PromoteTo(d, hn::BitCast(half, bits16));
#else
  const hn::RebindToSigned<D> d32;
  const auto bits = hn::PromoteTo(d32, bits16);
  const auto magnitude = hn::And(bits, hn::Set(d32, kHalfMagnitude));
  const auto sign = hn::ShiftLeft<kSignShift>(hn::Xor(bits, magnitude));
  const auto gain = hn::Set(d32, kExponentGain);
  const auto normal = hn::Add(hn::ShiftLeft<kMantissaShift>(magnitude), gain);
  const auto infinite = hn::Gt(magnitude, hn::Set(d32, kHalfInfinity - 1));
  const auto denormal = hn::BitCast(d32, hn::Mul(hn::ConvertTo(d, magnitude), hn::Set(d, kLeastHalf)));
  const auto is_denormal = hn::Lt(magnitude, hn::Set(d32, kLeastNormalHalf));
  const auto raised = hn::Add(normal, hn::IfThenElseZero(infinite, gain));
  return hn::BitCast(d, hn::Or(hn::IfThenElse(is_denormal, denormal, raised), sign));
#endif
}

struct Halves {
  const Half* data;
  template <class D>
  HWY_INLINE hn::Vec<D> Load(D d, size_t i) const {
    return hn::PromoteTo(d, LoadAsFloats(hn::Rebind<float, D>(), data + i));
  }
  HWY_INLINE double operator[](size_t i) const { return HalfToFloat(data[i]); }
};

void ConvertKernel(const Half* HWY_RESTRICT halves, size_t n, float* HWY_RESTRICT floats) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(LoadAsFloats(d, halves + i), d, floats + i);
  for (; i < n; ++i) floats[i] = HalfToFloat(halves[i]);
}

double MixedSquaredDifferencesKernel(const float* a, const Half* b, size_t n) {
  return SumInDouble<SquaredDifference>(Floats{a}, Halves{b}, n);
}
double MixedAbsoluteDifferencesKernel(const float* a, const Half* b, size_t n) {
  return SumInDouble<AbsoluteDifference>(Floats{a}, Halves{b}, n);
}
double MixedProductsKernel(const float* a, const Half* b, size_t n) {
  return SumInDouble<Product>(Floats{a}, Halves{b}, n);
}
CosineTerms MixedCosineKernel(const float* a, const Half* b, size_t n) {
  return CosineTermsInDouble(Floats{a}, Halves{b}, n);
}

double HalfSquaredDifferencesKernel(const Half* a, const Half* b, size_t n) {
  return SumInDouble<SquaredDifference>(Halves{a}, Halves{b}, n);
}
double HalfAbsoluteDifferencesKernel(const Half* a, const Half* b, size_t n) {
  return SumInDouble<AbsoluteDifference>(Halves{a}, Halves{b}, n);
}
double HalfProductsKernel(const Half* a, const Half* b, size_t n) {
  return SumInDouble<Product>(Halves{a}, Halves{b}, n);
}
CosineTerms HalfCosineKernel(const Half* a, const Half* b, size_t n) {
  return CosineTermsInDouble(Halves{a}, Halves{b}, n);
}

}  // namespace HWY_NAMESPACE
}  // namespace vecckpt
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vecckpt {

HWY_EXPORT(ConvertKernel);
HWY_EXPORT(MixedSquaredDifferencesKernel);
HWY_EXPORT(MixedAbsoluteDifferencesKernel);
HWY_EXPORT(MixedProductsKernel);
HWY_EXPORT(MixedCosineKernel);
HWY_EXPORT(HalfSquaredDifferencesKernel);
HWY_EXPORT(HalfAbsoluteDifferencesKernel);
HWY_EXPORT(HalfProductsKernel);
HWY_EXPORT(HalfCosineKernel);

void HalvesToFloats(const Half* halves, size_t n, float* floats) {
  HWY_DYNAMIC_DISPATCH(ConvertKernel)(halves, n, floats);
}

double SumOfSquaredDifferences(const float* a, const Half* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(MixedSquaredDifferencesKernel)(a, b, n);
}
double SumOfAbsoluteDifferences(const float* a, const Half* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(MixedAbsoluteDifferencesKernel)(a, b, n);
}
double SumOfProducts(const float* a, const Half* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(MixedProductsKernel)(a, b, n);
}
CosineTerms SumCosineTerms(const float* a, const Half* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(MixedCosineKernel)(a, b, n);
}

double SumOfSquaredDifferences(const Half* a, const Half* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(HalfSquaredDifferencesKernel)(a, b, n);
}
double SumOfAbsoluteDifferences(const Half* a, const Half* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(HalfAbsoluteDifferencesKernel)(a, b, n);
}
double SumOfProducts(const Half* a, const Half* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(HalfProductsKernel)(a, b, n);
}
CosineTerms SumCosineTerms(const Half* a, const Half* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(HalfCosineKernel)(a, b, n);
}

}  // namespace vecckpt
#endif
