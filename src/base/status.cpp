// How an error of the operating system becomes a Status.

#include "base/status.hpp"

#include <cerrno>
#include <system_error>

namespace vecckpt {

namespace {

StatusCode CodeOf(int error) {
  switch (error) {
    case ENOENT:
      return StatusCode::kNotFound;
    case ENOSPC:
    case EDQUOT:
      return StatusCode::kNoSpace;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return StatusCode::kOutOfMemory;
    default:
      return StatusCode::kIoError;
  }
}

}  // namespace

Status Status::FromErrno(int error, const std::string& action, const std::string& path,
                         const std::string& object) {
  return Status(CodeOf(error), "could not " + action + " " + object + " \"" + path +
                                   "\": " + std::generic_category().message(error));
}

}  // namespace vecckpt
