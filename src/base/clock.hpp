// Moments for intervals: of a clock that nobody sets, and that all processes of a machine have in common.
// Wall clock time (TimestampTz) is only for what users are shown: a clock that is set back by an hour would
// put off for an hour what is to happen in a second.

#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <ctime>
#include <limits>

namespace vecckpt {

// Trivial, so that it may lie in shared memory. {}: before every moment that Now() returns.
struct Moment {
  int64_t microseconds;  // since the machine's start
  friend auto operator<=>(const Moment&, const Moment&) = default;
};

constexpr Moment kNever = {std::numeric_limits<int64_t>::max()};

// Thread-safe, and may be called from anywhere.
inline Moment Now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return {int64_t{time.tv_sec} * 1000000 + time.tv_nsec / 1000};
}

constexpr Moment operator+(Moment moment, std::chrono::microseconds duration) {
  return {moment.microseconds + duration.count()};
}
constexpr std::chrono::microseconds operator-(Moment later, Moment earlier) {
  return std::chrono::microseconds{later.microseconds - earlier.microseconds};
}

}  // namespace vecckpt
