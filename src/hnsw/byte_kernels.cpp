// See byte_kernels.hpp. Highway's kernel widens to 16 bits, which every processor can do; VNNI, which
// Highway 1.0 lacks, multiplies unsigned by signed bytes and adds four products to a 32-bit lane without
// saturation. Codes are unsigned, so one of two is shifted by 128, by flipping its highest bits.

#include "hnsw/byte_kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hnsw/byte_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace vecckpt {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// `read(i)` gives 16-bit lanes of the second factor from its i-th value on, `value(i)` one of them.
template <typename Read, typename Value>
HWY_INLINE int32_t WideningDot(const uint8_t* HWY_RESTRICT a, size_t n, const Read& read,
                               const Value& value) {
  size_t i = 0;
  int32_t total = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<int32_t> d32;
  const hn::Repartition<int16_t, decltype(d32)> d16;
  const hn::Rebind<uint8_t, decltype(d16)> da;
  const size_t lanes = hn::Lanes(d16);
  auto sum0 = hn::Zero(d32), sum1 = hn::Zero(d32), sum2 = hn::Zero(d32), sum3 = hn::Zero(d32);
  const auto add = [&](size_t at, auto& low, auto& high) HWY_ATTR {
    const auto from_a = hn::PromoteTo(d16, hn::LoadU(da, a + at));
    low = hn::ReorderWidenMulAccumulate(d32, from_a, read(d16, at), low, high);
  };
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    add(i, sum0, sum1);
    add(i + lanes, sum2, sum3);
  }
  if (i + lanes <= n) {
    add(i, sum0, sum1);
    i += lanes;
  }
  const auto sum = hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3));
  total = hn::GetLane(hn::SumOfLanes(d32, sum));
#else
  (void)read;
#endif
  for (; i < n; ++i) total += a[i] * value(i);
  return total;
}

int32_t DotWithSignedKernel(const uint8_t* code, const int8_t* query, size_t n) {
  const auto read = [query](auto d16, size_t i) HWY_ATTR {
    const hn::Rebind<int8_t, decltype(d16)> d8;
    return hn::PromoteTo(d16, hn::LoadU(d8, query + i));
  };
  return WideningDot(code, n, read, [query](size_t i) { return query[i]; });
}

int32_t DotShiftedKernel(const uint8_t* a, const uint8_t* b, size_t n) {
  const auto read = [b](auto d16, size_t i) HWY_ATTR {
    const hn::Rebind<uint8_t, decltype(d16)> d8;
    return hn::Sub(hn::PromoteTo(d16, hn::LoadU(d8, b + i)), hn::Set(d16, 128));
  };
  return WideningDot(a, n, read, [b](size_t i) { return b[i] - 128; });
}

}  // namespace HWY_NAMESPACE
}  // namespace vecckpt
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#if defined(__x86_64__)
#include <immintrin.h>

#include "hnsw/vnni.hpp"
#endif

namespace vecckpt {

HWY_EXPORT(DotWithSignedKernel);
HWY_EXPORT(DotShiftedKernel);

namespace {

int32_t PortableDotWithSigned(const uint8_t* code, const int8_t* query, size_t n) {
  return HWY_DYNAMIC_DISPATCH(DotWithSignedKernel)(code, query, n);
}
int32_t PortableDotShifted(const uint8_t* a, const uint8_t* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(DotShiftedKernel)(a, b, n);
}

constexpr ByteKernels kPortable{"highway", PortableDotWithSigned, PortableDotShifted};

#if defined(__x86_64__)

#define VECCKPT_AVX512 __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define VECCKPT_AVX2 __attribute__((target("avx2,avxvnni")))

VECCKPT_AVX512 int32_t Avx512DotWithSigned(const uint8_t* code, const int8_t* query, size_t n) {
  __m512i sum0 = _mm512_setzero_si512(), sum1 = sum0;
  size_t i = 0;
  for (; i + 128 <= n; i += 128) {
    sum0 = _mm512_dpbusd_epi32(sum0, _mm512_loadu_si512(code + i), _mm512_loadu_si512(query + i));
    sum1 = _mm512_dpbusd_epi32(sum1, _mm512_loadu_si512(code + i + 64), _mm512_loadu_si512(query + i + 64));
  }
  if (i + 64 <= n) {
    sum0 = _mm512_dpbusd_epi32(sum0, _mm512_loadu_si512(code + i), _mm512_loadu_si512(query + i));
    i += 64;
  }
  if (i < n) {
    const __mmask64 rest = ~uint64_t{0} >> (64 - (n - i));
    sum1 = _mm512_dpbusd_epi32(sum1, _mm512_maskz_loadu_epi8(rest, code + i),
                               _mm512_maskz_loadu_epi8(rest, query + i));
  }
  return _mm512_reduce_add_epi32(_mm512_add_epi32(sum0, sum1));
}

VECCKPT_AVX512 inline __m512i Avx512Shifted(__m512i unsigned_bytes) {
  return _mm512_xor_si512(unsigned_bytes, _mm512_set1_epi8(-128));
}

VECCKPT_AVX512 int32_t Avx512DotShifted(const uint8_t* a, const uint8_t* b, size_t n) {
  __m512i sum0 = _mm512_setzero_si512(), sum1 = sum0;
  size_t i = 0;
  for (; i + 128 <= n; i += 128) {
    sum0 = _mm512_dpbusd_epi32(sum0, _mm512_loadu_si512(a + i), Avx512Shifted(_mm512_loadu_si512(b + i)));
    sum1 = _mm512_dpbusd_epi32(sum1, _mm512_loadu_si512(a + i + 64),
                               Avx512Shifted(_mm512_loadu_si512(b + i + 64)));
  }
  if (i + 64 <= n) {
    sum0 = _mm512_dpbusd_epi32(sum0, _mm512_loadu_si512(a + i), Avx512Shifted(_mm512_loadu_si512(b + i)));
    i += 64;
  }
  if (i < n) {
    const __mmask64 rest = ~uint64_t{0} >> (64 - (n - i));
    sum1 = _mm512_dpbusd_epi32(sum1, _mm512_maskz_loadu_epi8(rest, a + i),
                               Avx512Shifted(_mm512_maskz_loadu_epi8(rest, b + i)));
  }
  return _mm512_reduce_add_epi32(_mm512_add_epi32(sum0, sum1));
}

VECCKPT_AVX2 inline int32_t Avx2Total(__m256i sum) {
  __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xB1));
  return _mm_cvtsi128_si32(half);
}

VECCKPT_AVX2 inline __m256i Avx2Load(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

VECCKPT_AVX2 int32_t AvxVnniDotWithSigned(const uint8_t* code, const int8_t* query, size_t n) {
  __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0;
  size_t i = 0;
  for (; i + 64 <= n; i += 64) {
    sum0 = _mm256_dpbusd_avx_epi32(sum0, Avx2Load(code + i), Avx2Load(query + i));
    sum1 = _mm256_dpbusd_avx_epi32(sum1, Avx2Load(code + i + 32), Avx2Load(query + i + 32));
  }
  if (i + 32 <= n) {
    sum0 = _mm256_dpbusd_avx_epi32(sum0, Avx2Load(code + i), Avx2Load(query + i));
    i += 32;
  }
  int32_t total = Avx2Total(_mm256_add_epi32(sum0, sum1));
  for (; i < n; ++i) total += code[i] * query[i];
  return total;
}

VECCKPT_AVX2 int32_t AvxVnniDotShifted(const uint8_t* a, const uint8_t* b, size_t n) {
  const __m256i highest_bits = _mm256_set1_epi8(-128);
  __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0;
  size_t i = 0;
  for (; i + 64 <= n; i += 64) {
    sum0 = _mm256_dpbusd_avx_epi32(sum0, Avx2Load(a + i), _mm256_xor_si256(Avx2Load(b + i), highest_bits));
    sum1 = _mm256_dpbusd_avx_epi32(sum1, Avx2Load(a + i + 32),
                                   _mm256_xor_si256(Avx2Load(b + i + 32), highest_bits));
  }
  if (i + 32 <= n) {
    sum0 = _mm256_dpbusd_avx_epi32(sum0, Avx2Load(a + i), _mm256_xor_si256(Avx2Load(b + i), highest_bits));
    i += 32;
  }
  int32_t total = Avx2Total(_mm256_add_epi32(sum0, sum1));
  for (; i < n; ++i) total += a[i] * (b[i] - 128);
  return total;
}

#undef VECCKPT_AVX512
#undef VECCKPT_AVX2

#endif  // __x86_64__

struct Usable {
  ByteKernels kernels[3];
  size_t count = 0;

  Usable() {
#if defined(__x86_64__)
    if (HasAvx512Vnni()) kernels[count++] = {"avx512-vnni", Avx512DotWithSigned, Avx512DotShifted};
    if (HasAvxVnni()) kernels[count++] = {"avx-vnni", AvxVnniDotWithSigned, AvxVnniDotShifted};
#endif
    kernels[count++] = kPortable;
  }
};

}  // namespace

std::span<const ByteKernels> AllByteKernels() {
  static const Usable usable;
  return {usable.kernels, usable.count};
}

const ByteKernels& BestByteKernels() {
  return AllByteKernels().front();
}

}  // namespace vecckpt
#endif
