// What the recalls of sampled queries say about the mean recall of all queries.
//
// The recalls of single queries are no coin throws: hard queries miss many rows at once, easy ones none. So
// the interval comes from how much the queries differ (Student's t), not from the number of rows compared.
// Nor is it symmetric: near 1 a sample that holds few of the hard queries has a mean too high and too little
// variance, and mean +- t * error would miss the true mean three times as often as it may. So it is Wilson's
// score interval, for as many coin throws as would give a mean of that variance. Where all queries have the
// same recall there is no difference to go by, and the rule of three takes its place: of n queries none was
// otherwise, so at most 3 in n of all are.

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
