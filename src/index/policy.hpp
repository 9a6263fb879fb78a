// The absorb policy: from what an index looks like to the jobs to start next. A pure function, simulated in
// the unit tests.
//
// Rules, in order:
//   1. Seal: an uncovered range of at least kSealEntries (any that is not empty, when `seal_all`) becomes a
//      flat segment, at most kSealPositions and kSealBytes of codes at a time; at most one seal at a time an
//      index. The range with the most entries comes first. Where many flat segments wait to be merged, more
//      entries are asked for, up to kGraphEntries.
//   2. Rebuild: a graph segment more than a quarter dead, counting nodes without entries, is rebuilt
//      without its dead.
//   3. Absorb: the first graph segment whose idle neighbours, newer and older, none larger than itself,
//      together hold at least 1/8 of its entries takes them in, if the result fits the memory limit; as many
//      of them as fit.
//   4. Build: adjacent idle flat segments that reach kGraphEntries entries become
//      a graph segment; as many of them as fit the memory limit.
//   5. Merge: kMergeFan or more adjacent idle flat segments, the largest no larger than the others together,
//      become one, unless that would be too large to become a graph.
// Segments that a running job reads are busy and in no second job. At most one *large* job runs at a time an
// index: a graph job (rules 2 to 4) or a merge of more than kSmallMergeEntries. It never delays a seal or a
// smaller merge, for which one thread is kept. Sizes count live entries, so that segments whose entries are
// dead do not pile up.

#pragma once

#include <cstdint>
#include <vector>

#include "segment/segment.hpp"

namespace vecckpt {

constexpr uint64_t kSealEntries = 256;
constexpr uint64_t kSealPositions = 65536;
constexpr uint64_t kSealBytes = 16 << 20;
// From here on a graph is searched faster than the codes are scanned (about 50 ns an entry through SQL).
constexpr uint64_t kGraphEntries = 4096;
constexpr uint32_t kMergeFan = 4;
constexpr uint64_t kSmallMergeEntries = 32768;

struct PolicySegment {
  uint64_t id = 0;
  SegmentKind kind = SegmentKind::kFlat;
  PositionRange range;
  uint64_t nodes = 0;
  uint64_t entries = 0;
  uint64_t dead = 0;    // of the entries, as last counted
  uint64_t stride = 0;  // bytes of a code
  bool busy = false;
};

struct PolicyRange {
  PositionRange range;   // positions no segment covers and no running seal reads
  uint64_t entries = 0;  // used slots in it, dead ones included
};

struct PolicyInput {
  std::vector<PolicySegment> segments;  // by range
  std::vector<PolicyRange> uncovered;   // by range
  bool seal_all = false;                // a checkpoint wants everything covered
  bool seal_running = false;
  bool merge_running = false;  // one that is not large
  bool large_running = false;  // a graph job or a large merge
  uint32_t m = 16;
  uint32_t threads = 1;
  uint64_t stride = 0;        // bytes of a code as a seal would write it; 0: as the segments'
  uint64_t memory_limit = 0;  // bytes for one graph job, 0: none
};

enum class JobKind { kSeal, kMerge, kGraph };

struct PlannedJob {
  JobKind kind = JobKind::kSeal;
  bool large = false;              // every graph job, and long merges
  PositionRange range;             // seal: what to read
  std::vector<uint64_t> segments;  // merge, graph: inputs by range
  bool keep_base_graph = false;    // graph: the largest graph among the inputs is kept (absorb)
};

// Adjacency: two segments are neighbours if no uncovered entries, no running seal and no other segment lie
// between them.
std::vector<PlannedJob> PlanJobs(const PolicyInput& input);

// What the policy looks at of a segment; `dead` and `busy` are for the caller to know.
PolicySegment PolicyViewOf(const Segment& segment);

// The parts of `log` that none of `covered` covers. REQUIRES: `covered` is in ascending order and has no
// overlaps.
std::vector<PolicyRange> UncoveredRanges(const std::vector<PositionRange>& covered, PositionRange log);

// Anonymous memory in bytes of a graph job whose result has this many nodes and entries, an upper estimate.
uint64_t GraphJobMemory(uint64_t nodes, uint64_t entries, uint32_t m, uint32_t threads);

// The number of nodes, with an entry each, that a graph job may have within `memory_limit`; UINT32_MAX - 1,
// the most a segment can hold, when it is 0. Who writes larger flat segments will never see them become
// graphs.
uint64_t MaxGraphNodes(uint64_t memory_limit, uint32_t m, uint32_t threads);

}  // namespace vecckpt
