// See mapping_guard.hpp.

#include "os/mapping_guard.hpp"

#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>

namespace vecckpt {

namespace {

// As many mappings as the kernel allows a process by default (vm.max_map_count).
constexpr int kPlaces = 1 << 16;

struct Place {
  std::atomic<uintptr_t> begin;  // 0: free
  std::atomic<uintptr_t> end;
  std::atomic<bool> damaged;
};

Place places[kPlaces];
std::atomic<int> used_places;  // all behind are free and never were used

std::mutex free_mutex;
int next_free[kPlaces];  // a list through the free places, by number; guarded by free_mutex
int first_free = kUnguarded;

struct sigaction previous;

// Zeros in place of the mapping. Only what a signal handler may do.
bool Replace(Place* place, uintptr_t at) {
  const uintptr_t begin = place->begin.load(std::memory_order_acquire);
  const uintptr_t end = place->end.load(std::memory_order_acquire);
  // Another thread may have given the place to another mapping between the two.
  if (place->begin.load(std::memory_order_acquire) != begin) return false;
  if (begin == 0 || at < begin || at >= end) return false;
  place->damaged.store(true, std::memory_order_release);
  return mmap(reinterpret_cast<void*>(begin), end - begin, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
              -1, 0) != MAP_FAILED;
}

void OnBusError(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const auto at = reinterpret_cast<uintptr_t>(info->si_addr);
  const bool sent = info->si_code <= 0;  // by a process; there is no address then
  const int used = sent ? 0 : used_places.load(std::memory_order_acquire);
  for (int i = 0; i < used; ++i) {
    if (Replace(&places[i], at)) {
      errno = saved_errno;
      return;
    }
  }
  errno = saved_errno;
  if ((previous.sa_flags & SA_SIGINFO) != 0) return previous.sa_sigaction(signal, info, context);
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) return previous.sa_handler(signal);
  // The fault comes again when this returns, and ends the process; a signal that was sent has to be sent
  // again.
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  sigaction(SIGBUS, &standard, nullptr);
  if (sent) raise(signal);
}

void InstallHandler() {
  struct sigaction action = {};
  action.sa_sigaction = OnBusError;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigemptyset(&action.sa_mask);
  // Known before the handler can run.
  sigaction(SIGBUS, nullptr, &previous);
  sigaction(SIGBUS, &action, nullptr);
}

GuardPlace TakePlace() {
  const std::lock_guard<std::mutex> lock(free_mutex);
  if (first_free != kUnguarded) {
    const int place = first_free;
    first_free = next_free[place];
    return place;
  }
  const int used = used_places.load(std::memory_order_relaxed);
  if (used == kPlaces) return kUnguarded;
  used_places.store(used + 1, std::memory_order_release);
  return used;
}

}  // namespace

GuardPlace GuardMapping(void* address, size_t size) {
  static std::once_flag installed;
  std::call_once(installed, InstallHandler);
  const GuardPlace place = TakePlace();
  if (place == kUnguarded) return place;
  const auto begin = reinterpret_cast<uintptr_t>(address);
  places[place].damaged.store(false, std::memory_order_relaxed);
  places[place].end.store(begin + size, std::memory_order_release);
  places[place].begin.store(begin, std::memory_order_release);
  return place;
}

bool MappingDamaged(GuardPlace place) {
  return place != kUnguarded && places[place].damaged.load(std::memory_order_acquire);
}

void ReleaseMapping(GuardPlace place) {
  if (place == kUnguarded) return;
  places[place].begin.store(0, std::memory_order_release);
  const std::lock_guard<std::mutex> lock(free_mutex);
  next_free[place] = first_free;
  first_free = place;
}

void AllowFaults(sigset_t* blocked) {
  for (const int signal : {SIGBUS, SIGSEGV, SIGFPE, SIGILL}) sigdelset(blocked, signal);
}

}  // namespace vecckpt
