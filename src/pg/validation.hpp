// Whether a generation that was read from disk describes the log as it is now.
//
// Before its first use (MapValidated): the manifest's highest page LSN is not past what WAL there is, its
// coverage not past the log's end, the running hash at the highest covered extent that still lives is the
// log's, and the small sections of every segment are sound. That tells apart every history in which other
// entries were written.
//
// It cannot tell apart histories that differ only in what was deleted: a segment rewritten after a DELETE
// lacks entries that live again in a data folder restored to before. So each segment is also checked for
// completeness: every live entry of its range must be in it. For small indexes that happens before the first
// use as well, for large ones in the background, by a builder, before anything is built from the segment.

#pragma once

#include "pg/log_read.hpp"
#include "pg/mappings.hpp"

#include "segment/slot_set.hpp"

namespace vecckpt {

enum class Coverage { kValid, kDeferred, kInvalid };

// PostgreSQL side. Whether a loaded generation's coverage and the running hash there are the log's.
Coverage CheckCoverage(LogReader* reader, const IndexMapping& mapping);

// PostgreSQL side. The current generation of an index, mapped and validated. What fails is set aside with a
// LOG line. *mapping lives on the C++ heap; it is an empty mapping where there are no segments, null where
// the index cannot have any (no room in shared memory) or, with kDeferred, where replay has not got as far as
// the segments.
Coverage MapValidated(Relation index, LogReader* reader, std::shared_ptr<const IndexMapping>* mapping);

// A segment's entries, and how far they have been compared with the log.
struct CompletenessCheck {
  std::shared_ptr<const Segment> segment;
  SlotSet slots;
  uint64 next_sequence = 0;  // to compare next
  uint64 end_sequence = 0;
};

// C++ side, any thread. kCorruption if the segment's entries are out of range.
Status PrepareCompleteness(std::shared_ptr<const Segment> segment, CompletenessCheck* check);

enum class Completeness { kComplete, kIncomplete, kUnfinished };

// PostgreSQL side. Compares until done or `deadline`.
Completeness CompareWithLog(LogReader* reader, CompletenessCheck* check, TimestampTz deadline);

}  // namespace vecckpt
