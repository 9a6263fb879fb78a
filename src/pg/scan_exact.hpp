// What a scan compares exactly, in the log.
//
// The *tail*, every position that no segment covers, comes first: the search holds its nearest entries, as
// many as fit (ScanTail). If the scan gets beyond them, all others are sorted (AddMoreOfTail).
//
// The *rest* is what a search leaves that has come to its limit, or to a corrupt segment: every entry, of the
// tail or of segments, that the scan has not returned. It is sorted and returned in order (StartRest,
// NextOfRest), so that no scan ends before it has been through everything.
//
// Locks: one content lock at a time, none between calls.

#pragma once

#include "pg/scan_state.hpp"

namespace vecckpt {

// Scores the tail for the search. REQUIRES: state->objects->search has not started.
void ScanTail(ScanState* state);

// Gives the search more of the tail. REQUIRES: it has asked for that.
void AddMoreOfTail(IndexScanDesc scan, ScanState* state);

// Ends the search and turns to the rest: state->phase is kRest then.
void StartRest(IndexScanDesc scan, ScanState* state);
// False behind the last row. REQUIRES: kRest.
bool NextOfRest(ScanState* state, double* distance, ItemPointer tid);

}  // namespace vecckpt
