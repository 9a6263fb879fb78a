// See nibble_kernels.hpp. Highway's kernel treats two code bytes as one 16-bit lane with four nibbles, each
// of which meets a query byte that is widened to 16 bits. VNNI multiplies unsigned by signed bytes; high
// nibbles stay where they are, times 16, and their sum is shifted at the end.

#include "hnsw/nibble_kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hnsw/nibble_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace vecckpt {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR

// The sum over 2 * Lanes(d8) dimensions, two 16-bit halves of a register at a time: `low` and `high` are the
// query's bytes for the low and the high nibbles. Even and odd bytes are told apart in the same way for codes
// and query, so that byte order does not matter.
template <class D8, class V32>
HWY_INLINE void AddWithSigned(D8 d8, const uint8_t* code, const int8_t* low, const int8_t* high, V32& sum0,
                              V32& sum1) {
  const hn::Repartition<int32_t, D8> d32;
  const hn::Repartition<int16_t, D8> d16;
  const hn::Repartition<uint16_t, D8> du16;
  const hn::RebindToSigned<D8> ds8;
  const auto nibble = hn::Set(du16, uint16_t{15});
  const auto codes = hn::BitCast(du16, hn::LoadU(d8, code));
  const auto add = [&](auto nibbles, auto query) HWY_ATTR {
    sum0 = hn::ReorderWidenMulAccumulate(d32, hn::BitCast(d16, nibbles), query, sum0, sum1);
  };
  const auto lows = hn::BitCast(d16, hn::LoadU(ds8, low));
  const auto highs = hn::BitCast(d16, hn::LoadU(ds8, high));
  add(hn::And(codes, nibble), hn::ShiftRight<8>(hn::ShiftLeft<8>(lows)));
  add(hn::And(hn::ShiftRight<4>(codes), nibble), hn::ShiftRight<8>(hn::ShiftLeft<8>(highs)));
  add(hn::And(hn::ShiftRight<8>(codes), nibble), hn::ShiftRight<8>(lows));
  add(hn::ShiftRight<12>(codes), hn::ShiftRight<8>(highs));
}

template <class D8, class V32>
HWY_INLINE void AddNibbles(D8 d8, const uint8_t* a, const uint8_t* b, V32& sum0, V32& sum1) {
  const hn::Repartition<int32_t, D8> d32;
  const hn::Repartition<int16_t, D8> d16;
  const hn::Repartition<uint16_t, D8> du16;
  const auto nibble = hn::Set(du16, uint16_t{15});
  const auto from_a = hn::BitCast(du16, hn::LoadU(d8, a));
  const auto from_b = hn::BitCast(du16, hn::LoadU(d8, b));
  const auto add = [&](auto x, auto y) HWY_ATTR {
    sum0 = hn::ReorderWidenMulAccumulate(d32, hn::BitCast(d16, x), hn::BitCast(d16, y), sum0, sum1);
  };
  add(hn::And(from_a, nibble), hn::And(from_b, nibble));
  add(hn::And(hn::ShiftRight<4>(from_a), nibble), hn::And(hn::ShiftRight<4>(from_b), nibble));
  add(hn::And(hn::ShiftRight<8>(from_a), nibble), hn::And(hn::ShiftRight<8>(from_b), nibble));
  add(hn::ShiftRight<12>(from_a), hn::ShiftRight<12>(from_b));
}

template <class D8, class V32>
HWY_INLINE int32_t Total(D8, V32 sum0, V32 sum1) {
  const hn::Repartition<int32_t, D8> d32;
  return hn::GetLane(hn::SumOfLanes(d32, hn::Add(sum0, sum1)));
}

#endif

// `n` dimensions of one block, from byte `i` on.
HWY_INLINE int32_t PlainDotWithSigned(const uint8_t* code, const int8_t* query, size_t n, size_t i) {
  const size_t half = NibbleBytes(n), highs = n / 2;
  int32_t total = 0;
  for (; i < highs; ++i) total += (code[i] & 15) * query[i] + (code[i] >> 4) * query[half + i];
  return i < half ? total + (code[i] & 15) * query[i] : total;
}

#if HWY_TARGET == HWY_SCALAR

int32_t NibbleDotWithSignedKernel(const uint8_t* code, const int8_t* query, size_t n) {
  int32_t total = 0;
  for (; n >= kNibbleBlockDims; n -= kNibbleBlockDims) {
    total += PlainDotWithSigned(code, query, kNibbleBlockDims, 0);
    code += kNibbleBlockDims / 2;
    query += kNibbleBlockDims;
  }
  return total + PlainDotWithSigned(code, query, n, 0);
}

#else

int32_t NibbleDotWithSignedKernel(const uint8_t* HWY_RESTRICT code, const int8_t* HWY_RESTRICT query,
                                  size_t n) {
  const hn::CappedTag<uint8_t, 64> d8;
  const size_t lanes = hn::Lanes(d8);
  auto sum0 = hn::Zero(hn::Repartition<int32_t, decltype(d8)>()), sum1 = sum0;
  for (; n >= kNibbleBlockDims; n -= kNibbleBlockDims) {
    for (size_t i = 0; i < 64; i += lanes) AddWithSigned(d8, code + i, query + i, query + 64 + i, sum0, sum1);
    code += kNibbleBlockDims / 2;
    query += kNibbleBlockDims;
  }
  // What is left is shorter than a block.
  const hn::CappedTag<uint8_t, 16> few8;
  const size_t few = hn::Lanes(few8), half = NibbleBytes(n);
  auto few0 = hn::Zero(hn::Repartition<int32_t, decltype(few8)>()), few1 = few0;
  size_t i = 0;
  for (; i + few <= n / 2; i += few) {
    AddWithSigned(few8, code + i, query + i, query + half + i, few0, few1);
  }
  return Total(d8, sum0, sum1) + Total(few8, few0, few1) + PlainDotWithSigned(code, query, n, i);
}

#endif

// Where a nibble lies does not matter to two codes.
int32_t NibbleDotKernel(const uint8_t* HWY_RESTRICT a, const uint8_t* HWY_RESTRICT b, size_t n) {
  const size_t bytes = NibbleBytes(n);
  int32_t total = 0;
  size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<uint8_t> d8;
  const size_t lanes = hn::Lanes(d8);
  auto sum0 = hn::Zero(hn::Repartition<int32_t, decltype(d8)>()), sum1 = sum0;
  for (; i + lanes <= bytes; i += lanes) AddNibbles(d8, a + i, b + i, sum0, sum1);
  total = Total(d8, sum0, sum1);
#endif
  for (; i < bytes; ++i) total += (a[i] & 15) * (b[i] & 15) + (a[i] >> 4) * (b[i] >> 4);
  return total;
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

HWY_EXPORT(NibbleDotWithSignedKernel);
HWY_EXPORT(NibbleDotKernel);

namespace {

int32_t PortableDotWithSigned(const uint8_t* code, const int8_t* query, size_t n) {
  return HWY_DYNAMIC_DISPATCH(NibbleDotWithSignedKernel)(code, query, n);
}
int32_t PortableDot(const uint8_t* a, const uint8_t* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(NibbleDotKernel)(a, b, n);
}

constexpr NibbleKernels kPortable{"highway", PortableDotWithSigned, PortableDot};

#if defined(__x86_64__)

#define VECCKPT_AVX512 __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define VECCKPT_AVX2 __attribute__((target("avx2,avxvnni")))

VECCKPT_AVX512 inline __m512i Avx512Low(__m512i codes) {
  return _mm512_and_si512(codes, _mm512_set1_epi8(15));
}

// Times 16.
VECCKPT_AVX512 inline __m512i Avx512High(__m512i codes) {
  return _mm512_and_si512(codes, _mm512_set1_epi8(-16));
}

VECCKPT_AVX512 inline int32_t Avx512Total(__m512i low, __m512i high) {
  return _mm512_reduce_add_epi32(_mm512_add_epi32(low, _mm512_srai_epi32(high, 4)));
}

VECCKPT_AVX512 int32_t Avx512DotWithSigned(const uint8_t* code, const int8_t* query, size_t n) {
  __m512i low = _mm512_setzero_si512(), high = low;
  for (; n >= kNibbleBlockDims; n -= kNibbleBlockDims) {
    const __m512i codes = _mm512_loadu_si512(code);
    low = _mm512_dpbusd_epi32(low, Avx512Low(codes), _mm512_loadu_si512(query));
    high = _mm512_dpbusd_epi32(high, Avx512High(codes), _mm512_loadu_si512(query + 64));
    code += 64;
    query += 128;
  }
  if (n > 0) {
    const size_t half = NibbleBytes(n);
    const __mmask64 lows = ~uint64_t{0} >> (64 - half), highs = lows >> (n & 1);
    const __m512i codes = _mm512_maskz_loadu_epi8(lows, code);
    low = _mm512_dpbusd_epi32(low, Avx512Low(codes), _mm512_maskz_loadu_epi8(lows, query));
    high = _mm512_dpbusd_epi32(high, Avx512High(codes), _mm512_maskz_loadu_epi8(highs, query + half));
  }
  return Avx512Total(low, high);
}

VECCKPT_AVX512 inline void Avx512Add(__m512i a, __m512i b, __m512i* low, __m512i* high) {
  *low = _mm512_dpbusd_epi32(*low, Avx512Low(a), Avx512Low(b));
  *high = _mm512_dpbusd_epi32(*high, Avx512High(a), Avx512Low(_mm512_srli_epi16(b, 4)));
}

VECCKPT_AVX512 int32_t Avx512Dot(const uint8_t* a, const uint8_t* b, size_t n) {
  const size_t bytes = NibbleBytes(n);
  __m512i low = _mm512_setzero_si512(), high = low;
  size_t i = 0;
  for (; i + 64 <= bytes; i += 64) {
    Avx512Add(_mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i), &low, &high);
  }
  if (i < bytes) {
    const __mmask64 rest = ~uint64_t{0} >> (64 - (bytes - i));
    Avx512Add(_mm512_maskz_loadu_epi8(rest, a + i), _mm512_maskz_loadu_epi8(rest, b + i), &low, &high);
  }
  return Avx512Total(low, high);
}

VECCKPT_AVX2 inline __m256i Avx2Load(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

VECCKPT_AVX2 inline __m256i Avx2Low(__m256i codes) {
  return _mm256_and_si256(codes, _mm256_set1_epi8(15));
}

// Times 16.
VECCKPT_AVX2 inline __m256i Avx2High(__m256i codes) {
  return _mm256_and_si256(codes, _mm256_set1_epi8(-16));
}

VECCKPT_AVX2 inline __m128i Load16(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}

VECCKPT_AVX2 inline int32_t Avx2Total(__m256i low, __m256i high) {
  const __m256i sum = _mm256_add_epi32(low, _mm256_srai_epi32(high, 4));
  __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xB1));
  return _mm_cvtsi128_si32(half);
}

VECCKPT_AVX2 int32_t AvxVnniDotWithSigned(const uint8_t* code, const int8_t* query, size_t n) {
  __m256i low = _mm256_setzero_si256(), high = low;
  for (; n >= kNibbleBlockDims; n -= kNibbleBlockDims) {
    for (size_t i = 0; i < 64; i += 32) {
      const __m256i codes = Avx2Load(code + i);
      low = _mm256_dpbusd_avx_epi32(low, Avx2Low(codes), Avx2Load(query + i));
      high = _mm256_dpbusd_avx_epi32(high, Avx2High(codes), Avx2Load(query + 64 + i));
    }
    code += 64;
    query += 128;
  }
  const size_t half = NibbleBytes(n), highs = n / 2;
  size_t i = 0;
  for (; i + 16 <= highs; i += 16) {
    const __m256i codes = _mm256_zextsi128_si256(Load16(code + i));
    low = _mm256_dpbusd_avx_epi32(low, Avx2Low(codes), _mm256_zextsi128_si256(Load16(query + i)));
    high = _mm256_dpbusd_avx_epi32(high, Avx2High(codes), _mm256_zextsi128_si256(Load16(query + half + i)));
  }
  int32_t total = Avx2Total(low, high);
  for (; i < highs; ++i) total += (code[i] & 15) * query[i] + (code[i] >> 4) * query[half + i];
  return i < half ? total + (code[i] & 15) * query[i] : total;
}

VECCKPT_AVX2 int32_t AvxVnniDot(const uint8_t* a, const uint8_t* b, size_t n) {
  const size_t bytes = NibbleBytes(n);
  __m256i low = _mm256_setzero_si256(), high = low;
  size_t i = 0;
  for (; i + 32 <= bytes; i += 32) {
    const __m256i from_a = Avx2Load(a + i), from_b = Avx2Load(b + i);
    low = _mm256_dpbusd_avx_epi32(low, Avx2Low(from_a), Avx2Low(from_b));
    high = _mm256_dpbusd_avx_epi32(high, Avx2High(from_a), Avx2Low(_mm256_srli_epi16(from_b, 4)));
  }
  int32_t total = Avx2Total(low, high);
  for (; i < bytes; ++i) total += (a[i] & 15) * (b[i] & 15) + (a[i] >> 4) * (b[i] >> 4);
  return total;
}

#undef VECCKPT_AVX512
#undef VECCKPT_AVX2

#endif  // __x86_64__

struct Usable {
  NibbleKernels kernels[3];
  size_t count = 0;

  Usable() {
#if defined(__x86_64__)
    if (HasAvx512Vnni()) kernels[count++] = {"avx512-vnni", Avx512DotWithSigned, Avx512Dot};
    if (HasAvxVnni()) kernels[count++] = {"avx-vnni", AvxVnniDotWithSigned, AvxVnniDot};
#endif
    kernels[count++] = kPortable;
  }
};

}  // namespace

std::span<const NibbleKernels> AllNibbleKernels() {
  static const Usable usable;
  return {usable.kernels, usable.count};
}

const NibbleKernels& BestNibbleKernels() {
  return AllNibbleKernels().front();
}

}  // namespace vecckpt
#endif
