// What happens when a page of a mapped file cannot be read: a bad sector, a file cut short by somebody, a
// hole that finds no room in memory. The kernel then sends SIGBUS to whoever reads, which would end the
// process.
//
// A guarded mapping is replaced by zeros instead, wholly and for good, and known as damaged from then on. The
// reader goes on over zeros; it must be able to stand any bytes, and must ask MappingDamaged before it
// believes what it has read. Faults outside guarded mappings go to the handler that was there before.
//
// Why that is safe: the fault comes in the thread that reads, at an instruction that does nothing but read.
// The handler looks through a fixed table of atomics, makes one system call (mmap with MAP_FIXED) and sets a
// flag; it takes no lock and allocates nothing. SIGBUS must not be blocked in a thread that reads a mapping,
// because the kernel ends a process that blocks a fault of its own: AllowFaults.
//
// Thread safety: all functions from any thread.

#pragma once

#include <signal.h>

#include <cstddef>

namespace vecckpt {

// The place of a mapping in the table; negative where the table is full, which leaves it unguarded.
using GuardPlace = int;
constexpr GuardPlace kUnguarded = -1;

// REQUIRES: `address` is the start of a mapping of `size` > 0 bytes. The first call installs the handler.
GuardPlace GuardMapping(void* address, size_t size);
bool MappingDamaged(GuardPlace place);
// REQUIRES: comes before the mapping is unmapped.
void ReleaseMapping(GuardPlace place);

// Takes out of a set of signals to be blocked those that tell of a thread's own faults.
void AllowFaults(sigset_t* blocked);

}  // namespace vecckpt
