// Files: the few operations the checkpoint needs, each returning a Status that names the path.
//
// All paths are used as given (src/pg passes paths relative to $PGDATA). Interrupted system calls are
// retried. No function here logs or throws on an I/O error.
//
// Thread safety: a File belongs to one thread at a time; the free functions are thread-safe.

#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/status.hpp"

namespace vecckpt {

class File {
 public:
  // Creates the file for reading and writing with exactly `mode`; an existing one is an error.
  static Result<File> Create(const std::string& path, mode_t mode);
  static Result<File> OpenRead(const std::string& path);

  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();  // closes; errors of a close without Close() are lost

  Status WriteAt(uint64_t offset, Bytes bytes);
  // Reads exactly `size` bytes; a shorter file is kCorruption.
  Status ReadAt(uint64_t offset, void* to, size_t size) const;
  Result<uint64_t> Size() const;
  Status Close();
  int descriptor() const { return fd_; }
  const std::string& path() const { return path_; }

 private:
  File(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  int fd_ = -1;
  std::string path_;
};

// The whole file; one larger than `max_size` bytes is kCorruption, one that is not there kNotFound.
Result<std::vector<std::byte>> ReadFile(const std::string& path, size_t max_size);

// Writes `path`.tmp with exactly `mode`, and renames it over `path`. Nothing is synced.
// On failure the temporary file is removed.
Status WriteFileByRename(const std::string& path, Bytes bytes, mode_t mode);

Status RenameFile(const std::string& from, const std::string& to);
// A file that is not there is not an error.
Status RemoveFile(const std::string& path);
// Whether SyncFile and SyncDirectory do anything, for the whole process; true at first. PostgreSQL's setting
// fsync says the same of its own files.
void EnableSync(bool enabled);
Status SyncFile(const std::string& path);
Status SyncDirectory(const std::string& path);
// Creates the directory with exactly `mode`; one that is there already is not an error.
Status CreateDirectory(const std::string& path, mode_t mode);
// Names of the entries of a directory, without "." and "..", in no order.
Result<std::vector<std::string>> ListDirectory(const std::string& path);

}  // namespace vecckpt
