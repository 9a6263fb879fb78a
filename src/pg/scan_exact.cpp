// See scan_exact.hpp.

#include "pg/scan_exact.hpp"

#include "pg/entry_reader.hpp"
#include "pg/sorted_rows.hpp"

#include <optional>
#include <span>

#include "hnsw/exact.hpp"

namespace vecckpt {
namespace {

// How many rows the search is given at a time.
constexpr int kAtOnce = 1000;

// What reading a range needs; allocated when the first one is read.
struct Scratch {
  EntryRun* run = nullptr;
  double* distances = nullptr;
};

// Calls visit(run, distances) for every run of entries of positions [begin, end).
template <typename Visit>
void ScanRange(ScanState* state, Scratch* scratch, uint64 begin, uint64 end, Visit visit) {
  if (begin >= end) return;
  if (scratch->run == nullptr) {
    scratch->run = NewEntryRun(state->reader);
    scratch->distances = static_cast<double*>(palloc(sizeof(double) * state->reader.meta->slots_per_extent));
  }
  EntryRun* run = scratch->run;
  while (begin < end) {
    CHECK_FOR_INTERRUPTS();
    begin = ReadRun(&state->reader, begin, end, run);
    for (uint32 i = 0; i < run->count; i++)
      scratch->distances[i] =
          ExactDistance(state->support->metric, state->query.data, VectorOf(state->reader, *run, i));
    if (run->count > 0) visit(*run, scratch->distances);
  }
}

// Calls visit(begin, end, is_tail) for the ranges that the log consists of below state->end, in order.
template <typename Visit>
void ForEachRange(const ScanState* state, Visit visit) {
  uint64 begin = state->reader.meta->first_sequence * state->reader.meta->slots_per_extent;
  const IndexMapping* mapping = state->objects->mapping.get();
  size_t count = mapping == nullptr ? 0 : mapping->segments.size();
  for (size_t i = 0; i < count; i++) {
    PositionRange range = mapping->segments[i]->range();
    visit(begin, Min(state->end, range.begin), true);
    visit(Max(begin, range.begin), range.end, false);
    begin = Max(begin, range.end);
  }
  visit(begin, state->end, true);
}

RowKey KeyOfEntry(const EntryRun& run, uint32 i, double distance) {
  return {distance, run.extent.sequence, run.ordinals[i]};
}

uint64 LocatorOfEntry(const ScanState* state, const EntryRun& run, uint32 i) {
  return LocatorOf(run.copy.slots[run.ordinals[i] % state->reader.meta->slots_per_extent].tid);
}

void AddRun(ScanState* state, const EntryRun& run, const double* distances) {
  state->tail_scanned += run.count;
  ThrowIfFailed(Guard([&] {
    for (uint32 i = 0; i < run.count; i++)
      state->objects->search->AddExact(run.ordinals[i], run.extent.sequence, distances[i],
                                       LocatorOfEntry(state, run, i));
    return Status::Ok();
  }));
}

// Puts a row behind all others if it is late.
void Put(ScanState* state, const RowKey& key, uint64 locator) {
  bool late = state->strict && DistanceAfter(state->objects->search->last_distance(), key.distance);
  PutRow(state->sorted, {late, key, locator});
}

// Puts the entries of the tail that the search was not given.
void PutTail(ScanState* state, Scratch* scratch, uint64 begin, uint64 end) {
  std::optional<RowKey> floor = state->objects->search->exact_floor();
  if (!floor.has_value()) return;
  ScanRange(state, scratch, begin, end, [&](const EntryRun& run, const double* distances) {
    for (uint32 i = 0; i < run.count; i++) {
      RowKey key = KeyOfEntry(run, i, distances[i]);
      if (After(*floor, key)) continue;
      Put(state, key, LocatorOfEntry(state, run, i));
    }
  });
}

// Puts the entries of a segment's range that the search has not found.
void PutCovered(ScanState* state, Scratch* scratch, uint64 begin, uint64 end) {
  MergedSearch* search = state->objects->search.get();
  ScanRange(state, scratch, begin, end, [&](const EntryRun& run, const double* distances) {
    for (uint32 i = 0; i < run.count; i++) {
      if (search->WasFound(run.ordinals[i], run.extent.sequence)) continue;
      Put(state, KeyOfEntry(run, i, distances[i]), LocatorOfEntry(state, run, i));
    }
  });
}

// Puts what the search has found and not returned.
void PutLateRows(ScanState* state) {
  std::span<const ResolvedRow> rows;
  ThrowIfFailed(Guard([&] {
    rows = state->objects->search->TakeLateRows();
    return Status::Ok();
  }));
  for (const ResolvedRow& row : rows) Put(state, KeyOfRow(row), row.locator);
}

// The search is over: keeps its counters, lets go of it and of the segments.
void EndSearch(ScanState* state) {
  state->found = state->objects->search->counters();
  if (state->objects->mapping != nullptr) state->segments = state->objects->mapping->segments.size();
  state->objects->search.reset();
  state->objects->mapping.reset();
}

}  // namespace

void ScanTail(ScanState* state) {
  Scratch scratch;
  state->end = LogEnd(&state->reader);
  ForEachRange(state, [&](uint64 begin, uint64 end, bool is_tail) {
    if (!is_tail) return;
    ScanRange(state, &scratch, begin, end,
              [state](const EntryRun& run, const double* distances) { AddRun(state, run, distances); });
  });
}

void AddMoreOfTail(IndexScanDesc scan, ScanState* state) {
  MemoryContext caller = MemoryContextSwitchTo(state->context);
  if (state->sorted == nullptr) {
    Scratch scratch;
    RefreshLog(&state->reader);
    state->sorted = NewSortedRows();
    ForEachRange(state, [&](uint64 begin, uint64 end, bool is_tail) {
      if (is_tail) PutTail(state, &scratch, begin, end);
    });
    RequireSnapshot(scan, state);
    SortRows(state->sorted);
  }
  MergedSearch* search = state->objects->search.get();
  for (int i = 0; i < kAtOnce; i++) {
    const SortedRow* row = NextRow(state->sorted);
    if (row == nullptr) break;
    ThrowIfFailed(Guard([&] {
      search->AddExact(row->key.ordinal, row->key.sequence, row->key.distance, row->locator);
      return Status::Ok();
    }));
    TakeRow(state->sorted);
  }
  const SortedRow* next = NextRow(state->sorted);
  search->SetExactFloor(next == nullptr ? std::nullopt : std::optional(next->key));
  MemoryContextSwitchTo(caller);
}

void StartRest(IndexScanDesc scan, ScanState* state) {
  MemoryContext caller = MemoryContextSwitchTo(state->context);
  if (state->sorted != nullptr) EndSortedRows(state->sorted);
  state->sorted = nullptr;
  RefreshLog(&state->reader);
  state->sorted = NewSortedRows();
  Scratch scratch;
  PutLateRows(state);
  ForEachRange(state, [&](uint64 begin, uint64 end, bool is_tail) {
    is_tail ? PutTail(state, &scratch, begin, end) : PutCovered(state, &scratch, begin, end);
  });
  RequireSnapshot(scan, state);
  EndSearch(state);
  SortRows(state->sorted);
  state->phase = Phase::kRest;
  state->rested = true;
  MemoryContextSwitchTo(caller);
}

bool NextOfRest(ScanState* state, double* distance, ItemPointer tid) {
  const SortedRow* row = NextRow(state->sorted);
  if (row == nullptr) return false;
  *distance = row->key.distance;
  *tid = TidOf(row->locator);
  TakeRow(state->sorted);
  return true;
}

}  // namespace vecckpt
