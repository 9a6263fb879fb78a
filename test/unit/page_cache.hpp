// Takes files out of the page cache, for tests of what has to be read from the disk.

#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <string>

namespace vecckpt {

// False where files have no disk to be read from again. The file must not be mapped by anybody who has looked
// at it.
inline bool Evict(const std::string& path) {
  constexpr long kTmpfs = 0x01021994;
  struct statfs system {};
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fsync(fd) != 0 || fstatfs(fd, &system) != 0) ADD_FAILURE() << "could not sync " << path;
  const bool evicted = system.f_type != kTmpfs && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0;
  close(fd);
  return evicted;
}

}  // namespace vecckpt
