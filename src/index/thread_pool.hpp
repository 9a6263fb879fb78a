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
#include <vector>

#include "base/status.hpp"

namespace vecckpt {

// What a running job sees of its surroundings.
struct JobContext {
  std::atomic<bool> cancel{false};  // polled; the job returns Status::Cancelled()
  std::atomic<uint64_t> done{0};    // units done, for progress
  std::atomic<uint64_t> total{0};   // units in all
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
  // Units done and in all of a job not yet drained; false if there is none of that id.
  bool Progress(JobId id, uint64_t* done, uint64_t* total) const;
  void Cancel(JobId id);
  // Sets every cancel flag; returns at once.
  void CancelAll();

 private:
  struct State;
  explicit ThreadPool(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace vecckpt
