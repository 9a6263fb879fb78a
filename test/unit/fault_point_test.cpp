// Fault points as a test build has them: the library under test has none, so they are compiled in here.

#define VECCKPT_FAULT_POINTS
#include "base/fault_point.cpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>
#include <thread>

#include "temporary_directory.hpp"

namespace vecckpt {
namespace {

// Runs in a folder of its own, which the fault points' paths are relative to.
class FaultPointTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(getcwd(before_, sizeof(before_)), nullptr);
    ASSERT_EQ(chdir(directory_.path().c_str()), 0);
    ASSERT_EQ(mkdir("fault_points", 0700), 0);
  }
  void TearDown() override { ASSERT_EQ(chdir(before_), 0); }

  static void Set(const std::string& name, const std::string& line) {
    std::ofstream("fault_points/" + name) << line << "\n";
  }
  static bool IsThere(const std::string& name) { return access(("fault_points/" + name).c_str(), F_OK) == 0; }

 private:
  TemporaryDirectory directory_;
  char before_[4096];
};

Status Rename(const std::string& path) {
  VECCKPT_FAULT_POINT(FileRename, path);
  return Status::Ok();
}

TEST_F(FaultPointTest, NothingHappensUnasked) {
  EXPECT_TRUE(Rename("a").ok());
  Set("FileRemove", "error");
  EXPECT_TRUE(Rename("a").ok());
}

TEST_F(FaultPointTest, ErrorOnce) {
  Set("FileRename", "error");
  Status status = Rename("some/path");
  EXPECT_EQ(status.code(), StatusCode::kIoError);
  EXPECT_EQ(status.message(), "fault point FileRename some/path");
  EXPECT_FALSE(IsThere("FileRename"));
  EXPECT_TRUE(Rename("some/path").ok());
}

TEST_F(FaultPointTest, FailUntilTheFileIsGone) {
  Set("FileRename", "fail");
  EXPECT_FALSE(Rename("a").ok());
  EXPECT_FALSE(Rename("a").ok());
  unlink("fault_points/FileRename");
  EXPECT_TRUE(Rename("a").ok());
}

TEST_F(FaultPointTest, OnlyWhereTheTextOccurs) {
  Set("FileRename", "error .gen");
  EXPECT_TRUE(Rename("a.seg").ok());
  EXPECT_TRUE(IsThere("FileRename"));
  EXPECT_FALSE(Rename("a.gen").ok());
}

TEST_F(FaultPointTest, WaitsUntilItMayGoOn) {
  Set("FileRename", "wait");
  Status status = Status::Internal("not passed");
  std::thread passer([&status] { status = Rename("a"); });
  while (!IsThere("FileRename.waiting")) usleep(1000);
  EXPECT_TRUE(Rename("another one passes").ok());
  unlink("fault_points/FileRename.waiting");
  passer.join();
  EXPECT_TRUE(status.ok());
}

TEST_F(FaultPointTest, CrashKillsTheProcess) {
  Set("FileRename", "crash");
  EXPECT_EXIT(static_cast<void>(Rename("a").ok()), testing::KilledBySignal(SIGKILL), "");
  EXPECT_FALSE(IsThere("FileRename"));
}

TEST_F(FaultPointTest, TraceWhereThereIsAFileForIt) {
  EXPECT_TRUE(Rename("a").ok());
  EXPECT_FALSE(IsThere("trace"));
  std::ofstream("fault_points/trace").flush();
  EXPECT_TRUE(Rename("a").ok());
  EXPECT_TRUE(Rename("b").ok());
  std::ifstream trace("fault_points/trace");
  const std::string text(std::istreambuf_iterator<char>(trace), {});
  EXPECT_EQ(text, "FileRename a\nFileRename b\n");
}

}  // namespace
}  // namespace vecckpt
