// See codec_sq8.hpp. How the lower bounds are derived:
//
// Let q' and y be the query and a vector in the frame of the codes, q^ and y^ what their bytes say, e_q and
// e_y the norms of the differences, which are known (the stored one is rounded up, and grows when a code is
// transcoded). Under L2 and cosine the triangle inequality gives |q' - y| >= |q^ - y^| - e_q - e_y. Its
// square is tighter near the query than the squared estimate minus 2 (e_y |q'| + |y^| e_q), and does not
// depend on the stored norm of y. Under inner product |q y - q^ y^| <= e_y |q| + |y^| e_q.

#include "hnsw/codec_sq8.hpp"

#include <cmath>

namespace vecckpt {

double Sq8Levels::LeastDistance(double square, double code_error, double query_error, double) {
  return std::sqrt(square) - code_error - query_error;
}

}  // namespace vecckpt
