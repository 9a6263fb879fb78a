// See file_lock.hpp.

#include "os/file_lock.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fault_point.hpp"

namespace vecckpt {

namespace {

// The descriptor of the file that this process has locked, or its parent had when it forked; open as long as
// the process lives.
int held = -1;

bool IsHeld(const struct stat& file) {
  struct stat mine;
  return held >= 0 && fstat(held, &mine) == 0 && mine.st_dev == file.st_dev && mine.st_ino == file.st_ino;
}

void WriteMark(int fd, const std::string& mark) {
  if (ftruncate(fd, 0) == 0) static_cast<void>(pwrite(fd, mark.data(), mark.size(), 0) < 0);
}

}  // namespace

Result<bool> TryLockFile(const std::string& path, mode_t mode, const std::string& mark) {
  VECCKPT_FAULT_POINT(FolderLock, path);
  struct stat file;
  const bool there = lstat(path.c_str(), &file) == 0;
  if (there && IsHeld(file)) return true;
  // A link would have the mark written into whatever it leads to.
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, mode);
  if (fd < 0) return Status::FromErrno(errno, "open", path);
  if (!there) static_cast<void>(fchmod(fd, mode));  // open() leaves out the bits of the umask
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;  // and length 0: the whole file
  if (fcntl(fd, F_SETLK, &lock) != 0) {
    const int error = errno;
    close(fd);
    if (error == EAGAIN || error == EACCES) return false;
    return Status::FromErrno(error, "lock", path);
  }
  if (held >= 0) close(held);  // of a folder that is gone
  held = fd;
  WriteMark(fd, mark);
  return true;
}

}  // namespace vecckpt
