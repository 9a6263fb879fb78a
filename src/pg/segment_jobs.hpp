// The jobs of builders, and of sessions that have indexes on temporary tables: what they read and where they
// write. C++ side (see wall.hpp).

#pragma once

#include "pg/mappings.hpp"
#include "pg/writers.hpp"

#include <memory>

#include "index/jobs.hpp"
#include "index/policy.hpp"
#include "index/thread_pool.hpp"

namespace vecckpt {

// A new segment file of an index.
Status NewOutput(Writer* writer, const IndexKey& key, uint64 identity, const Geometry& geometry,
                 JobOutput* output);

// Writes a flat segment over `output.range`; *result describes it then. `mapping`, or null: what is there
// already and may share its codec.
ThreadPool::Job SealJob(const JobOutput& output, EntryBatch entries, const IndexMapping* mapping,
                        std::shared_ptr<SegmentHeader> result);

struct RewriteOptions {
  std::shared_ptr<const Liveness> liveness;  // of the inputs
  uint64 liveness_lsn = 0;  // of the pages it was read from: what a job leaves out is derived from them too
  uint32 threads = 1;
  bool background = false;  // the threads give way to everything else
  uint64 memory_limit = 0;
};
// A planned merge or graph over segments of `mapping`. Fills output's range, hash and LSN. kInternal if an
// input is not mapped.
Result<ThreadPool::Job> RewriteJob(const PlannedJob& planned, const IndexMapping& mapping,
                                   const RewriteOptions& options, JobOutput output,
                                   std::shared_ptr<SegmentHeader> result);

}  // namespace vecckpt
