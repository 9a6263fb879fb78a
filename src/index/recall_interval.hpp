// What the recalls of sampled queries say about the mean recall of all queries.
//
// The recalls of single queries are no coin throws: hard queries miss many rows at once, easy ones none. So
// the interval comes from how much the queries differ (Student's t), not from the number of rows compared,
// and is cut to [0, 1]. Where all queries have the same recall there is no difference to go by, and the rule
// of three takes its place: of n queries none was otherwise, so at most 3 in n of all are.

#pragma once

#include <span>

namespace vecckpt {

struct RecallInterval {
  double mean = 0;
  double low = 0;
  double high = 1;
};

// The mean of the recalls, each within [0, 1], and its 95 % confidence interval. One recall says nothing
// about the interval, and none about the mean.
RecallInterval MeanRecall(std::span<const double> recalls);

}  // namespace vecckpt
