// Threads that share a range of numbers as their work, with all signals blocked.
//
// Thread safety: one thread calls RunInThreads; WorkRange::Take is for any thread.

#pragma once

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/status.hpp"
#include "os/mapping_guard.hpp"

namespace vecckpt {

// Blocks all signals but those of its own faults in the calling thread, and so in the threads it starts,
// until destroyed.
class SignalBlock {
 public:
  SignalBlock() {
    sigset_t all;
    sigfillset(&all);
    AllowFaults(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalBlock() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;

 private:
  sigset_t before_;
};

// The numbers from `first` to below `end`, handed out once each.
class WorkRange {
 public:
  WorkRange(uint32_t first, uint32_t end, const std::atomic<bool>* cancel)
      : next_(first), end_(end), cancel_(cancel) {}

  // False when all are taken, the work was stopped or the cancel flag is seen. A thread that got false stops,
  // so that the counter cannot wrap around.
  bool Take(uint32_t* number) {
    if (stopped_.load() || CancelSeen()) return false;
    *number = next_.fetch_add(1);
    return *number < end_;
  }
  void Stop() { stopped_.store(true); }
  bool CancelSeen() const { return cancel_ != nullptr && cancel_->load(); }
  bool all_taken() const { return next_.load() >= end_; }

 private:
  std::atomic<uint32_t> next_;
  const uint32_t end_;
  const std::atomic<bool>* const cancel_;
  std::atomic<bool> stopped_{false};
};

struct BuildThreads {
  uint32_t count = 1;
  // They give way to whatever else wants to run: a graph that is finished later costs searches less than
  // threads that take the processors from them.
  bool background = false;
};

// Makes the calling thread, and no other, one of lower priority, where the system can do that.
inline void LowerPriority() {
#if defined(__linux__)
  constexpr int kLowerBy = 10;
  [[maybe_unused]] const int now = nice(kLowerBy);  // of a thread, on Linux
#endif
}

// Runs `work`, which takes numbers from `range` until none is left, in `build.count` threads and joins them.
// What one throws stops the others and is thrown again; kCancelled when the cancel flag was seen.
template <typename Work>
Status RunInThreads(const BuildThreads& build, WorkRange* range, const Work& work) {
  std::mutex failure_mutex;
  std::exception_ptr failure;
  const auto guarded_work = [&] {
    if (build.background) LowerPriority();
    try {
      work();
    } catch (...) {
      range->Stop();
      const std::lock_guard<std::mutex> lock(failure_mutex);
      if (failure == nullptr) failure = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(std::max(build.count, 1u));
  {
    const SignalBlock no_signals;
    try {
      while (threads.size() < threads.capacity()) threads.emplace_back(guarded_work);
    } catch (const std::exception&) {
      // Fewer threads do the same work, and those that run must be joined.
    }
  }
  const bool started = !threads.empty();
  for (std::thread& thread : threads) thread.join();
  if (!started) return Status::OutOfMemory("could not start a thread to build a graph");
  if (failure != nullptr) std::rethrow_exception(failure);
  return !range->all_taken() || range->CancelSeen() ? Status::Cancelled() : Status::Ok();
}

}  // namespace vecckpt
