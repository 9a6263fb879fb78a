// Status and Result: how the core reports errors.
//
// The core never throws on purpose and never calls into PostgreSQL. A function that can fail returns a
// Status, or a Result<T> when it has something to give; its message names the file or object concerned.
// src/pg turns a Status into an SQL error.
//
// Thread safety: values, no shared state.

#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <utility>

namespace vecckpt {

enum class StatusCode {
  kOk,
  kNotFound,         // a file or object that is not there
  kCorruption,       // bytes that cannot be what was written
  kInvalidArgument,  // the caller's input is wrong
  kIoError,      // the operating system refused a read or write, for a reason that is not one of the next two
  kNoSpace,      // the disk or quota is full
  kOutOfMemory,  // or of descriptors: not the file's fault
  kCancelled,    // the cancel flag was seen
  kUnsupported,  // a format or feature of another version
  kInternal,     // a programmer's mistake
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status Ok() { return Status(); }
  static Status NotFound(std::string m) { return Status(StatusCode::kNotFound, std::move(m)); }
  static Status Corruption(std::string m) { return Status(StatusCode::kCorruption, std::move(m)); }
  static Status InvalidArgument(std::string m) { return Status(StatusCode::kInvalidArgument, std::move(m)); }
  static Status OutOfMemory(std::string m) { return Status(StatusCode::kOutOfMemory, std::move(m)); }
  static Status Cancelled() { return Status(StatusCode::kCancelled, "cancelled"); }
  static Status Unsupported(std::string m) { return Status(StatusCode::kUnsupported, std::move(m)); }
  static Status Internal(std::string m) { return Status(StatusCode::kInternal, std::move(m)); }

  // An error of the operating system: kNotFound for ENOENT, kNoSpace for ENOSPC and EDQUOT, kOutOfMemory for
  // ENOMEM, EMFILE and ENFILE, else kIoError. The message reads "could not <action> <object> "<path>":
  // <strerror>".
  static Status FromErrno(int error, const std::string& action, const std::string& path,
                          const std::string& object = "file");

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

// Either a value or the Status that says why there is none. REQUIRES: ok() before value() is called.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) { assert(!status_.ok()); }

  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }
  T& value() { return *value_; }
  const T& value() const { return *value_; }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  Status status_;
  std::optional<T> value_;
};

// Leaves the enclosing function with the Status of `expr` if that is an error.
#define VECCKPT_RETURN_IF_ERROR(expr)                \
  do {                                               \
    ::vecckpt::Status vecckpt_status = (expr);       \
    if (!vecckpt_status.ok()) return vecckpt_status; \
  } while (0)

}  // namespace vecckpt
