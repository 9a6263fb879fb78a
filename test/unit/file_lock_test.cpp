// TryLockFile: a lock of one process, that its children do not have and that ends with it.

#include "os/file_lock.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <functional>
#include <iterator>

#include "temporary_directory.hpp"

namespace vecckpt {
namespace {

enum Outcome { kLocked = 10, kTaken = 11, kFailed = 12 };

Outcome Lock(const std::string& path, const std::string& mark = "mark\n") {
  const Result<bool> locked = TryLockFile(path, 0640, mark);
  return !locked.ok() ? kFailed : *locked ? kLocked : kTaken;
}

// What a child process returns from `work`.
int InChild(const std::function<int()>& work) {
  const pid_t child = fork();
  if (child == 0) _exit(work());
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string Contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A process that has locked the file and lives until it is killed, with a child that outlives it.
class Owner {
 public:
  explicit Owner(const std::string& path) {
    int ready[2], end[2];
    EXPECT_EQ(pipe(ready), 0);
    EXPECT_EQ(pipe(end), 0);
    pid_ = fork();
    if (pid_ == 0) {
      close(end[1]);
      Lock(path, "owner\n");
      const char outcome = static_cast<char>(Lock(path, "twice\n"));  // does nothing, and does not give it up
      if (fork() > 0) static_cast<void>(write(ready[1], &outcome, 1) == 1);
      char byte;
      _exit(static_cast<int>(read(end[0], &byte, 1)));  // until nobody can write: the test has ended
    }
    end_ = end[1];
    char outcome = 0;
    EXPECT_EQ(read(ready[0], &outcome, 1), 1);
    EXPECT_EQ(outcome, kLocked);
    for (int fd : {ready[0], ready[1], end[0]}) close(fd);
  }
  void Kill() {
    kill(pid_, SIGKILL);
    EXPECT_EQ(waitpid(pid_, nullptr, 0), pid_);
  }
  ~Owner() { close(end_); }

 private:
  pid_t pid_;
  int end_;
};

TEST(FileLockTest, IsTakenUntilItsProcessEndsHoweverManyChildrenLive) {
  TemporaryDirectory directory;
  const std::string path = directory.File("owner");
  Owner owner(path);
  EXPECT_EQ(InChild([&] { return Lock(path); }), kTaken);
  EXPECT_EQ(Contents(path), "owner\n");
  owner.Kill();
  EXPECT_EQ(InChild([&] { return Lock(path); }), kLocked);
  EXPECT_EQ(Contents(path), "mark\n");
}

TEST(FileLockTest, IsOfTheFileNotOfACopy) {
  TemporaryDirectory directory;
  const std::string path = directory.File("owner"), copy = directory.File("copy");
  Owner owner(path);
  std::ofstream(copy) << Contents(path);
  EXPECT_EQ(InChild([&] { return Lock(copy); }), kLocked);
  owner.Kill();
}

TEST(FileLockTest, IsMadeAnewWhereTheFileIsGone) {
  TemporaryDirectory directory;
  const std::string path = directory.File("owner");
  const auto work = [&] {
    if (Lock(path) != kLocked || unlink(path.c_str()) != 0 || Lock(path) != kLocked) return 1;
    return access(path.c_str(), F_OK) == 0 ? 0 : 2;
  };
  EXPECT_EQ(InChild(work), 0);
}

TEST(FileLockTest, HasItsModeAndTellsWhatFails) {
  TemporaryDirectory directory;
  const std::string path = directory.File("owner");
  umask(077);
  EXPECT_EQ(InChild([&] { return Lock(path); }), kLocked);
  struct stat file;
  ASSERT_EQ(stat(path.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 07777, 0640u);
  EXPECT_EQ(InChild([&] { return Lock(directory.File("none/owner")); }), kFailed);
  // A link is not followed.
  std::ofstream(directory.File("other")) << "other";
  ASSERT_EQ(symlink("other", directory.File("link").c_str()), 0);
  EXPECT_EQ(InChild([&] { return Lock(directory.File("link")); }), kFailed);
  EXPECT_EQ(Contents(directory.File("other")), "other");
}

}  // namespace
}  // namespace vecckpt
