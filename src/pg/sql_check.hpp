// vec_index_check: what its files share. One duty a file:
//
//   sql_check           the SQL function: relations, privileges, order of events
//   sql_check_pages     findings; copies of pages, of the map and of the meta page as they are now
//   sql_check_meta      the meta page and the map pages
//   sql_check_extents   every extent that the map gives to a sequence, with all its entries
//   sql_check_free      all other extents, the free list, what lies behind the last extent
//   sql_check_segments  the current generation: manifest and segments, compared with the log
//   sql_check_heap      every row of the table that should have an entry
//
// Nothing is changed, and readers and writers go on meanwhile. So a page is copied under its share lock, one
// at a time, and pages that do not fit together are no finding yet: the log may have moved on between. What
// was seen first is looked at again, and a finding is made only of what cannot have been so at any one time.
// The facts that this rests on:
//
//   - A sequence is given an extent once, in the record that raises next_sequence past it. Later its map
//     entry can only become "freed", and its extent only be freed or given to a higher sequence.
//   - Entries below `used` never change but for the dead flag, as long as the extent holds their sequence.
//   - An extent that was taken for map pages stays so.
//   - While an extent is on the free list its directory page stays as it is; it is taken from the head.

#pragma once

#include "pg/log_format.hpp"

extern "C" {
#include "lib/bloomfilter.h"
}

namespace vecckpt {

// kError: answers may be wrong, or become wrong. kWarning: they are right; something is wasted, or is about
// to be set aside.
enum class Severity { kError, kWarning };

// One call of vec_index_check.
struct IndexCheck {
  Relation index;
  Relation heap;
  ReturnSetInfo* result;
  BufferAccessStrategy strategy;
  MemoryContext context;  // reset between extents
  MetaPage meta;          // as of the start
  uint32 extent_count;    // of the meta page, or how many the file has room for if that is less
  uint64 errors;          // findings of that severity
  uint64 findings;
  uint64 left_out;        // findings not returned, being too many
  bool left_out_errors;   // among them
  bloom_filter* entries;  // of every live entry its EntryKey; null unless wanted
  uint64* map_extents;    // bits by extent: taken for map pages
  uint64* live_extents;   // bits by extent: seen to be a sequence's
};

// How an entry is remembered for the comparison with the heap.
struct EntryKey {
  BlockNumber block;
  uint32 offset;
  uint32 hash;
};
EntryKey EntryKeyOf(const ItemPointerData& tid, uint32 hash);

// ---- sql_check_pages

// Where a finding is: a value of text.
struct Place {
  char text[120];
};
Place BlockPlace(BlockNumber block, const char* what);
Place ExtentPlace(const IndexCheck* check, uint32 extent);  // by its directory page
Place MakePlace(const char* format, ...) pg_attribute_printf(1, 2);

void Report(IndexCheck* check, Severity severity, const Place& place, const char* format, ...)
    pg_attribute_printf(4, 5);
// Says how many findings were left out, if any.
void ReportLeftOut(IndexCheck* check);

// Copies `count` pages to `images`, BLCKSZ bytes each. A page that the server refuses is reported and not
// `readable`. REQUIRES: all are below the file's end.
void CopyPages(IndexCheck* check, BlockNumber first, uint32 count, char* images, bool* readable);
bool CopyPage(IndexCheck* check, BlockNumber block, char* image);

// The meta page as it is now; false if it cannot be read or is another log's.
bool CopyMetaNow(IndexCheck* check, MetaPage* meta);

// The map entry of a sequence as it is now.
enum class Mapped { kExtent, kFreed, kNotGiven, kDamaged };
Mapped MapEntryNow(IndexCheck* check, uint64 sequence, uint32* extent);

// A copy of a directory page; false after a finding if it is none, or not this extent's.
bool CopyDirectory(IndexCheck* check, uint32 extent, char* image);

inline uint64* NewBits(uint64 count) {
  return static_cast<uint64*>(
      palloc_extended((count / 64 + 1) * sizeof(uint64), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO));
}
inline bool HasBit(const uint64* bits, uint64 i) {
  return bits[i / 64] >> (i % 64) & 1;
}
inline void SetBit(uint64* bits, uint64 i) {
  bits[i / 64] |= uint64{1} << (i % 64);
}

// ---- one each, in this order

// kUnknown: the meta page is damaged so that nothing else can be checked. kEmpty: there is nothing else.
enum class LogState { kUnknown, kEmpty, kThere };
LogState CheckMetaPage(IndexCheck* check);
// REQUIRES of what follows: kThere.
void CheckMapPages(IndexCheck* check);
void CheckLiveExtents(IndexCheck* check);
void CheckOtherExtents(IndexCheck* check);
// REQUIRES: the library is preloaded. `compare`: with the log, too, which is without errors.
void CheckSegments(IndexCheck* check, bool compare);
// REQUIRES: check->entries holds what `snapshot`, taken before the log was read, can see.
void CheckHeapRows(IndexCheck* check, Snapshot snapshot);

}  // namespace vecckpt
