// A lock that a process holds on a file until it ends, however it ends.
//
// It is fcntl's record lock: children do not inherit it, the system gives it up with the process, and it is
// the file (the inode) that is locked, so a copy of the file is not. It would also be given up if this
// process opened and closed the file once more; only TryLockFile opens it. On network file systems it is as
// good as their locks are.
//
// Thread safety: for one thread of the process.

#pragma once

#include <sys/types.h>

#include <string>

#include "base/status.hpp"

namespace vecckpt {

// Locks the file, which is made with exactly `mode` if it is not there, and writes `mark` into it, for
// whoever finds it locked. False: another process has the lock. True as well if this process, or the one that
// it was forked from, has locked that very file before. A mark that cannot be written is no error.
Result<bool> TryLockFile(const std::string& path, mode_t mode, const std::string& mark);

}  // namespace vecckpt
