// Reading runs of entries out of the log, for the exact scan of the tail and for CREATE INDEX, and what jobs
// take from it.

#pragma once

#include "pg/log_read.hpp"

#include "index/jobs.hpp"

namespace vecckpt {

// What one call read: the entries of one extent that were alive. Arrays hold slots_per_extent entries each.
struct EntryRun {
  char* vectors;  // as the log keeps them
  float* floats;  // room to convert them; null where they are float32
  uint64* ordinals;
  uint32 count;
  ExtentRecord extent;  // where they lie; set if found
  bool found;           // the extent still held its sequence
  uint64 end_hash;      // running hash at the position returned; 0 if not found
  ExtentCopy copy;      // the directory page
};

// Allocates in the current context. REQUIRES: the log's dims are known.
EntryRun* NewEntryRun(const LogReader& reader);

// Reads the entries of positions [begin, end) that lie in begin's extent. Returns the position to go on with.
uint64 ReadRun(LogReader* reader, uint64 begin, uint64 end, EntryRun* run);

// The vector of entry `i` of the run.
inline StoredVector VectorOf(const LogReader& reader, const EntryRun& run, uint32 i) {
  return VectorIn(*reader.meta, run.vectors + uint64{i} * reader.meta->vector_bytes);
}

// All vectors of the run as float32 values, dims each; they stay until the next ReadRun.
const float* FloatsOf(const LogReader& reader, const EntryRun& run);

// Reads the entries of a range that are alive to *batch, which lives on the C++ heap and is empty. Returns
// the running hash at the range's end, 0 if it is not known.
uint64 ReadBatch(LogReader* reader, PositionRange range, EntryBatch* batch);

// Tells *liveness, on the C++ heap, which entries of a segment's extents are alive now. Returns how many are
// in the segment's range.
uint64 ReadLiveness(LogReader* reader, const Segment& segment, Liveness* liveness);

}  // namespace vecckpt
