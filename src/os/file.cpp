// Files through POSIX calls.
//
// Reads open without blocking and take regular files only, so that a pipe or device under a name of ours
// cannot hang or flood the reader.

#include "os/file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

#include "base/fault_point.hpp"

namespace vecckpt {

namespace {

std::atomic<bool> sync_enabled{true};

// Calls `call` again as long as a signal interrupts it.
template <typename Call>
auto Retry(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

int Open(const std::string& path, int flags, mode_t mode = 0) {
  return Retry([&] { return open(path.c_str(), flags | O_CLOEXEC, mode); });
}

// Linux frees the descriptor even when close is interrupted; a second close could hit another thread's file.
bool CloseDescriptor(int fd) {
  return close(fd) == 0 || errno == EINTR;
}

Status SyncPath(const std::string& path, int flags, const char* object) {
  const int fd = Open(path, flags);
  if (fd < 0) return Status::FromErrno(errno, "open", path, object);
  if (Retry([&] { return fsync(fd); }) != 0) {
    const int error = errno;
    close(fd);
    return Status::FromErrno(error, "fsync", path, object);
  }
  if (!CloseDescriptor(fd)) return Status::FromErrno(errno, "close", path, object);
  return Status::Ok();
}

Status WriteNewFile(const std::string& path, Bytes bytes, mode_t mode) {
  Result<File> file = File::Create(path, mode);
  if (!file.ok()) return file.status();
  VECCKPT_RETURN_IF_ERROR(file->WriteAt(0, bytes));
  return file->Close();
}

}  // namespace

Result<File> File::Create(const std::string& path, mode_t mode) {
  VECCKPT_FAULT_POINT(FileCreate, path);
  const int fd = Open(path, O_RDWR | O_CREAT | O_EXCL, mode);
  if (fd < 0) return Status::FromErrno(errno, "create", path);
  // open() leaves out the bits of the umask.
  if (fchmod(fd, mode) != 0) {
    const int error = errno;
    close(fd);
    unlink(path.c_str());
    return Status::FromErrno(error, "set permissions of", path);
  }
  return File(fd, path);
}

Result<File> File::OpenRead(const std::string& path) {
  const int fd = Open(path, O_RDONLY | O_NONBLOCK);
  if (fd < 0) return Status::FromErrno(errno, "open", path);
  File file(fd, path);
  struct stat info;
  if (fstat(fd, &info) != 0) return Status::FromErrno(errno, "stat", path);
  if (!S_ISREG(info.st_mode)) return Status::Corruption("\"" + path + "\" is not a regular file");
  return file;
}

File::File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) close(fd_);
    fd_ = std::exchange(other.fd_, -1);
    path_ = std::move(other.path_);
  }
  return *this;
}

File::~File() {
  if (fd_ >= 0) close(fd_);
}

Status File::WriteAt(uint64_t offset, Bytes bytes) {
  VECCKPT_FAULT_POINT(FileWrite, path_);
  while (!bytes.empty()) {
    const ssize_t written =
        Retry([&] { return pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
    if (written < 0) return Status::FromErrno(errno, "write", path_);
    // POSIX lets a full disk show as a write of nothing.
    if (written == 0) return Status::FromErrno(ENOSPC, "write", path_);
    offset += static_cast<uint64_t>(written);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  VECCKPT_FAULT_POINT(FileWritten, path_);
  return Status::Ok();
}

Status File::ReadAt(uint64_t offset, void* to, size_t size) const {
  VECCKPT_FAULT_POINT(FileRead, path_);
  std::byte* out = static_cast<std::byte*>(to);
  while (size > 0) {
    const ssize_t got = Retry([&] { return pread(fd_, out, size, static_cast<off_t>(offset)); });
    if (got < 0) return Status::FromErrno(errno, "read", path_);
    if (got == 0) {
      return Status::Corruption("file \"" + path_ + "\" ends at byte " + std::to_string(offset) + ", " +
                                std::to_string(size) + " bytes before it should");
    }
    offset += static_cast<uint64_t>(got);
    out += got;
    size -= static_cast<size_t>(got);
  }
  return Status::Ok();
}

Result<uint64_t> File::Size() const {
  struct stat info;
  if (fstat(fd_, &info) != 0) return Status::FromErrno(errno, "stat", path_);
  return static_cast<uint64_t>(info.st_size);
}

Status File::Close() {
  const int fd = std::exchange(fd_, -1);
  if (fd >= 0 && !CloseDescriptor(fd)) return Status::FromErrno(errno, "close", path_);
  return Status::Ok();
}

Result<std::vector<std::byte>> ReadFile(const std::string& path, size_t max_size) {
  Result<File> file = File::OpenRead(path);
  if (!file.ok()) return file.status();
  const Result<uint64_t> size = file->Size();
  if (!size.ok()) return size.status();
  if (*size > max_size) {
    return Status::Corruption("file \"" + path + "\" has " + std::to_string(*size) +
                              " bytes, more than the limit of " + std::to_string(max_size));
  }
  std::vector<std::byte> bytes(static_cast<size_t>(*size));
  VECCKPT_RETURN_IF_ERROR(file->ReadAt(0, bytes.data(), bytes.size()));
  return bytes;
}

Status WriteFileByRename(const std::string& path, Bytes bytes, mode_t mode) {
  const std::string temporary = path + ".tmp";
  VECCKPT_RETURN_IF_ERROR(RemoveFile(temporary));
  Status status = WriteNewFile(temporary, bytes, mode);
  if (status.ok()) status = RenameFile(temporary, path);
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

Status RenameFile(const std::string& from, const std::string& to) {
  VECCKPT_FAULT_POINT(FileRename, from + " " + to);
  if (rename(from.c_str(), to.c_str()) != 0) {
    return Status::FromErrno(errno, "rename", from + "\" to \"" + to);
  }
  VECCKPT_FAULT_POINT(FileRenamed, from + " " + to);
  return Status::Ok();
}

Status RemoveFile(const std::string& path) {
  VECCKPT_FAULT_POINT(FileRemove, path);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return Status::FromErrno(errno, "remove", path);
  VECCKPT_FAULT_POINT(FileRemoved, path);
  return Status::Ok();
}

void EnableSync(bool enabled) {
  sync_enabled.store(enabled, std::memory_order_relaxed);
}

Status SyncFile(const std::string& path) {
  if (!sync_enabled.load(std::memory_order_relaxed)) return Status::Ok();
  // Some systems refuse to sync a descriptor that cannot write.
  VECCKPT_FAULT_POINT(FileSync, path);
  VECCKPT_RETURN_IF_ERROR(SyncPath(path, O_RDWR, "file"));
  VECCKPT_FAULT_POINT(FileSynced, path);
  return Status::Ok();
}

Status SyncDirectory(const std::string& path) {
  if (!sync_enabled.load(std::memory_order_relaxed)) return Status::Ok();
  VECCKPT_FAULT_POINT(FolderSync, path);
  VECCKPT_RETURN_IF_ERROR(SyncPath(path, O_RDONLY | O_DIRECTORY, "directory"));
  VECCKPT_FAULT_POINT(FolderSynced, path);
  return Status::Ok();
}

Status CreateDirectory(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) == 0) {
    if (chmod(path.c_str(), mode) != 0) {
      return Status::FromErrno(errno, "set permissions of", path, "directory");
    }
    return Status::Ok();
  }
  const int error = errno;
  struct stat info;
  if (error == EEXIST && stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return Status::Ok();
  return Status::FromErrno(error, "create", path, "directory");
}

Result<std::vector<std::string>> ListDirectory(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), closedir);
  if (!directory) return Status::FromErrno(errno, "open", path, "directory");
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(directory.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  if (errno != 0) return Status::FromErrno(errno, "read", path, "directory");
  return names;
}

}  // namespace vecckpt
