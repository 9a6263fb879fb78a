// Writers: who makes files that no manifest refers to yet. The sweep leaves their files alone.
//
// A job, a CREATE INDEX and a publication are a writer each, however many files they make: the ids of a
// writer's files have the same upper half, its *family*, and shared memory holds no more than that. So there
// is a place for every writer there can be (MaxWriters), and nobody waits for one or fails without one.

#pragma once

#include "pg/pg.hpp"

#include <memory>
#include <vector>

#include "base/status.hpp"

namespace vecckpt {

// Of one builder, submitted and not yet finished. More would take memory for what they have read long before
// a thread comes to them. Few in a build with fault points, so that a test comes to the last place.
#ifdef VECCKPT_FAULT_POINTS
constexpr int kMostJobs = 8;
#else
constexpr int kMostJobs = 64;
#endif

// Places in shared memory. REQUIRES: MaxBackends is known.
int MaxWriters();
Size WritersSize();
// The caller holds AddinShmemInitLock.
void AttachWriters();

// C++ side of the wall (see wall.hpp). Lives from before the first of its files is created until all of them
// are published or removed. For the process's main thread.
class Writer {
 public:
  static Result<std::unique_ptr<Writer>> Register();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer();

  // The id of a new segment, manifest or liveness bitmap: as random as a whole, and another one each time.
  uint64 NewId();

 private:
  Writer(int place, uint64 first_id) : place_(place), next_id_(first_id) {}
  int place_;
  uint64 next_id_;
};

inline uint32 FamilyOf(uint64 id) {
  return static_cast<uint32>(id >> 32);
}

// The families of all writers, in ascending order.
std::vector<uint32> WriterFamilies();

}  // namespace vecckpt
