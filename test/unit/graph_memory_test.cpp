// A graph job stays within the memory that it was planned for. Not in builds with sanitizers, which need
// their own.

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <thread>

#include "fake_log.hpp"
#include "index/policy.hpp"

namespace vecckpt {
namespace {

constexpr uint32_t kDims = 1024;
constexpr size_t kNodes = 8000;
constexpr uint32_t kThreads = 2;
// What does not grow with the graph: stacks, buffers of files being written, what malloc keeps.
constexpr uint64_t kConstant = 8 << 20;

// This process's memory that no file or other process has a part in.
uint64_t AnonymousMemory() {
  std::ifstream file("/proc/self/statm");
  uint64_t size = 0, resident = 0, of_files = 0;
  file >> size >> resident >> of_files;
  EXPECT_TRUE(file.good());
  return (resident - of_files) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// How much it grows while a graph job runs.
uint64_t Growth(const GraphInput& input) {
  malloc_trim(0);
  const uint64_t before = AnonymousMemory();
  uint64_t most = before;
  std::atomic<bool> ended{false};
  std::thread job([&] {
    JobContext context;
    const Result<SegmentHeader> header = RunGraph(input, context);
    EXPECT_TRUE(header.ok()) << header.status().message();
    ended = true;
  });
  while (!ended) {
    most = std::max(most, AnonymousMemory());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  job.join();
  return most - before;
}

class GraphMemoryTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    log_ = new FakeLog(Metric::kL2, kDims);
    log_->geometry().ef_construction = 8;  // quick; it takes no memory
    log_->AddRandom(kNodes, 1);
    flat_ = log_->Seal(0, kNodes);
  }
  static void TearDownTestSuite() {
    flat_.reset();
    delete log_;
  }

  GraphMemoryTest() : codes_(flat_->codes().size()), input_(log_->ToGraph({flat_})) {
    input_.threads = kThreads;
    input_.memory_limit = GraphJobMemory(kNodes, kNodes, log_->geometry().m, kThreads);
  }

  static inline FakeLog* log_ = nullptr;
  static inline std::shared_ptr<const Segment> flat_;
  uint64_t codes_;
  GraphInput input_;
};

TEST_F(GraphMemoryTest, MemoryIsMeasured) {
  const uint64_t before = AnonymousMemory();
  void* memory =
      mmap(nullptr, codes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  EXPECT_GE(AnonymousMemory() + kConstant, before + codes_);
  munmap(memory, codes_);
}

TEST_F(GraphMemoryTest, WithinTheLimit) {
  EXPECT_LE(Growth(input_), input_.memory_limit + kConstant);
}

TEST_F(GraphMemoryTest, CodesAreCopiedOnlyWhereTheyFit) {
  input_.copy_limit = input_.memory_limit + codes_ - 1;
  EXPECT_LE(Growth(input_), input_.memory_limit + kConstant);
}

TEST_F(GraphMemoryTest, WithinTheLimitWithACopyOfTheCodes) {
  input_.copy_limit = input_.memory_limit + codes_;
  EXPECT_LE(Growth(input_), input_.copy_limit + kConstant);
}

}  // namespace
}  // namespace vecckpt
