// The thread pool: completions, wake-ups, errors, cancelling, signals.

#include "index/thread_pool.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include <map>
#include <mutex>
#include <new>
#include <set>
#include <stdexcept>
#include <thread>

namespace vecckpt {
namespace {

bool Readable(int fd, int timeout_ms) {
  pollfd poller{fd, POLLIN, 0};
  return poll(&poller, 1, timeout_ms) == 1;
}

// Drains until `count` completions have come.
std::map<ThreadPool::JobId, Status> Await(ThreadPool& pool, size_t count) {
  std::map<ThreadPool::JobId, Status> statuses;
  while (statuses.size() < count) {
    EXPECT_TRUE(Readable(pool.wakeup_fd(), 60000));
    for (ThreadPool::Completion& completion : pool.Drain()) {
      EXPECT_TRUE(statuses.emplace(completion.id, completion.status).second);
    }
  }
  return statuses;
}

TEST(ThreadPoolTest, RunsEveryJobOnce) {
  auto pool = ThreadPool::Create(2);
  ASSERT_TRUE(pool.ok());
  std::atomic<int> runs{0};
  std::set<ThreadPool::JobId> ids;
  for (int i = 0; i < 100; ++i) {
    auto id = (*pool)->Submit([&](JobContext&) {
      ++runs;
      return Status::Ok();
    });
    ASSERT_TRUE(id.ok());
    ids.insert(*id);
  }
  EXPECT_EQ(ids.size(), 100u);
  for (const auto& [id, status] : Await(**pool, 100)) {
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(ids.count(id), 1u);
  }
  EXPECT_EQ(runs, 100);
  EXPECT_EQ((*pool)->outstanding(), 0u);
  EXPECT_FALSE(Readable((*pool)->wakeup_fd(), 0));
}

TEST(ThreadPoolTest, RefusesZeroThreads) {
  EXPECT_EQ(ThreadPool::Create(0).status().code(), StatusCode::kInvalidArgument);
}

TEST(ThreadPoolTest, ErrorsAndExceptionsBecomeStatus) {
  auto pool = ThreadPool::Create(1);
  ASSERT_TRUE(pool.ok());
  const auto a = (*pool)->Submit([](JobContext&) { return Status::Corruption("rotten"); });
  const auto b = (*pool)->Submit([](JobContext&) -> Status { throw std::bad_alloc(); });
  const auto c = (*pool)->Submit([](JobContext&) -> Status { throw std::runtime_error("thrown"); });
  const auto d = (*pool)->Submit([](JobContext&) -> Status { throw 42; });
  const auto e = (*pool)->Submit([](JobContext&) { return Status::Ok(); });
  auto statuses = Await(**pool, 5);
  EXPECT_EQ(statuses[*a].code(), StatusCode::kCorruption);
  EXPECT_EQ(statuses[*b].code(), StatusCode::kOutOfMemory);
  EXPECT_EQ(statuses[*c].code(), StatusCode::kInternal);
  EXPECT_EQ(statuses[*c].message(), "thrown");
  EXPECT_EQ(statuses[*d].code(), StatusCode::kInternal);
  EXPECT_TRUE(statuses[*e].ok());
}

// Two jobs that wait for each other end only if they run at once; a third has to wait its turn.
TEST(ThreadPoolTest, UsesAllThreadsAndNoMore) {
  auto pool = ThreadPool::Create(2);
  ASSERT_TRUE(pool.ok());
  std::atomic<int> arrived{0};
  std::atomic<int> inside{0};
  std::atomic<int> most_inside{0};
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE((*pool)
                    ->Submit([&](JobContext&) {
                      const int now = ++inside;
                      int seen = most_inside;
                      while (now > seen && !most_inside.compare_exchange_weak(seen, now)) {
                      }
                      ++arrived;
                      while (arrived < 2) std::this_thread::yield();
                      --inside;
                      return Status::Ok();
                    })
                    .ok());
  }
  Await(**pool, 4);
  EXPECT_EQ(most_inside, 2);
}

TEST(ThreadPoolTest, CancelReachesRunningAndWaitingJobs) {
  auto pool = ThreadPool::Create(1);
  ASSERT_TRUE(pool.ok());
  std::atomic<bool> second_ran{false};
  const auto first = (*pool)->Submit([](JobContext& context) {
    context.Begin(JobPhase::kLinking, 7);
    context.done = 3;
    while (!context.cancel) std::this_thread::yield();
    return Status::Cancelled();
  });
  const auto second = (*pool)->Submit([&](JobContext&) {
    second_ran = true;
    return Status::Ok();
  });
  const auto third = (*pool)->Submit([](JobContext&) { return Status::Ok(); });
  ASSERT_TRUE(first.ok() && second.ok() && third.ok());

  std::optional<JobProgress> progress;
  do {
    std::this_thread::yield();
    progress = (*pool)->Progress(*first);
    ASSERT_TRUE(progress);
  } while (progress->done != 3);
  // Its parts were read one after another: only from here on, where the job waits, do they fit together.
  progress = (*pool)->Progress(*first);
  EXPECT_EQ(progress->total, 7u);
  EXPECT_EQ(progress->phase, JobPhase::kLinking);
  EXPECT_GT(progress->began, 0);
  EXPECT_GE(progress->phase_began, progress->began);
  EXPECT_EQ((*pool)->Progress(*second)->phase, JobPhase::kQueued);
  EXPECT_EQ((*pool)->outstanding(), 3u);
  (*pool)->Cancel(*second);
  (*pool)->Cancel(*first);
  auto statuses = Await(**pool, 3);
  EXPECT_EQ(statuses[*first].code(), StatusCode::kCancelled);
  EXPECT_EQ(statuses[*second].code(), StatusCode::kCancelled);
  EXPECT_TRUE(statuses[*third].ok());
  EXPECT_FALSE(second_ran);
  EXPECT_FALSE((*pool)->Progress(*first));
}

TEST(ThreadPoolTest, DestructorCancelsAndJoins) {
  std::atomic<int> ended{0};
  std::atomic<int> started{0};
  {
    auto pool = ThreadPool::Create(2);
    ASSERT_TRUE(pool.ok());
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE((*pool)
                      ->Submit([&](JobContext& context) {
                        ++started;
                        while (!context.cancel) std::this_thread::yield();
                        ++ended;
                        return Status::Cancelled();
                      })
                      .ok());
    }
    while (started < 2) std::this_thread::yield();
  }
  EXPECT_EQ(started, 2);
  EXPECT_EQ(ended, 2);
}

TEST(ThreadPoolTest, WhatAJobHoldsIsReleasedBeforeItsCompletion) {
  auto pool = ThreadPool::Create(1);
  ASSERT_TRUE(pool.ok());
  auto held = std::make_shared<int>(1);
  ASSERT_TRUE((*pool)->Submit([held](JobContext&) { return Status::Ok(); }).ok());
  ASSERT_TRUE(Readable((*pool)->wakeup_fd(), 60000));
  EXPECT_EQ(held.use_count(), 1);
}

TEST(ThreadPoolTest, ThreadsBlockAllSignals) {
  sigset_t before;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  auto pool = ThreadPool::Create(1);
  ASSERT_TRUE(pool.ok());
  sigset_t inside;
  sigemptyset(&inside);
  ASSERT_TRUE((*pool)
                  ->Submit([&](JobContext&) {
                    pthread_sigmask(SIG_SETMASK, nullptr, &inside);
                    return Status::Ok();
                  })
                  .ok());
  Await(**pool, 1);
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD, SIGQUIT}) {
    EXPECT_EQ(sigismember(&inside, signal), 1) << signal;
  }
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int signal : {SIGINT, SIGTERM, SIGUSR1}) {
    EXPECT_EQ(sigismember(&after, signal), sigismember(&before, signal));
  }
}

}  // namespace
}  // namespace vecckpt
