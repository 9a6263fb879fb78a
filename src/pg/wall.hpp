// The wall between C++ errors and SQL errors.
//
// C++ work runs inside Guard, which turns exceptions into a Failure: a plain struct. The caller raises it
// with ThrowIfFailed after every C++ object has been destroyed. So no exception crosses a PostgreSQL frame,
// no longjmp skips a destructor, and nothing allocates or reports inside a catch block.
//
// A function on PostgreSQL's side of the wall may call whatever ereports and holds no object with a
// destructor; a function on the C++ side (called through Guard) holds such objects and calls nothing that
// ereports. Calls that the C++ side may make: spinlocks, LWLockAcquire and LWLockRelease,
// hash_search(HASH_FIND), SetLatch.

#pragma once

#include "pg/pg.hpp"

#include <exception>
#include <new>

#include "base/fault_point.hpp"
#include "base/status.hpp"

namespace vecckpt {

// What went wrong beyond the wall. Trivially destructible.
struct Failure {
  StatusCode code = StatusCode::kOk;
  char message[512];
  Failure() { message[0] = '\0'; }
  bool failed() const { return code != StatusCode::kOk; }
};

Failure FailureOf(const Status& status);
Failure FailureOf(StatusCode code, const char* message);

// Runs `work`, a callable that returns Status, and tells how it went.
template <typename Work>
Failure Guard(Work&& work) {
  Failure failure;
  try {
    Status status = work();
    if (!status.ok()) failure = FailureOf(status);
  } catch (const std::bad_alloc&) {
    failure.code = StatusCode::kOutOfMemory;
  } catch (const std::exception& error) {
    failure.code = StatusCode::kInternal;
    strlcpy(failure.message, error.what(), sizeof(failure.message));
  } catch (...) {
    failure.code = StatusCode::kInternal;
  }
  return failure;
}

// The errcode that fits.
int SqlState(StatusCode code);

// Within ereport: the hint that fits, if there is one.
int HintFor(int sqlstate);

// Raises ERROR if it failed.
void ThrowIfFailed(const Failure& failure);

// Log lines gathered beyond the wall, reported by Emit on this side. Each counts: it may be the only one to
// name a file. Trivially destructible; an error before Emit, or an interrupt within it, leaks the lines not
// yet reported.
struct Notices {
  static constexpr int kMost = 100000;  // more are only counted
  static constexpr size_t kLongest = 400;
  int count = 0;
  int left_out = 0;
  char* lines = nullptr;  // from malloc: `count` strings, one behind the other
  size_t used = 0;
  size_t room = 0;
  void Add(const char* format, ...) pg_attribute_printf(2, 3);
  // Reports every line at LOG and forgets them.
  void Emit();
};

}  // namespace vecckpt

// A fault point on PostgreSQL's side: raises an error where it is to fail. See base/fault_point.hpp.
#ifdef VECCKPT_FAULT_POINTS
#define VECCKPT_FAULT_POINT_RAISE(name, ...) \
  ::vecckpt::ThrowIfFailed(::vecckpt::Guard( \
      [&] { return ::vecckpt::PassFaultPoint(::vecckpt::FaultPoint::k##name __VA_OPT__(, ) __VA_ARGS__); }))
#else
#define VECCKPT_FAULT_POINT_RAISE(name, ...) static_cast<void>(::vecckpt::FaultPoint::k##name)
#endif
