// Compute threads for a process whose main thread belongs to PostgreSQL.
//
// Jobs run in pool threads with every signal blocked and never touch PostgreSQL. A finished job becomes a
// *completion* that the main thread drains; wakeup_fd() becomes readable when there is one, so that the main
// thread can wait for its latch and for completions at once.
//
// Thread safety: Submit, Drain, Cancel* and the destructor from the owner's thread only.
// Invariants: the destructor cancels all jobs, joins all threads, and drops undrained completions.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/status.hpp"

namespace vecckpt {

// What a job is at. Those from kEncoding to kVerifying count units; see UnitOf.
enum class JobPhase : uint32_t {
  kQueued,
  kPreparing,
  kEncoding,
  kCopying,
  kLinking,
  kVerifying,
  kRepairing,
  kWriting
};
// For users.
const char* NameOf(JobPhase phase);
// What a phase counts; null if nothing.
const char* UnitOf(JobPhase phase);

// What a running job sees of its surroundings. Progress is advice: its parts need not fit together.
struct JobContext {
  std::atomic<bool> cancel{false};  // polled; the job returns Status::Cancelled()
  std::atomic<JobPhase> phase{JobPhase::kQueued};
  std::atomic<uint64_t> done{0};        // units done, of the last phase that counts
  std::atomic<uint64_t> total{0};       // units in all
  std::atomic<int64_t> began{0};        // microseconds since 1970
  std::atomic<int64_t> phase_began{0};  // likewise

  // Enters a phase that counts so many units, or one that counts none.
  void Begin(JobPhase next, uint64_t units);
  void Enter(JobPhase next);
};

struct JobProgress {
  JobPhase phase;
  uint64_t done;
  uint64_t total;
  int64_t began;        // 0: not yet
  int64_t phase_began;  // likewise
};

class ThreadPool {
 public:
  using JobId = uint64_t;
  // Runs in a pool thread. May throw std::bad_alloc and other std exceptions: they become a Status.
  using Job = std::function<Status(JobContext&)>;
  struct Completion {
    JobId id;
    Status status;
  };

  // Starts no thread yet; a thread is started when a job is submitted and none is idle, up to `max_threads`
  // (further jobs wait in order).
  static Result<std::unique_ptr<ThreadPool>> Create(uint32_t max_threads);
  ~ThreadPool();

  Result<JobId> Submit(Job job);
  // Completions so far, oldest first; clears the readable state of wakeup_fd().
  std::vector<Completion> Drain();
  // An eventfd, non-blocking.
  int wakeup_fd() const;
  // Jobs submitted and not yet drained.
  size_t outstanding() const;
  // Of a job not yet drained; nothing if there is none of that id.
  std::optional<JobProgress> Progress(JobId id) const;
  void Cancel(JobId id);
  // Sets every cancel flag; returns at once.
  void CancelAll();

 private:
  struct State;
  explicit ThreadPool(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace vecckpt
