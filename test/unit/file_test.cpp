// Files and mappings: permissions, short files, failures that must leave nothing behind.

#include "os/file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "os/mapping.hpp"
#include "page_cache.hpp"
#include "temporary_directory.hpp"

namespace vecckpt {
namespace {

std::vector<std::byte> Pattern(size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 131 >> 3);
  return bytes;
}

mode_t ModeOf(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777;
}

// Sets the umask for one test.
class Umask {
 public:
  explicit Umask(mode_t mask) : before_(umask(mask)) {}
  ~Umask() { umask(before_); }

 private:
  mode_t before_;
};

// Lets no file grow past `bytes`: a write across the limit is short, the next one fails.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    signal_ = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, signal_);
  }

 private:
  rlimit before_{};
  sighandler_t signal_;
};

class FileTest : public ::testing::Test {
 protected:
  TemporaryDirectory directory_;
  const std::string path_ = directory_.File("f");
};

TEST_F(FileTest, CreateWritesAndReadsBack) {
  const auto bytes = Pattern(10000);
  Result<File> file = File::Create(path_, 0600);
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->path(), path_);
  ASSERT_TRUE(file->WriteAt(100, Bytes(bytes).subspan(100)).ok());
  ASSERT_TRUE(file->WriteAt(0, Bytes(bytes).first(100)).ok());
  EXPECT_EQ(*file->Size(), 10000u);
  std::vector<std::byte> back(10000);
  ASSERT_TRUE(file->ReadAt(0, back.data(), back.size()).ok());
  EXPECT_EQ(back, bytes);
  EXPECT_TRUE(file->Close().ok());
  EXPECT_TRUE(file->Close().ok());
  EXPECT_FALSE(file->WriteAt(0, bytes).ok());
}

TEST_F(FileTest, CreateRefusesAnExistingFile) {
  ASSERT_TRUE(File::Create(path_, 0600).ok());
  const Result<File> again = File::Create(path_, 0600);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.status().code(), StatusCode::kIoError);
  EXPECT_NE(again.status().message().find(path_), std::string::npos);
}

TEST_F(FileTest, ModesDoNotDependOnTheUmask) {
  for (const mode_t mask : {mode_t{0}, mode_t{0077}, mode_t{0277}}) {
    const TemporaryDirectory inner;
    const Umask umask(mask);
    ASSERT_TRUE(File::Create(inner.File("a"), 0640).ok());
    EXPECT_EQ(ModeOf(inner.File("a")), 0640u);
    ASSERT_TRUE(WriteFileByRename(inner.File("b"), Pattern(3), 0640).ok());
    EXPECT_EQ(ModeOf(inner.File("b")), 0640u);
    ASSERT_TRUE(CreateDirectory(inner.File("c"), 0750).ok());
    EXPECT_EQ(ModeOf(inner.File("c")), 0750u);
  }
}

TEST_F(FileTest, DescriptorsAreNotInherited) {
  Result<File> created = File::Create(path_, 0600);
  ASSERT_TRUE(created.ok());
  EXPECT_TRUE(fcntl(created->descriptor(), F_GETFD) & FD_CLOEXEC);
  Result<File> opened = File::OpenRead(path_);
  ASSERT_TRUE(opened.ok());
  EXPECT_TRUE(fcntl(opened->descriptor(), F_GETFD) & FD_CLOEXEC);
}

TEST_F(FileTest, MovingLeavesOneOwner) {
  Result<File> file = File::Create(path_, 0600);
  ASSERT_TRUE(file.ok());
  const int descriptor = file->descriptor();
  {
    File moved(std::move(*file));
    EXPECT_EQ(moved.descriptor(), descriptor);
    EXPECT_EQ(file->descriptor(), -1);
  }
  EXPECT_EQ(fcntl(descriptor, F_GETFD), -1);
  Result<File> first = File::OpenRead(path_);
  Result<File> second = File::OpenRead(path_);
  const int replaced = first->descriptor();
  *first = std::move(*second);
  EXPECT_EQ(fcntl(replaced, F_GETFD), -1);
  EXPECT_NE(fcntl(first->descriptor(), F_GETFD), -1);
}

TEST_F(FileTest, ReadingPastTheEndIsCorruption) {
  ASSERT_TRUE(WriteFileByRename(path_, Pattern(10), 0600).ok());
  Result<File> file = File::OpenRead(path_);
  ASSERT_TRUE(file.ok());
  std::byte buffer[20];
  EXPECT_TRUE(file->ReadAt(5, buffer, 5).ok());
  EXPECT_EQ(file->ReadAt(5, buffer, 6).code(), StatusCode::kCorruption);
  EXPECT_EQ(file->ReadAt(50, buffer, 1).code(), StatusCode::kCorruption);
  EXPECT_NE(file->ReadAt(50, buffer, 1).message().find(path_), std::string::npos);
}

TEST_F(FileTest, MissingFilesAreNotFound) {
  EXPECT_EQ(File::OpenRead(path_).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(ReadFile(path_, 10).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Mapping::Open(path_).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(SyncFile(path_).code(), StatusCode::kNotFound);
  EXPECT_EQ(SyncDirectory(path_).code(), StatusCode::kNotFound);
  // Nobody looks whether they are there.
  EnableSync(false);
  EXPECT_TRUE(SyncFile(path_).ok());
  EXPECT_TRUE(SyncDirectory(path_).ok());
  EnableSync(true);
  EXPECT_EQ(ListDirectory(path_).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(RenameFile(path_, path_ + "x").code(), StatusCode::kNotFound);
  EXPECT_TRUE(RemoveFile(path_).ok());
}

TEST_F(FileTest, OnlyRegularFilesAreRead) {
  EXPECT_EQ(ReadFile(directory_.path(), 10).status().code(), StatusCode::kCorruption);
  EXPECT_EQ(Mapping::Open(directory_.path()).status().code(), StatusCode::kCorruption);
  // A pipe without a writer must not make the reader wait.
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(ReadFile(path_, 10).status().code(), StatusCode::kCorruption);
}

TEST_F(FileTest, ReadFileIsBounded) {
  ASSERT_TRUE(WriteFileByRename(path_, Pattern(100), 0600).ok());
  EXPECT_EQ(*ReadFile(path_, 100), Pattern(100));
  EXPECT_EQ(ReadFile(path_, 99).status().code(), StatusCode::kCorruption);
  ASSERT_TRUE(WriteFileByRename(path_, {}, 0600).ok());
  EXPECT_TRUE(ReadFile(path_, 0)->empty());
}

TEST_F(FileTest, WriteFileByRenameReplaces) {
  ASSERT_TRUE(WriteFileByRename(path_, Pattern(100), 0600).ok());
  ASSERT_TRUE(File::Create(path_ + ".tmp", 0400).ok());
  ASSERT_TRUE(WriteFileByRename(path_, Pattern(7), 0600).ok());
  EXPECT_EQ(*ReadFile(path_, 100), Pattern(7));
  EXPECT_EQ(ListDirectory(directory_.path())->size(), 1u);
}

TEST_F(FileTest, FailedWriteLeavesTheOldFileAndNothingElse) {
  ASSERT_TRUE(WriteFileByRename(path_, Pattern(100), 0600).ok());
  {
    const FileSizeLimit limit(4096);
    const Status status = WriteFileByRename(path_, Pattern(10000), 0600);
    EXPECT_EQ(status.code(), StatusCode::kIoError);
    EXPECT_NE(status.message().find(path_), std::string::npos);
  }
  EXPECT_EQ(*ReadFile(path_, 100), Pattern(100));
  EXPECT_EQ(ListDirectory(directory_.path())->size(), 1u);
}

TEST_F(FileTest, FailedRenameRemovesTheTemporaryFile) {
  ASSERT_TRUE(CreateDirectory(path_, 0700).ok());
  EXPECT_FALSE(WriteFileByRename(path_, Pattern(10), 0600).ok());
  EXPECT_EQ(*ListDirectory(directory_.path()), std::vector<std::string>{"f"});
}

TEST_F(FileTest, Directories) {
  const std::string inner = directory_.File("d");
  ASSERT_TRUE(CreateDirectory(inner, 0700).ok());
  EXPECT_TRUE(CreateDirectory(inner, 0700).ok());
  ASSERT_TRUE(WriteFileByRename(path_, Pattern(1), 0600).ok());
  const Status status = CreateDirectory(path_, 0700);
  EXPECT_EQ(status.code(), StatusCode::kIoError);
  EXPECT_NE(status.message().find("directory"), std::string::npos);
  EXPECT_TRUE(SyncDirectory(inner).ok());
  EXPECT_FALSE(SyncDirectory(path_).ok());
  EXPECT_TRUE(SyncFile(path_).ok());
  EXPECT_FALSE(RemoveFile(inner).ok());

  std::vector<std::string> names = *ListDirectory(directory_.path());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"d", "f"}));
  ASSERT_TRUE(RenameFile(path_, inner + "/g").ok());
  EXPECT_EQ(*ListDirectory(inner), std::vector<std::string>{"g"});
}

TEST_F(FileTest, MappingSeesTheFileAndOutlivesItsName) {
  ASSERT_TRUE(WriteFileByRename(path_, Pattern(5000), 0600).ok());
  Result<Mapping> mapping = Mapping::Open(path_);
  ASSERT_TRUE(mapping.ok());
  ASSERT_TRUE(RemoveFile(path_).ok());
  const Mapping moved(std::move(*mapping));
  EXPECT_TRUE(mapping->bytes().empty());
  ASSERT_EQ(moved.bytes().size(), 5000u);
  EXPECT_TRUE(std::ranges::equal(moved.bytes(), Pattern(5000)));
}

TEST_F(FileTest, MappingIsSharedAndKeepsNoDescriptor) {
  Result<File> file = File::Create(path_, 0600);
  ASSERT_TRUE(file->WriteAt(0, Pattern(100)).ok());
  const int next = dup(file->descriptor());
  close(next);
  Result<Mapping> mapping = Mapping::Open(path_);
  ASSERT_TRUE(mapping.ok());
  EXPECT_EQ(fcntl(next, F_GETFD), -1);
  ASSERT_TRUE(file->WriteAt(50, AsBytes(uint8_t{0xEE})).ok());
  EXPECT_EQ(mapping->bytes()[50], std::byte{0xEE});
}

TEST_F(FileTest, MappedPagesComeWhenTheyAreAskedFor) {
  constexpr size_t kPage = 4096, kPages = 512;
  ASSERT_TRUE(WriteFileByRename(path_, Pattern(kPages * kPage), 0600).ok());
  if (!Evict(path_)) GTEST_SKIP() << "this file system has no disk";
  const Result<Mapping> mapping = Mapping::Open(path_);
  ASSERT_TRUE(mapping.ok());
  const Bytes bytes = mapping->bytes();
  const auto missing = [bytes](size_t page, size_t pages) {
    return SomeMissing(bytes.subspan(page * kPage, pages * kPage), static_cast<uint32_t>(2 * pages), 0);
  };
  EXPECT_TRUE(missing(0, kPages));

  // A lookup brings its own page.
  ExpectLookups(bytes);
  EXPECT_EQ(bytes[300 * kPage + 7], Pattern(kPages * kPage)[300 * kPage + 7]);
  EXPECT_FALSE(missing(300, 1));
  EXPECT_TRUE(missing(301, 1));
  // What is asked for comes sooner or later, though nobody looks at it.
  PrefetchMapped(bytes.subspan(400 * kPage, 100 * kPage));
  for (int i = 0; i < 10000 && missing(400, 100); ++i) usleep(1000);
  EXPECT_FALSE(missing(400, 100));
  EXPECT_TRUE(missing(0, 100));
  // A scan brings what lies beside it, too.
  ExpectScans(bytes);
  EXPECT_EQ(bytes[100 * kPage], Pattern(kPages * kPage)[100 * kPage]);
  EXPECT_FALSE(missing(101, 1));

  LoadMapped(bytes);
  EXPECT_FALSE(missing(0, kPages));
  EXPECT_FALSE(SomeMissing({}, 10, 0));
}

TEST_F(FileTest, EmptyFileMapsToNothing) {
  ASSERT_TRUE(WriteFileByRename(path_, {}, 0600).ok());
  const Result<Mapping> mapping = Mapping::Open(path_);
  ASSERT_TRUE(mapping.ok());
  EXPECT_TRUE(mapping->bytes().empty());
}

}  // namespace
}  // namespace vecckpt
