// What the tests of the kernels share: lengths, arrays of exactly their size, and every instruction set in
// turn.

#pragma once

#include <gtest/gtest.h>

#include <hwy/targets.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "hnsw/types.hpp"

namespace vecckpt {

// All short lengths, beyond twice the widest loop, and some long ones.
inline std::vector<size_t> KernelLengths() {
  std::vector<size_t> lengths{300, 383, 767, 768, 1000, 1536, kMaxDims - 1, kMaxDims};
  for (size_t n = 0; n <= 260; ++n) lengths.push_back(n);
  return lengths;
}

// In memory of exactly the size it needs, `shift` elements from an aligned place: a sanitizer sees what reads
// beyond it.
template <typename T>
struct ExactArray {
  ExactArray(size_t size, size_t shift) : memory(new T[size + shift]()), data(memory.get() + shift) {}
  ExactArray(const T* values, size_t size, size_t shift) : ExactArray(size, shift) {
    for (size_t i = 0; i < size; ++i) data[i] = values[i];
  }
  std::unique_ptr<T[]> memory;
  T* data;
};

// Calls check() once for each instruction set that Highway's kernels were compiled for and that runs here.
template <typename Check>
void OnEveryTarget(Check check) {
  std::set<size_t> chosen;
  const std::vector<int64_t> targets = hwy::SupportedAndGeneratedTargets();
  for (const int64_t target : targets) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    chosen.insert(hwy::GetChosenTarget().GetIndex());
    check();
    if (testing::Test::HasFatalFailure()) break;
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  EXPECT_TRUE(testing::Test::HasFatalFailure() || chosen.size() == targets.size());
  EXPECT_FALSE(targets.empty());
}

}  // namespace vecckpt
