// See wall.hpp.

#include "pg/wall.hpp"

#include "pg/kept_text.hpp"

extern "C" {
#include "mb/pg_wchar.h"
}

namespace vecckpt {
namespace {

// Of a text that was cut off: the half of a character is no text.
void EndAtCharacter(char* text) {
  text[WholeCharacters(GetDatabaseEncoding(), text, static_cast<int>(strlen(text)))] = '\0';
}

}  // namespace

Failure FailureOf(const Status& status) {
  return FailureOf(status.code(), status.message().c_str());
}

Failure FailureOf(StatusCode code, const char* message) {
  Failure failure;
  failure.code = code;
  if (strlcpy(failure.message, message, sizeof(failure.message)) >= sizeof(failure.message))
    EndAtCharacter(failure.message);
  return failure;
}

int SqlState(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return ERRCODE_SUCCESSFUL_COMPLETION;
    case StatusCode::kNotFound:
      return ERRCODE_UNDEFINED_FILE;
    case StatusCode::kCorruption:
      return ERRCODE_DATA_CORRUPTED;
    case StatusCode::kInvalidArgument:
      return ERRCODE_INVALID_PARAMETER_VALUE;
    case StatusCode::kIoError:
      return ERRCODE_IO_ERROR;
    case StatusCode::kNoSpace:
      return ERRCODE_DISK_FULL;
    case StatusCode::kOutOfMemory:
      return ERRCODE_OUT_OF_MEMORY;
    case StatusCode::kCancelled:
      return ERRCODE_QUERY_CANCELED;
    case StatusCode::kUnsupported:
      return ERRCODE_FEATURE_NOT_SUPPORTED;
    case StatusCode::kInternal:
      break;
  }
  return ERRCODE_INTERNAL_ERROR;
}

int HintFor(int sqlstate) {
  return sqlstate == ERRCODE_DISK_FULL ? errhint("Check free disk space.") : 0;
}

void ThrowIfFailed(const Failure& failure) {
  if (!failure.failed()) return;
  CHECK_FOR_INTERRUPTS();  // a cancel explains a kCancelled better than we can
  if (failure.code == StatusCode::kOutOfMemory)
    ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
                    failure.message[0] ? errdetail_internal("%s", failure.message) : 0));
  ereport(ERROR, (errcode(SqlState(failure.code)),
                  errmsg("%s", failure.message[0] ? failure.message : "unexpected failure in vecckpt"),
                  HintFor(SqlState(failure.code))));
}

void Notices::Add(const char* format, ...) {
  if (room - used < kLongest) {
    size_t larger = Max(2 * room, 8 * kLongest);
    char* grown = count < kMost ? static_cast<char*>(realloc(lines, larger)) : nullptr;
    if (grown == nullptr) {
      left_out++;
      return;
    }
    lines = grown;
    room = larger;
  }
  va_list arguments;
  va_start(arguments, format);
  if (vsnprintf(lines + used, kLongest, format, arguments) >= static_cast<int>(kLongest))
    EndAtCharacter(lines + used);
  va_end(arguments);
  used += strlen(lines + used) + 1;
  count++;
}

void Notices::Emit() {
  const Notices taken = *this;
  *this = Notices();
  const char* line = taken.lines;
  for (int i = 0; i < taken.count; i++, line += strlen(line) + 1) ereport(LOG, (errmsg_internal("%s", line)));
  free(taken.lines);
  if (taken.left_out > 0) ereport(LOG, (errmsg("vecckpt: %d more messages like these", taken.left_out)));
}

}  // namespace vecckpt
