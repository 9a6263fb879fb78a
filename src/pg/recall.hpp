// Measuring what searches of an index find. Entries of its log are drawn at random and serve as queries; what
// the access method's own scan returns for them is compared with an exact scan of the log.
//
// An entry that serves as a query is left out of its own answer, on both sides, or every search would have
// one row for nothing. Both sides take entries that VACUUM has not marked dead, whether or not some snapshot
// sees their rows: it is the index that is measured, and nothing is read of the table. A returned row counts
// if its exact distance is at most that of the last row of the true answer, so ties do not matter. Rows that
// are not returned at all count as missed. The exact side is read first: what is inserted meanwhile cannot
// make an answer look worse than it is.
//
// The log is read once for as many queries as fit maintenance_work_mem, in order, one extent at a time.

#pragma once

#include "pg/log_read.hpp"
#include "pg/vector_input.hpp"

namespace vecckpt {

// One entry of the log that serves as a query.
struct SampledQuery {
  uint64 sequence;
  uint32 extent;
  uint32 slot;
  ItemPointerData tid;
  uint32 wanted;  // rows of the true answer: k, or all others if these are fewer; 0: the entry is gone
  double kth;     // SQL distance of its last row
};

// Trivially destructible; memory of the context that is current when the sample is drawn.
struct RecallTest {
  Relation index;
  const OpclassSupport* support;
  LogReader reader;
  uint64 end;  // of the log as it is measured
  uint32 k;
  uint32 count;
  SampledQuery* queries;  // by position
  uint64 entries;         // alive when the sample was drawn
  double exact_ms;        // a query: its share of the exact scans
};

// Draws up to `samples` entries of an index, each equally likely, the same ones for the same seed and log.
void DrawQueries(RecallTest* test, Relation index, uint32 k, uint32 samples, uint64 seed);

// Finds the true answers. REQUIRES: drawn.
void FindTrueAnswers(RecallTest* test);

// Runs the queries through the index at `ef_search` (0: the session's). Recalls, of those that are still
// there, go to `recalls`, which has room for all; returns how many. *search_ms: the mean time of a search.
// REQUIRES: true answers found.
uint32 MeasureRecalls(const RecallTest* test, int ef_search, double* recalls, double* search_ms);

}  // namespace vecckpt
