// Mapped files that become unreadable while they are mapped. Cutting a file short is what a test can do to
// it; the kernel answers a bad sector with the same signal.

#include "os/mapping_guard.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>
#include <utility>
#include <vector>

#include "os/counted_try.hpp"
#include "os/file.hpp"
#include "os/mapping.hpp"
#include "temporary_directory.hpp"

namespace vecckpt {
namespace {

constexpr size_t kSize = 100 * 4096;
constexpr int kReadZeros = 42, kReadOther = 43;  // exit codes

std::string FilledFile(const TemporaryDirectory& directory, const std::string& name) {
  const std::string path = directory.File(name);
  const std::vector<std::byte> bytes(kSize, std::byte{7});
  EXPECT_TRUE(WriteFileByRename(path, bytes, 0600).ok());
  return path;
}

Mapping Map(const std::string& path) {
  Result<Mapping> mapping = Mapping::Open(path);
  EXPECT_TRUE(mapping.ok());
  return std::move(*mapping);
}

uint64_t SumOf(Bytes bytes) {
  uint64_t sum = 0;
  for (const std::byte byte : bytes) sum += static_cast<uint8_t>(byte);
  return sum;
}

TEST(MappingGuardTest, WhatCannotBeReadIsZeros) {
  const TemporaryDirectory directory;
  const std::string path = FilledFile(directory, "cut");
  const std::string other_path = FilledFile(directory, "whole");
  Mapping cut = Map(path);
  Mapping whole = Map(other_path);
  EXPECT_EQ(SumOf(cut.bytes()), 7 * kSize);
  ASSERT_EQ(truncate(path.c_str(), 4096), 0);
  EXPECT_FALSE(cut.damaged());
  EXPECT_EQ(SumOf(cut.bytes().subspan(0, 4096)), 7u * 4096);
  EXPECT_FALSE(cut.damaged());
  EXPECT_EQ(SumOf(cut.bytes().subspan(4096)), 0u);
  EXPECT_TRUE(cut.damaged());
  // The whole mapping is given up, and no other.
  EXPECT_EQ(SumOf(cut.bytes()), 0u);
  EXPECT_EQ(SumOf(whole.bytes()), 7 * kSize);
  EXPECT_FALSE(whole.damaged());

  // The damage goes with the mapping, wherever that is moved, and no further.
  Mapping moved = std::move(cut);
  EXPECT_TRUE(moved.damaged());
  EXPECT_FALSE(cut.damaged());  // NOLINT: what is left of it is an empty mapping
  moved = Map(other_path);
  EXPECT_FALSE(moved.damaged());
  EXPECT_EQ(SumOf(moved.bytes()), 7 * kSize);
}

TEST(MappingGuardTest, ThreadsThatBlockSignals) {
  const TemporaryDirectory directory;
  const std::string path = FilledFile(directory, "cut");
  const Mapping mapping = Map(path);
  ASSERT_EQ(truncate(path.c_str(), 0), 0);
  uint64_t sum = 1;
  std::thread reader([&] {
    sigset_t all;
    sigfillset(&all);
    AllowFaults(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    sum = SumOf(mapping.bytes());
  });
  reader.join();
  EXPECT_EQ(sum, 0u);
  EXPECT_TRUE(mapping.damaged());
}

TEST(MappingGuardTest, PlacesAreUsedAgain) {
  const TemporaryDirectory directory;
  const std::string path = FilledFile(directory, "file");
  for (int i = 0; i < 200000; ++i) {
    const Mapping mapping = Map(path);
    ASSERT_FALSE(mapping.damaged());
  }
  const Mapping last = Map(path);
  ASSERT_EQ(truncate(path.c_str(), 0), 0);
  EXPECT_EQ(SumOf(last.bytes()), 0u);  // still guarded
}

// Not by reading on. Sanitizers have handlers of their own, which end the process otherwise than the signal
// does.
bool DiedOfTheFault(int status) {
  return WIFSIGNALED(status) || (WEXITSTATUS(status) != kReadZeros && WEXITSTATUS(status) != kReadOther);
}

TEST(MappingGuardDeathTest, OtherFaultsEndTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TemporaryDirectory directory;
  const std::string path = FilledFile(directory, "cut");
  const Result<File> file = File::OpenRead(path);
  EXPECT_EXIT(
      {
        const Mapping guarded = Map(path);
        void* address = mmap(nullptr, kSize, PROT_READ, MAP_SHARED, file->descriptor(), 0);
        if (truncate(path.c_str(), 0) != 0) _exit(1);
        const uint64_t sum = SumOf({static_cast<const std::byte*>(address), kSize});
        _exit(sum == 0 ? kReadZeros : kReadOther);
      },
      DiedOfTheFault, "");
}

TEST(MappingGuardDeathTest, SentSignalsEndTheProcess) {
  const TemporaryDirectory directory;
  const std::string path = FilledFile(directory, "file");
  EXPECT_EXIT(
      {
        const Mapping guarded = Map(path);
        raise(SIGBUS);
        _exit(guarded.damaged() ? kReadZeros : kReadOther);
      },
      DiedOfTheFault, "");
}

TEST(CountedTryTest, CountsWhatDoesNotEnd) {
  const TemporaryDirectory directory;
  const std::string path = directory.File("tries");
  for (uint32_t deaths = 0; deaths < 12; ++deaths) {
    EXPECT_EXIT(
        {
          const CountedTry fatal(path, 0600);
          _exit(fatal.before() == deaths ? 0 : 1);
        },
        ::testing::ExitedWithCode(0), "");
  }
  {
    const CountedTry lasting(path, 0600);
    EXPECT_EQ(lasting.before(), 12u);
  }
  const CountedTry next(path, 0600);
  EXPECT_EQ(next.before(), 0u);
}

TEST(CountedTryTest, WhatCannotBeReadCountsAsNone) {
  const TemporaryDirectory directory;
  const std::string path = directory.File("tries");
  const std::string text = "no number at all";
  const Bytes bytes = {reinterpret_cast<const std::byte*>(text.data()), text.size()};
  ASSERT_TRUE(WriteFileByRename(path, bytes, 0600).ok());
  EXPECT_EQ(CountedTry(path, 0600).before(), 0u);
  EXPECT_EQ(CountedTry(directory.File("no/such/folder"), 0600).before(), 0u);
}

}  // namespace
}  // namespace vecckpt
