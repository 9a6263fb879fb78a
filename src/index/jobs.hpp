// The work of compute threads: writing new segment files. One function a kind of job.
//
//   seal    entries read from the log            -> one flat segment
//   merge   neighbouring flat segments           -> one flat segment
//   graph   flat segments, or a graph segment and its neighbours of any kind (*absorb*), or one graph segment
//           alone (*rebuild*)                    -> one graph segment
//
// Every job writes its file under a temporary name and renames it when complete; on failure nothing stays.
// A node is a distinct code: entries with equal codes share one. Dead entries are left out where a Liveness
// is given; the position range stays the union of the inputs'. Two inputs that refer to one extent with
// different sequences: the entries of the lower sequence are gone, and left out. An absorb keeps the graph,
// the node numbers and the codec of the graph segment with the most entries, its *base* (whose dead nodes
// stay as nodes without entries), unless `keep_base_graph` is false: then all is built anew from live nodes.
// If the other inputs cannot be held by the base's codec, all is built anew with one that holds them. Codes
// are copied between equal codecs, else transcoded, which makes sq8's lower bounds wider: so codecs are
// handed on from segment to segment, and a rebuild keeps them too (it has no vectors to train with).
//
// Thread safety: functions without shared state; inputs are immutable while a job runs.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.hpp"
#include "index/liveness.hpp"
#include "index/thread_pool.hpp"
#include "segment/manifest.hpp"
#include "segment/segment.hpp"

namespace vecckpt {

// Where a job writes and what it stamps on its segment.
struct JobOutput {
  std::string path;  // the segment's own name; the writer adds .tmp while it writes
  uint64_t segment_id = 0;
  uint64_t identity = 0;
  unsigned mode = 0600;
  Geometry geometry;
  PositionRange range;
  uint64_t end_hash = 0;  // running hash at range.end
  uint64_t max_lsn = 0;
};

// Entries of the log, in position order, as the main thread read them.
struct EntryBatch {
  std::vector<float> vectors;         // entries x dims
  std::vector<uint64_t> ordinals;     // entries
  std::vector<ExtentRecord> extents;  // of these entries, in any order, one record an extent
};

// Writes the liveness bitmap of a segment. REQUIRES: `liveness` was told of all of its extents.
struct LivenessInput {
  std::string path;
  unsigned mode = 0600;
  std::shared_ptr<const Segment> segment;
  std::shared_ptr<const Liveness> liveness;
};
Status RunLiveness(const LivenessInput& input, JobContext& context);

struct SealInput {
  JobOutput output;
  EntryBatch entries;
  // A segment that the result will be merged with, or null. Its codec is taken where it suits the entries
  // about as well as one of their own, so that codes can be copied then.
  std::shared_ptr<const Segment> neighbour = nullptr;
};
Result<SegmentHeader> RunSeal(const SealInput& input, JobContext& context);

struct MergeInput {
  JobOutput output;
  std::vector<std::shared_ptr<const Segment>> segments;  // flat, by range
  std::shared_ptr<const Liveness> liveness;              // null: all alive
};
Result<SegmentHeader> RunMerge(const MergeInput& input, JobContext& context);

struct GraphInput {
  JobOutput output;
  std::vector<std::shared_ptr<const Segment>> segments;  // by range
  std::shared_ptr<const Liveness> liveness;              // null: all alive
  bool keep_base_graph = true;
  uint32_t threads = 1;
  bool background = false;    // the threads give way to everything else
  uint64_t memory_limit = 0;  // bytes of anonymous memory; 0: none. Checked before building: kOutOfMemory.
  uint64_t copy_limit = 0;    // codes are copied, for speed, if that and all else stays within so many bytes
};
Result<SegmentHeader> RunGraph(const GraphInput& input, JobContext& context);

// Writes a flat segment of entries that come in batches (CREATE INDEX: the whole log), without holding them
// all.
class FlatSegmentBuilder {
 public:
  // `statistics` must cover every vector that will be added. The codec's mean is that of the
  // first batch.
  static Result<std::unique_ptr<FlatSegmentBuilder>> Create(const JobOutput& output,
                                                            const VectorStatistics& statistics);
  ~FlatSegmentBuilder();
  Status Add(const EntryBatch& batch);
  uint64_t entry_count() const;
  uint64_t memory_bytes() const;
  // Range, end_hash and max_lsn as known at the end replace those of `output`.
  Result<SegmentHeader> Finish(PositionRange range, uint64_t end_hash, uint64_t max_lsn);

 private:
  struct State;
  explicit FlatSegmentBuilder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace vecckpt
