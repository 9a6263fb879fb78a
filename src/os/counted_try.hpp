// Something that may end the process, counted in a small file, so that whoever comes after the process's
// death knows how often it was tried. An end of any other kind takes the file away.
//
// The file need not outlive the operating system, so it is not synced. One that cannot be read or written
// counts as none: it is a help, not a proof.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace vecckpt {

class CountedTry {
 public:
  // Creates the file with exactly `mode`.
  CountedTry(std::string path, mode_t mode);
  ~CountedTry();
  CountedTry(const CountedTry&) = delete;
  CountedTry& operator=(const CountedTry&) = delete;

  // Tries that a process did not survive, as far as is known.
  uint32_t before() const { return before_; }

 private:
  std::string path_;
  uint32_t before_ = 0;
};

}  // namespace vecckpt
