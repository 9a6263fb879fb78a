// The loops that encoding runs over the components of a vector, for the codecs of scalar_codec.hpp. Chosen at
// run time for the processor, as the kernels of kernels.hpp.
//
// Components are doubles: a vector x in the frame of the codes, and its mean, float32; y = x - mean. Levels
// come out the same on every processor; sums may differ in their last bits.
//
// Thread safety: pure functions.

#pragma once

#include <cstddef>
#include <cstdint>

namespace vecckpt {

// The largest |value|, 0 of none; NaN values do not count.
float LargestMagnitude(const float* values, size_t n);

// out[i] = values[i] * scale.
void ScaleValues(const float* values, double scale, size_t n, double* out);

// Lowers *low and raises *high to the least and the greatest y. NaN components do not count.
void WidenRange(const double* x, const float* mean, size_t n, double* low, double* high);

// A component's level: (y - first) * inverse, rounded, within 0 and `highest`, a whole number up to 255. 0
// for NaN.
struct LevelRule {
  double first;
  double inverse;
  double highest;
};

// Of the (level, y) pairs of components, for the line through them.
struct LineSums {
  double levels = 0;
  double level_squares = 0;
  double components = 0;
  double products = 0;
};
void AddToLine(const double* x, const float* mean, size_t n, const LevelRule& rule, LineSums* sums);

// What a code and its bounds are made of; a level says offset + step * level.
struct CodeSums {
  double levels = 0;
  double squared_error = 0;  // of y - said
  double square = 0;         // of y
  double said_square = 0;
  double with_mean = 0;  // y * mean
  double length = 0;     // squared, of x
};
void WriteLevels(const double* x, const float* mean, size_t n, const LevelRule& rule, double offset,
                 double step, uint8_t* levels, CodeSums* sums);

}  // namespace vecckpt
