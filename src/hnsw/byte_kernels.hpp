// Integer dot products of 8-bit codes, chosen at run time for the processor.
//
// Every implementation gives the exact sum: none saturates (as the SSE instruction that multiplies bytes
// would), and no sum of kMaxDims products overflows 32 bits.
//
// Thread safety: pure functions.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vecckpt {

struct ByteKernels {
  const char* name;
  // The sum of code[i] * query[i], n at most kMaxDims, no alignment required.
  int32_t (*dot_with_signed)(const uint8_t* code, const int8_t* query, size_t n);
  // The sum of a[i] * (b[i] - 128): 128 times the sum of a less than that of a[i] * b[i].
  int32_t (*dot_shifted)(const uint8_t* a, const uint8_t* b, size_t n);
};

// The fastest that this processor can run.
const ByteKernels& BestByteKernels();

// All that this processor can run, the fastest first; the last is the portable one (kernels for the vector
// instructions that Highway knows, or none).
std::span<const ByteKernels> AllByteKernels();

}  // namespace vecckpt
