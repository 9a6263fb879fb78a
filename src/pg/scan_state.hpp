// What a scan knows between two calls of amgettuple (am_scan.cpp), shared by the files that do a part of it.
//
// Memory: one context a scan, reset by rescan; C++ objects hang on it by a reset callback (ScanObjects).

#pragma once

#include "pg/log_read.hpp"
#include "pg/mappings.hpp"
#include "pg/vector_input.hpp"
#include "pg/wall.hpp"

#include <memory>

#include "index/merged_search.hpp"

namespace vecckpt {

struct SortedRows;  // sorted_rows.hpp

// What has a destructor.
struct ScanObjects {
  std::shared_ptr<const IndexMapping> mapping;
  std::unique_ptr<MergedSearch> search;
};

enum class Phase { kNotStarted, kSearch, kRest, kInLogOrder, kDone };

struct ScanState {
  MemoryContext context;
  MemoryContextCallback destroy;
  ScanObjects* objects;
  Phase phase;
  LogReader reader;
  const OpclassSupport* support;
  VectorRef query;
  char* vector;        // room for one
  uint64 end;          // of the log, when the scan began
  bool strict;         // late rows come last; as the settings were when the scan began
  bool ends_at_limit;  // of its search; likewise
  SortedRows* sorted;  // the rest of the tail, or in kRest of everything; null: none
  bool null_distance;  // kInLogOrder: NULL, else NaN
  uint64 position;     // kInLogOrder: where to go on
  // For the counters.
  bool counts;  // started and not yet counted
  bool rested;  // went on exactly
  bool cut;     // ended before it had been through everything
  uint64 emitted;
  uint64 tail_scanned;
  uint64 segments;  // searched, as far as the search is over
  SearchCounters found;
};

inline ScanState* StateOf(IndexScanDesc scan) {
  return static_cast<ScanState*>(scan->opaque);
}

// A TID as a search's locator and back.
inline uint64 LocatorOf(const ItemPointerData& tid) {
  return uint64{ItemPointerGetBlockNumberNoCheck(&tid)} << 16 | ItemPointerGetOffsetNumberNoCheck(&tid);
}
inline ItemPointerData TidOf(uint64 locator) {
  ItemPointerData tid;
  ItemPointerSet(&tid, static_cast<BlockNumber>(locator >> 16), static_cast<OffsetNumber>(locator & 0xFFFF));
  return tid;
}

// Raises an error unless entries that are dead in the pages read so far, or were left out of a segment as
// dead, are dead to the scan's snapshot too.
void RequireSnapshot(IndexScanDesc scan, ScanState* state);

}  // namespace vecckpt
