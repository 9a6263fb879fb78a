// Whether a generation that was read from disk describes the log as it is now. Proved before its first use
// (MapValidated), in this order:
//
//   coverage      its highest page LSN is not past what WAL there is, its coverage not past the log's end
//   places        every sequence that its segments know lies in the extent that they say, or is freed
//   contents      the running hash at the highest covered extent that still lives is the log's: in all
//   earlier
//                 ones the same entries were written
//   sections      the small sections of every segment are sound
//   completeness  every live entry of a segment's range is in it
//
// The first three tell histories apart in which other entries were written, or extents taken in another
// order. Completeness tells those apart that differ only in what was deleted: a segment rewritten after a
// DELETE lacks entries that live again in a data folder restored to before. It reads every directory page of
// the range, one a 128th of the log or less, asked for ahead; about as much as the sections take.
//
// What is proved of a sequence stays true as the log goes on: entries only die, extents are only freed. So a
// builder, which must not hold an index for long, proves a piece at each visit.

#pragma once

#include "pg/log_read.hpp"
#include "pg/mappings.hpp"

#include "segment/slot_set.hpp"

namespace vecckpt {

enum class Coverage { kValid, kDeferred, kInvalid };

// PostgreSQL side. Whether a loaded generation's coverage, places and contents are the log's.
Coverage CheckCoverage(LogReader* reader, const IndexMapping& mapping);

// How far the rest of the proof of a generation has got. C++ heap.
struct GenerationProof {
  Generation generation = {0, 0};
  bool sections = false;          // are proved
  size_t segment = 0;             // being compared, those before it are done
  bool prepared = false;          // what follows is that segment's
  SlotSet slots;                  // its entries
  uint64 next_sequence = 0;       // to compare next
  uint64 fetched = 0;             // directory pages of sequences before it have been asked for
  std::vector<uint64_t> lacking;  // segments that lack entries
};

enum class Validation { kDone, kDeferred, kUnfinished };

// PostgreSQL side. The current generation of an index, mapped and validated. What fails is set aside with a
// LOG line. *mapping lives on the C++ heap; it is an empty mapping where there are no segments, null where
// the index cannot have any (no room in shared memory) or, with kDeferred, where replay has not got as far as
// the segments, or, with kUnfinished, where there is more to prove. With a `proof`, which an earlier call may
// have begun, it works for a short while only; without one, to the end.
Validation MapValidated(Relation index, LogReader* reader, std::shared_ptr<const IndexMapping>* mapping,
                        GenerationProof* proof = nullptr);

}  // namespace vecckpt
