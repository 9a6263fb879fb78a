// A job is one record that moves, by splicing and so without allocating, from the queue to the running list
// to the finished list. Everything but the cancel and progress atomics is under the one mutex.

#include "index/thread_pool.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <list>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#include "os/mapping_guard.hpp"

namespace vecckpt {

namespace {

struct Record {
  ThreadPool::JobId id = 0;
  ThreadPool::Job job;
  JobContext context;
  Status status;
};

using Records = std::list<Record>;

// Blocks all signals but those of its own faults in this thread while it lives; threads started meanwhile
// inherit that.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    AllowFaults(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

int64_t Now() {
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(since_1970).count();
}

Status RunCatching(Record& record) {
  if (record.context.cancel.load(std::memory_order_relaxed)) return Status::Cancelled();
  record.context.began = Now();
  record.context.Enter(JobPhase::kPreparing);
  try {
    return record.job(record.context);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    return Status::Internal(error.what());
  }
}

// Catches also what copying a message may throw.
Status RunGuarded(Record& record) {
  try {
    return RunCatching(record);
  } catch (const std::bad_alloc&) {
    return Status::OutOfMemory("out of memory");
  } catch (...) {
    return Status::Internal("unknown error");
  }
}

Record* Find(Records& records, ThreadPool::JobId id) {
  for (Record& record : records) {
    if (record.id == id) return &record;
  }
  return nullptr;
}

}  // namespace

const char* NameOf(JobPhase phase) {
  switch (phase) {
    case JobPhase::kQueued:
      return "queued";
    case JobPhase::kPreparing:
      return "preparing";
    case JobPhase::kEncoding:
      return "encoding vectors";
    case JobPhase::kCopying:
      return "copying codes";
    case JobPhase::kLinking:
      return "inserting nodes";
    case JobPhase::kVerifying:
      return "verifying files";
    case JobPhase::kRepairing:
      return "making nodes findable";
    case JobPhase::kWriting:
      return "writing file";
  }
  return "unknown";
}

const char* UnitOf(JobPhase phase) {
  switch (phase) {
    case JobPhase::kEncoding:
      return "entries";
    case JobPhase::kCopying:
    case JobPhase::kLinking:
      return "nodes";
    case JobPhase::kVerifying:
      return "bytes";
    default:
      return nullptr;
  }
}

void JobContext::Begin(JobPhase next, uint64_t units) {
  done = 0;
  total = units;
  Enter(next);
}

void JobContext::Enter(JobPhase next) {
  phase_began = Now();
  phase = next;
}

struct ThreadPool::State {
  int wakeup_fd = -1;
  uint32_t max_threads = 1;
  std::vector<std::thread> threads;  // the owner's alone

  std::mutex mutex;
  std::condition_variable work;
  Records queued;
  Records running;
  Records finished;
  JobId last_id = 0;
  size_t idle = 0;  // threads that wait for work
  bool stop = false;

  ~State() {
    if (wakeup_fd >= 0) close(wakeup_fd);
  }

  void ThreadMain();
  Status StartThread();
  Record* FindAny(JobId id);
};

void ThreadPool::State::ThreadMain() {
  std::unique_lock<std::mutex> lock(mutex);
  for (;;) {
    ++idle;
    work.wait(lock, [this] { return stop || !queued.empty(); });
    --idle;
    if (stop) return;

    auto record = queued.begin();
    running.splice(running.end(), queued, record);
    lock.unlock();
    record->status = RunGuarded(*record);
    record->job = nullptr;  // what the job holds is released before its completion can be seen
    lock.lock();
    finished.splice(finished.end(), running, record);

    const uint64_t one = 1;
    ssize_t written;
    do {
      written = write(wakeup_fd, &one, sizeof(one));
    } while (written < 0 && errno == EINTR);
  }
}

Status ThreadPool::State::StartThread() {
  threads.reserve(threads.size() + 1);
  SignalsBlocked blocked;
  try {
    threads.emplace_back([this] { ThreadMain(); });
  } catch (const std::system_error& error) {
    return Status::OutOfMemory(std::string("could not start a compute thread: ") + error.what());
  }
  return Status::Ok();
}

Record* ThreadPool::State::FindAny(JobId id) {
  for (Records* records : {&running, &queued, &finished}) {
    if (Record* record = Find(*records, id)) return record;
  }
  return nullptr;
}

Result<std::unique_ptr<ThreadPool>> ThreadPool::Create(uint32_t max_threads) {
  if (max_threads == 0) return Status::InvalidArgument("a thread pool needs at least one thread");
  auto state = std::make_unique<State>();
  state->max_threads = max_threads;
  state->wakeup_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (state->wakeup_fd < 0) return Status::FromErrno(errno, "create", "eventfd");
  return std::unique_ptr<ThreadPool>(new ThreadPool(std::move(state)));
}

ThreadPool::ThreadPool(std::unique_ptr<State> state) : state_(std::move(state)) {}

ThreadPool::~ThreadPool() {
  CancelAll();
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    state_->stop = true;
  }
  state_->work.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

Result<ThreadPool::JobId> ThreadPool::Submit(Job job) {
  Records fresh;
  fresh.emplace_back().job = std::move(job);
  JobId id;
  bool want_thread;
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    id = ++state_->last_id;
    fresh.front().id = id;
    want_thread = state_->queued.size() + 1 > state_->idle && state_->threads.size() < state_->max_threads;
  }
  if (want_thread) {
    // With at least one thread running, the job gets its turn even if no other can be started.
    Status started = state_->StartThread();
    if (!started.ok() && state_->threads.empty()) return started;
  }
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    state_->queued.splice(state_->queued.end(), fresh);
  }
  state_->work.notify_one();
  return id;
}

std::vector<ThreadPool::Completion> ThreadPool::Drain() {
  Records finished;
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    uint64_t count;
    // Nothing to read is the normal case of a drain without a completion.
    [[maybe_unused]] ssize_t got = read(state_->wakeup_fd, &count, sizeof(count));
    finished.swap(state_->finished);
  }
  std::vector<Completion> completions;
  completions.reserve(finished.size());
  for (Record& record : finished) completions.push_back({record.id, std::move(record.status)});
  return completions;
}

int ThreadPool::wakeup_fd() const {
  return state_->wakeup_fd;
}

size_t ThreadPool::outstanding() const {
  std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->queued.size() + state_->running.size() + state_->finished.size();
}

std::optional<JobProgress> ThreadPool::Progress(JobId id) const {
  std::lock_guard<std::mutex> lock(state_->mutex);
  const Record* record = state_->FindAny(id);
  if (record == nullptr) return std::nullopt;
  const JobContext& context = record->context;
  return JobProgress{context.phase, context.done, context.total, context.began, context.phase_began};
}

void ThreadPool::Cancel(JobId id) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  if (Record* record = state_->FindAny(id)) record->context.cancel.store(true, std::memory_order_relaxed);
}

void ThreadPool::CancelAll() {
  std::lock_guard<std::mutex> lock(state_->mutex);
  for (Records* records : {&state_->queued, &state_->running}) {
    for (Record& record : *records) record.context.cancel.store(true, std::memory_order_relaxed);
  }
}

}  // namespace vecckpt
