// See sql_check.hpp: every row of the table that should have an entry, as amcheck's heapallindexed does it.
//
// The snapshot was taken before the log was read, so that the entries of all rows it sees were in the log by
// then, and cannot have been flagged dead: it holds VACUUM back. The log's live entries were put into a Bloom
// filter of maintenance_work_mem at most; the table is scanned with that snapshot as an index build would,
// which evaluates expressions and the predicate and gives the TID of the row's HOT chain. A row that the
// filter does not know has no entry. The filter may know one it was never given: of 100 rows without an entry
// it passes over less than two, and in indexes below some million entries hardly ever one.

#include "pg/sql_check.hpp"

#include "pg/vector_input.hpp"
#include "pg/wall.hpp"

namespace vecckpt {
namespace {

struct HeapState {
  IndexCheck* check;
  const OpclassSupport* support;
};

void CheckRow(Relation index, ItemPointer tid, Datum* values, bool* isnull, bool tuple_is_alive,
              void* argument) {
  (void)index, (void)tuple_is_alive;
  auto* state = static_cast<HeapState*>(argument);
  IndexCheck* check = state->check;
  CHECK_FOR_INTERRUPTS();
  if (isnull[0]) return;
  MemoryContext caller = MemoryContextSwitchTo(check->context);
  StoredVector vector =
      state->support->to_vector(values[0], {check->index, tid, true, state->support->count_dims});
  if (IsIndexable(state->support->metric, vector)) {
    EntryKey key = EntryKeyOf(*tid, EntryHash(*tid, vector));
    if (bloom_lacks_element(check->entries, reinterpret_cast<unsigned char*>(&key), sizeof(key)))
      Report(check, Severity::kError,
             MakePlace("row (%u,%u) of table \"%s\"", key.block, key.offset,
                       RelationGetRelationName(check->heap)),
             "has no live entry in the log with its vector");
  }
  MemoryContextSwitchTo(caller);
  MemoryContextReset(check->context);
}

}  // namespace

void CheckHeapRows(IndexCheck* check, Snapshot snapshot) {
  VECCKPT_FAULT_POINT_RAISE(CheckStep, "log and segments");
  HeapState state = {check, SupportOf(check->index)};
  IndexInfo* info = BuildIndexInfo(check->index);
  // As a concurrent build does: rows that the snapshot sees, without judging HOT chains.
  info->ii_Concurrent = true;
  info->ii_Unique = false;
  info->ii_ExclusionOps = nullptr;
  info->ii_ExclusionProcs = nullptr;
  info->ii_ExclusionStrats = nullptr;
  TableScanDesc scan = table_beginscan_strat(check->heap, snapshot, 0, nullptr, true, true);
  table_index_build_scan(check->heap, check->index, info, true, false, CheckRow, &state, scan);
}

}  // namespace vecckpt
