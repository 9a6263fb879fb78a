// aminsert: an insert appends one entry to the log, and now and then tells the builder.

#include "pg/access_method.hpp"
#include "pg/log_append.hpp"
#include "pg/log_read.hpp"
#include "pg/private_segments.hpp"
#include "pg/shared_state.hpp"
#include "pg/vector_input.hpp"
#include "pg/wall.hpp"

namespace vecckpt {
namespace {

// How often an insert looks at shared memory.
constexpr uint64 kSignalEvery = 64;

void TellBuilder(Relation index, uint64 position) {
  if (shared == nullptr || position % kSignalEvery != 0 || HasPrivateSegments(index)) return;
  IndexKey key = KeyOf(index);
  bool wake = false;
  LWLockAcquire(shared->lock, LW_SHARED);
  IndexEntry* entry = FindEntry(key);
  if (entry != nullptr && pg_atomic_exchange_u32(&entry->has_tail, 1) == 0) wake = true;
  LWLockRelease(shared->lock);
  if (entry == nullptr)
    wake = true;  // an index that nobody has met yet: the builder looks through the catalog
  if (wake || position % (kSignalEvery * 4) == 0) WakeBuilder(key.database);
}

}  // namespace

bool vhnswinsert(Relation index, Datum* values, bool* isnull, ItemPointer heap_tid, Relation heap,
                 IndexUniqueCheck check_unique, bool index_unchanged, IndexInfo* index_info) {
  (void)heap, (void)check_unique, (void)index_unchanged;
  if (isnull[0]) return false;
  // Detoasting and the copy of the meta page go with this context.
  MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "vhnsw insert", ALLOCSET_DEFAULT_SIZES);
  MemoryContext caller = MemoryContextSwitchTo(context);
  const OpclassSupport* support = SupportOf(index);
  // A concurrent build hands over rows that were there before.
  VectorSite site = {index, heap_tid, index_info->ii_Concurrent, support->count_dims};
  StoredVector vector = support->to_vector(values[0], site);
  VECCKPT_FAULT_POINT_RAISE(Insert);
  if (IsIndexable(support->metric, vector)) TellBuilder(index, AppendEntry(index, *heap_tid, vector, site));
  VECCKPT_FAULT_POINT_RAISE(Inserted);
  MemoryContextSwitchTo(caller);
  MemoryContextDelete(context);
  return false;
}

}  // namespace vecckpt
