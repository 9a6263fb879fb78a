// The SIMD kernels, chosen at run time for the processor (Highway's dynamic dispatch).
//
// Double kernels take float32 values, any number at any alignment, and sum in double: a product of two
// float32 values is exact there and no sum of kMaxDims terms overflows. Float kernels sum in float32 and are
// for codes, whose length is padded with zeros to a multiple of kFloatBlock.
//
// Every kernel of two arrays gives the same bits when they are exchanged.
//
// Thread safety: pure functions.

#pragma once

#include <cstddef>

namespace vecckpt {

constexpr size_t kFloatBlock = 16;

double SumOfSquaredDifferences(const float* a, const float* b, size_t n);
double SumOfAbsoluteDifferences(const float* a, const float* b, size_t n);
double SumOfProducts(const float* a, const float* b, size_t n);

struct CosineTerms {
  double product = 0;         // the sum of a_i * b_i
  double squared_norm_a = 0;  // the sum of a_i * a_i, the same bits as `product` if b equals a
  double squared_norm_b = 0;
};
CosineTerms SumCosineTerms(const float* a, const float* b, size_t n);

// REQUIRES for all below: n is a multiple of kFloatBlock.
float FloatSumOfSquaredDifferences(const float* a, const float* b, size_t n);
float FloatSumOfAbsoluteDifferences(const float* a, const float* b, size_t n);
float FloatSumOfProducts(const float* a, const float* b, size_t n);
float FloatSumOfAbsoluteProducts(const float* a, const float* b, size_t n);

// How many roundings, at most, lie between a term of a float kernel and its result, those of the term's own
// computation included. The sum's error is at most this times 2^-24 (and a hair) of the sum of the terms'
// magnitudes, besides what underflows.
size_t FloatRoundings(size_t n);

}  // namespace vecckpt
