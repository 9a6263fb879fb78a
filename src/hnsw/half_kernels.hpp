// Kernels of float16 values, chosen at run time for the processor: the sums in double of kernels.hpp, and the
// conversion to float32.
//
// Every Half has a float32 that is equal to it, denormals included; infinity becomes infinity and NaN a NaN.
// A sum has the bits that kernels.hpp gives for these float32 values, NaNs aside, so that float16 vectors and
// converted ones are never ordered differently. It is infinite or NaN if a value is.
//
// Thread safety: pure functions.

#pragma once

#include <cstddef>

#include "hnsw/kernels.hpp"
#include "hnsw/types.hpp"

namespace vecckpt {

// Any number of values, at any alignment of their types.
void HalvesToFloats(const Half* halves, size_t n, float* floats);

double SumOfSquaredDifferences(const float* a, const Half* b, size_t n);
double SumOfAbsoluteDifferences(const float* a, const Half* b, size_t n);
double SumOfProducts(const float* a, const Half* b, size_t n);
CosineTerms SumCosineTerms(const float* a, const Half* b, size_t n);

double SumOfSquaredDifferences(const Half* a, const Half* b, size_t n);
double SumOfAbsoluteDifferences(const Half* a, const Half* b, size_t n);
double SumOfProducts(const Half* a, const Half* b, size_t n);
CosineTerms SumCosineTerms(const Half* a, const Half* b, size_t n);

}  // namespace vecckpt
