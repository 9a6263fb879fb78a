// Reading runs of entries out of the log: for the exact scan of the tail, for sealing, and for CREATE INDEX.

#pragma once

#include "pg/log_read.hpp"

#include "segment/segment_format.hpp"

namespace vecckpt {

// What one call read: the entries of one extent that were alive. Arrays hold slots_per_extent entries each.
struct EntryRun {
  float* vectors;
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

}  // namespace vecckpt
