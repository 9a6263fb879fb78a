// What a builder knows and does beyond the wall: its jobs in flight, and turning their results into
// generations. C++ side (see wall.hpp), except that nothing here is called from a thread: jobs are closures
// over core code.

#pragma once

#include "pg/validation.hpp"
#include "pg/writers.hpp"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "index/jobs.hpp"
#include "index/policy.hpp"
#include "index/thread_pool.hpp"

namespace vecckpt {

// One index as the builder sees it. Large jobs (graphs, long merges) and verifying are one at a time for the
// whole builder, so that seals always find a thread and memory stays within one vecckpt.build_memory. `facts`
// fields are refreshed at every visit.
struct IndexWork {
  IndexKey key;
  uint64 identity = 0;
  Oid index_oid = InvalidOid;
  char persistence = 'p';
  std::string name;
  Geometry geometry;
  std::shared_ptr<const IndexMapping> mapping;
  std::map<uint64_t, uint64_t> dead;  // of a segment's entries, as last counted
  uint64 counts = 0;                  // how often they were
  std::set<uint64_t> busy;            // read by a running job
  std::set<uint64_t> verified;        // wholly
  GenerationProof proof;              // of a generation that was loaded; see MapValidated
  PositionRange seal_range;           // read by the running seal
  bool seal_running = false;
  bool merge_running = false;
  bool verify_running = false;
  bool liveness_running = false;
  uint64 request = 0;         // seal request being answered
  uint64 request_target = 0;  // everything below must be covered
};

struct RunningJob {
  IndexKey key;
  uint64 identity = 0;
  JobKind kind = JobKind::kSeal;
  const char* name = "";  // what users see: the job in vec_progress
  Oid index_oid = InvalidOid;
  bool verify = false;
  bool large = false;
  bool by_request = false;  // worth a log line however small
  uint64 counts = 0;        // of its index when it began
  std::vector<uint64_t> inputs;
  uint64_t base_nodes = 0;  // of a kept base graph
  std::shared_ptr<SegmentHeader> result;
  std::shared_ptr<uint64_t> failed_segment;  // verify: the one that is bad
  uint64_t segment_id = 0;
  std::unique_ptr<Writer> writer;  // of the files it makes
  // Liveness bitmaps: what is written for which segment; then nothing above but key, identity and writer is
  // set.
  struct Bitmap {
    uint64_t segment_id;
    uint64_t bitmap_id;
  };
  std::vector<Bitmap> bitmaps;
};

struct Builder {
  std::unique_ptr<ThreadPool> pool;
  bool large_running = false;
  bool verify_running = false;
  std::map<IndexKey, IndexWork> works;
  std::map<ThreadPool::JobId, RunningJob> jobs;
  // Of the index being visited:
  IndexWork* visited = nullptr;
  std::vector<PolicyRange> uncovered;
  std::vector<PlannedJob> plan;
  bool postponed = false;  // a large job waits for another one to end
  EntryBatch batch;
  std::shared_ptr<Liveness> liveness;
  std::vector<LivenessInput> bitmaps;  // wanted
};

struct VisitFacts {
  IndexKey key;
  uint64 identity;
  Oid index_oid;
  char persistence;
  const char* name;
  Geometry geometry;
};

// Forgets work of indexes that have no entry any more.
Status DropForgottenWork(Builder* builder);

// Finds or makes the work of an index and makes it the visited one. Work of another identity starts anew.
Status BeginVisit(Builder* builder, const VisitFacts& facts);

// Positions in [first, end) that no segment covers and no running seal reads, to builder->uncovered; *open is
// the number of those no segment covers.
Status FindUncovered(Builder* builder, uint64 first, uint64 end, uint64* open);

// The next jobs, to builder->plan.
Status Plan(Builder* builder, bool seal_all, uint32 threads, uint64 memory_limit);

// A verify job, if the mapping has segments that were never wholly verified.
Status StartVerify(Builder* builder);

// builder->batch, read for the planned seal, becomes a job.
Status StartSeal(Builder* builder, PositionRange range, uint64 end_hash, uint64 max_lsn, bool by_request);
// A merge or graph job over segments of the mapping, with builder->liveness, which was read from pages up to
// `liveness_lsn`: what the job leaves out is as much derived from them as what it keeps.
Status StartRewrite(Builder* builder, const PlannedJob& planned, uint64 liveness_lsn, uint32 threads,
                    uint64 memory_limit);

// Notes the dead entries of a segment of the mapping, as in builder->liveness. Asks for a bitmap where
// searches know of another number.
Status NoteDead(Builder* builder, size_t segment, uint64 live);
// The bitmaps asked for become a job.
Status StartLiveness(Builder* builder);

// Forgets an index that is gone; its jobs are cancelled and their results thrown away.
Status DropWork(Builder* builder, const IndexKey& key);

// Takes finished jobs: publishes what they built, records what failed. *finished counts them.
Status DrainJobs(Builder* builder, int* finished, Notices* notices);

}  // namespace vecckpt
