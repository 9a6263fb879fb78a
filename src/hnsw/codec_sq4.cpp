// See codec_sq4.hpp. How the lower bounds are derived:
//
// Let q' and y be the query and a vector in the frame of the codes, q^ and y^ what their codes say, e_q =
// q' - q^ and e_y = y - y^. The bound of sq8, |q' - y| >= |q^ - y^| - |e_q| - |e_y|, supposes that an error
// points straight at the other vector; with 4 bits nearly everything would have to be re-ranked. But an error
// is a vector of many small roundings, whose signs know nothing of the other vector. Assumption: its
// components are independent, of mean zero and of one variance, |e|^2 / D. Then the product with a vector v
// that does not depend on it has standard deviation |v| |e| / sqrt(D) (as for random directions on the
// sphere: J. Gao and C. Long, RaBitQ, SIGMOD 2024), and is a sum of D terms, nearly normal: beyond
// share * |v| |e|, share = z / sqrt(D), in 3 of 100,000 cases on the side that counts, for z = 4.
//
// The mean is zero because offset and step are the least squares fit of the components: then e_y is
// orthogonal to (1, ..., 1) and to y^. With the least component as the offset the many zeros of a sparse
// vector would all be off by the same amount in the same direction, and bounds fail by the thousand.
// Likewise the query's step is fitted, so that e_q is orthogonal to q^.
//
// With u = q' - y and d = |u|, q^ - y^ = u + e_y - e_q, and what the codes say to be the squared distance is
//   d^2 + |e_y|^2 + |e_q|^2 + 2 u (e_y - e_q) - 2 e_y e_q  <=  d^2 + 2 share d |e| + |e|^2
// with |e|^2 = |e_y|^2 + |e_q|^2 + 2 share |e_y| |e_q|. Solved for d:
//   d >= sqrt(square - |e|^2 (1 - share^2)) - share |e|
// which is sq8's bound for share = 1, as it is for D <= 16. Where square is less than what is subtracted,
// 0 is a bound: a query that is in the table finds itself. The bound is about 2 share d |e| below the
// estimate, where a bound of the estimate itself, whose error is 2 q' e_y, is 2 share |q'| |e| below. It
// supposes that u does not depend on e_y, as for queries near the vector; for a query that has nothing to do
// with the vector u e_y is -|e_y|^2 in the mean, and the bound merely lower than it need be.
//
// Under inner product the error is q e_y + e_q y^. With q = a y + w, where w does not depend on e_y, q e_y is
// a |e_y|^2 + w e_y, and a is at most |q| / |y|: the first term is not an error by chance and is allowed for
// in full.

#include "hnsw/codec_sq4.hpp"

#include <algorithm>
#include <cmath>

namespace vecckpt {

namespace {

// How many standard deviations.
constexpr double kCertainty = 4;

}  // namespace

double Sq4Levels::ErrorShare(size_t dims) {
  return std::min(1.0, kCertainty / std::sqrt(static_cast<double>(dims)));
}

double Sq4Levels::LeastDistance(double square, double code_error, double query_error, double share) {
  const double squared_error =
      code_error * code_error + query_error * query_error + 2 * share * code_error * query_error;
  const double rest = square - squared_error * (1 - share * share);
  return std::sqrt(std::max(0.0, rest)) - share * std::sqrt(squared_error);
}

double Sq4Levels::ProductError(double code_error, double code_norm, double query_error, double query_norm,
                               double share) {
  const double along = code_error < code_norm ? code_error / code_norm : 1;
  return code_error * query_norm * std::min(1.0, share + along) + share * code_norm * query_error;
}

}  // namespace vecckpt
