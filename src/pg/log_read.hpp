// Reading the log.
//
// Every function here takes one content lock at a time and copies what it needs out, because replay on a
// standby locks all pages of a record and a reader that held two could meet it the other way round. Nothing
// that was read is kept beyond the statement's snapshot.

#pragma once

#include "pg/log_format.hpp"

namespace vecckpt {

// A reader of one index's log, as of the moment it was opened. Trivially destructible.
struct LogReader {
  Relation index;
  BufferAccessStrategy strategy;  // or null
  BlockNumber block_count;        // of the main fork when opened
  MetaPage* meta;                 // a copy
  MemoryContext context;          // where the reader was opened
  uint32* map;                    // a copy of one map page; allocated when first needed
  uint64 map_first;               // first sequence of that copy; PG_UINT64_MAX: none yet
  XLogRecPtr max_lsn;             // highest LSN of a page that was read
};

// A copy of a directory page.
struct ExtentCopy {
  DirectoryHeader header;
  Slot slots[kMaxSlots];
};

// Copies the meta page. Raises an error if it is not one of this format. Returns its LSN.
XLogRecPtr ReadMeta(Relation index, MetaPage* meta, BufferAccessStrategy strategy = nullptr);

// Memory comes from the current context. False if the file has no meta page (a dropped relation's remains, or
// a standby that has not got there yet).
bool OpenLog(LogReader* reader, Relation index, BufferAccessStrategy strategy);

// Reads the meta page again: the reader is as if opened now.
void RefreshLog(LogReader* reader);

// The position behind the last entry; 0 if there is none. Reads the tail's directory page now.
uint64 LogEnd(LogReader* reader);

// The extent of a sequence, or kFreedSequence if it is gone or was never used.
uint32 ExtentOfSequence(LogReader* reader, uint64 sequence);
// Asks the disk for the directory page of a sequence, which ReadDirectory will read soon.
void FetchDirectory(LogReader* reader, uint64 sequence);

// Copies the directory page of a sequence; false if the sequence is gone or was never used. An extent that
// the log names and that is not there raises an error.
bool ReadDirectory(LogReader* reader, uint64 sequence, ExtentCopy* copy);
// The same by extent, which need not be one; false if it does not hold `sequence`.
bool ReadDirectoryOf(LogReader* reader, uint32 extent, uint64 sequence, ExtentCopy* copy);

// Copies the vectors of slots [begin, end) to `out`, each vector_bytes long (VectorIn). False if the extent
// was taken for another sequence meanwhile: then its entries are gone.
bool ReadVectors(LogReader* reader, uint32 extent, uint64 sequence, uint32 begin, uint32 end, void* out);

// Fetches what ReadEntry of this ordinal will look at into the processor's cache, as far as it can be guessed
// where that lies.
void PrefetchEntry(const LogReader* reader, uint64 ordinal);

// One entry by ordinal: its vector to `out` and its TID, if it is still of `sequence`, used and not dead.
bool ReadEntry(LogReader* reader, uint64 ordinal, uint64 sequence, void* out, ItemPointer tid);

}  // namespace vecckpt
