// One search over all segments and the tail, without PostgreSQL.
//
// The caller drives it. Next() says what it needs:
//   kRerank     fetch the entry `ordinal` (checking `sequence`) from the log, then call Resolve or
//   ResolveGone kEmit       this entry is the next row kMoreExact  call AddExact for more of the tail, then
//   SetExactFloor kLimit      the search has used up what it may visit; there may be more rows, which it does
//   not find kDone       there are no more rows
// Segments come first (AddSegment), then the tail's exact distances (AddExact), then Start.
//
// Waiting candidates are keyed by a lower bound of their exact search distance (exact.hpp); the smallest is
// re-ranked next. (Most candidates share a bound with others until they are near enough to matter; see
// SegmentSource.) A row is emitted when its exact distance is at most every waiting lower bound, each graph
// stream that has given r rows is closed at ef_s (r <= ef_s / 4) or r + ef_s, and flat segments, orphans and
// the tail are scored whole. ef_s is the segment's share of ef_search: max(10, ceil(ef p + 3 sqrt(ef p (1 -
// p)))), at most ef. Nodes that give no row do not count towards a width once that is known. Nodes known to
// be dead (liveness_bitmap.hpp) do not count either, and shares are those of live entries.
//
// A row that is found nearer than the last one emitted is *late*. relaxed_order returns it at once,
// strict_order behind all others (or not at all, see late_rows_come). off ends after the first closing with
// at most ef_search rows.
//
// What a search may visit: when streams have seen max_scan_tuples nodes beyond the first closing, or the
// search has grown by memory_limit since, they stop advancing, what has been seen is emitted, and then comes
// kLimit. Of the tail the search holds the nearest entries only, as many as fit half of memory_limit; those
// beyond exact_floor() the caller gives it when they are asked for.
//
// NaN distances (Resolve) sort last. Thread safety: one thread at a time.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/status.hpp"
#include "index/candidate_heap.hpp"
#include "segment/liveness_bitmap.hpp"
#include "segment/segment.hpp"

namespace vecckpt {

enum class IterativeScan { kOff, kRelaxedOrder, kStrictOrder };

struct SearchOptions {
  Metric metric = Metric::kL2;
  uint32_t dims = 0;
  uint32_t ef_search = 40;
  IterativeScan iterative = IterativeScan::kStrictOrder;
  uint64_t max_scan_tuples = 20000;
  uint64_t memory_limit = 4 << 20;  // bytes
  bool late_rows_come = true;       // under strict_order; else they are left out
};

struct SearchCounters {
  uint64_t distances = 0;  // code distances computed
  uint64_t reranked = 0;   // Resolve and ResolveGone
  uint64_t emitted = 0;
  uint64_t late = 0;  // rows found too late for strict_order
};

class MergedSearch {
 public:
  enum class Action { kRerank, kEmit, kMoreExact, kLimit, kDone };
  static constexpr uint64_t kNoOrdinal = ~uint64_t{0};
  struct Step {
    Action action = Action::kDone;
    uint64_t ordinal = 0;
    uint64_t sequence = 0;
    double distance = 0;      // kEmit: exact search distance
    uint64_t segment_id = 0;  // 0: the tail
    uint64_t locator = 0;     // kEmit: what came with its distance
    // kRerank: what is likely to be asked for next, so that it can be fetched ahead; kNoOrdinal: not known.
    uint64_t next_ordinals[2] = {kNoOrdinal, kNoOrdinal};
  };

  MergedSearch();
  // As a new one, Restarted.
  MergedSearch(const SearchOptions& options, const float* query);
  ~MergedSearch();

  // Begins another search, in the memory of the one before.
  // `query`: dims finite values, not all zero under cosine; copied.
  void Restart(const SearchOptions& options, const float* query);
  // Lets go of the segments, keeps the memory.
  void Clear();

  // REQUIRES: before Start. `segment` is kept alive by the search, and its `liveness`, which may be null.
  Status AddSegment(std::shared_ptr<const Segment> segment,
                    std::shared_ptr<const LivenessBitmap> liveness = nullptr);
  // An entry of the tail with its exact search distance. REQUIRES: before Start, or after kMoreExact.
  // `locator` is the caller's word for where the row is, given back with it.
  void AddExact(uint64_t ordinal, uint64_t sequence, double distance, uint64_t locator = 0);
  void Start();
  // Where the entries of the tail begin that the search does not hold; nullopt if it holds all.
  std::optional<RowKey> exact_floor() const;
  // REQUIRES: after kMoreExact, when what comes before `floor` has been added.
  void SetExactFloor(std::optional<RowKey> floor);

  // kCorruption when a segment's contents cannot be right; corrupt_segment() then names it.
  Result<Step> Next();
  void Resolve(double exact_distance, uint64_t locator = 0);
  void ResolveGone();

  // For whoever goes on where the search has come to its limit, or to a corrupt segment. An entry of a
  // segment that was found (Resolve) has been emitted or is among the late rows. One that was asked for and
  // gone (ResolveGone) does not count: a damaged segment may have named another entry's sequence.
  bool WasFound(uint64_t ordinal, uint64_t sequence) const;
  // Rows that were found and not emitted. Valid until the next call of another function.
  std::span<const ResolvedRow> TakeLateRows();
  double last_distance() const;  // of the last row emitted; minus infinity before

  uint64_t corrupt_segment() const;
  const SearchCounters& counters() const;
  // What is in use: memory kept from an earlier search does not count.
  size_t memory_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vecckpt
