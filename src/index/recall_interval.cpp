// See recall_interval.hpp.

#include "index/recall_interval.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace vecckpt {

namespace {

// The 97.5 % quantile of Student's t. Exact for 1 and 2 degrees of freedom; beyond, the normal quantile and
// the first three terms of the Cornish-Fisher expansion, less than 1 in 100 off (Abramowitz and Stegun,
// 26.7.5).
double StudentQuantile(size_t degrees) {
  if (degrees == 1) return 12.7062;
  if (degrees == 2) return 4.30265;
  const double z = 1.959964;
  const double z2 = z * z;
  const double n = static_cast<double>(degrees);
  const double first = z * (z2 + 1) / 4;
  const double second = z * ((5 * z2 + 16) * z2 + 3) / 96;
  const double third = z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / 384;
  return z + first / n + second / (n * n) + third / (n * n * n);
}

}  // namespace

RecallInterval MeanRecall(std::span<const double> recalls) {
  RecallInterval interval;
  if (recalls.empty()) return interval;
  const double n = static_cast<double>(recalls.size());
  double sum = 0;
  for (double recall : recalls) sum += recall;
  interval.mean = sum / n;
  if (recalls.size() == 1) return interval;

  const auto [least, most] = std::minmax_element(recalls.begin(), recalls.end());
  if (*least == *most) {
    const double others = std::min(3 / n, 1.0);
    interval.mean = *least;
    interval.low = interval.mean - others * interval.mean;
    interval.high = interval.mean + others * (1 - interval.mean);
    return interval;
  }
  double squares = 0;
  for (double recall : recalls) squares += (recall - interval.mean) * (recall - interval.mean);
  const double spread = interval.mean * (1 - interval.mean);  // the largest variance that this mean allows
  const double t = StudentQuantile(recalls.size() - 1);
  // t squared, by how many coin throws the queries are worth.
  const double weight = t * t * (squares / (n - 1) / n) / spread;
  const double center = (interval.mean + weight / 2) / (1 + weight);
  const double half_width = std::sqrt(weight * (spread + weight / 4)) / (1 + weight);
  interval.low = std::max(center - half_width, 0.0);
  interval.high = std::min(center + half_width, 1.0);
  return interval;
}

}  // namespace vecckpt
