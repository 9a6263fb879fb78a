// Integer dot products of 4-bit codes, chosen at run time for the processor, and how such codes are packed.
//
// Dimensions are packed in blocks of 128, two a byte: byte i of a block holds the block's dimension i in its
// low half and dimension 64 + i in its high half. The last block, of r dimensions, has half = (r + 1) / 2
// bytes, and byte i holds dimensions i and half + i; if r is odd, the last high half is zero. So masking and
// shifting a register of codes gives two registers that meet contiguous parts of a query.
//
// Every implementation gives the exact sum: no product is beyond 15 * 128, so that none saturates, and no sum
// of kMaxDims products overflows 32 bits.
//
// Thread safety: pure functions.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace vecckpt {

constexpr size_t kNibbleBlockDims = 128;

constexpr size_t NibbleBytes(size_t n) {
  return (n + 1) / 2;
}

// Where dimension i of n is packed.
struct NibblePlace {
  size_t byte;
  int shift;
};

inline NibblePlace NibblePlaceOf(size_t i, size_t n) {
  const size_t begin = i / kNibbleBlockDims * kNibbleBlockDims;
  const size_t half = NibbleBytes(std::min(n - begin, kNibbleBlockDims));
  const size_t within = i - begin;
  return within < half ? NibblePlace{begin / 2 + within, 0} : NibblePlace{begin / 2 + within - half, 4};
}

struct NibbleKernels {
  const char* name;
  // The sum of code_i * query[i] over n dimensions, n at most kMaxDims, no alignment required.
  int32_t (*dot_with_signed)(const uint8_t* code, const int8_t* query, size_t n);
  // The sum of a_i * b_i of two packed codes.
  // REQUIRES: if n is odd, the half byte that is left over is zero.
  int32_t (*dot)(const uint8_t* a, const uint8_t* b, size_t n);
};

// The fastest that this processor can run.
const NibbleKernels& BestNibbleKernels();

// All that this processor can run, the fastest first; the last is the portable one.
std::span<const NibbleKernels> AllNibbleKernels();

}  // namespace vecckpt
