// amgettuple: a scan in distance order.
//
// The first call takes the current generation of segments, compares it with the log if nobody has yet, scores
// the tail exactly and starts a MergedSearch; each further call drives it to the next row. Where the search
// comes to its limit before it has been through everything, the scan goes on exactly, over the rest
// (scan_exact.hpp), unless the user wants it to end there. An entry's vector and TID are read from the log
// together. A TID may be kept until its row is returned, within this scan: should VACUUM free it meanwhile
// and a new row take it, the scan's snapshot does not see that row. A NULL query, and a zero vector under
// cosine, has no nearest rows: it returns every indexed row in log order.
//
// No pins and no locks are held between calls, so only MVCC snapshots can be served.

#include "pg/access_method.hpp"
#include "pg/build_horizon.hpp"
#include "pg/options.hpp"
#include "pg/private_segments.hpp"
#include "pg/scan_exact.hpp"
#include "pg/scan_state.hpp"
#include "pg/sorted_rows.hpp"
#include "pg/validation.hpp"

#include <limits>
#include <memory>
#include <utility>

#include "hnsw/exact.hpp"
#include "index/policy.hpp"

namespace vecckpt {
namespace {

// A search that has ended: the process's next one takes over its memory, but nothing that was read.
MergedSearch* spare_search = nullptr;
// A larger one is not kept.
constexpr size_t kMostKept = 1 << 20;

void DestroyObjects(void* argument) {
  ScanObjects* objects = static_cast<ScanObjects*>(argument);
  if (spare_search == nullptr && objects->search != nullptr && objects->search->memory_bytes() <= kMostKept) {
    objects->search->Clear();
    spare_search = objects->search.release();
  }
  delete objects;
}

// Forgets the search, keeps the scan.
void ResetScan(ScanState* state) {
  if (state->sorted != nullptr) EndSortedRows(state->sorted);
  state->sorted = nullptr;
  MemoryContextReset(state->context);  // destroys the objects
  state->objects = nullptr;
  state->phase = Phase::kNotStarted;
  state->emitted = 0;
}

void CreateObjects(ScanState* state) {
  ThrowIfFailed(Guard([state] {
    state->objects = new ScanObjects;
    return Status::Ok();
  }));
  state->destroy.func = DestroyObjects;
  state->destroy.arg = state->objects;
  MemoryContextRegisterResetCallback(state->context, &state->destroy);
}

void WarnOncePerSession() {
  static bool warned = false;
  if (warned) return;
  warned = true;
  ereport(WARNING, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("vecckpt is not preloaded, vhnsw indexes are scanned exactly and slowly"),
                    errhint("Add vecckpt to shared_preload_libraries and restart the server.")));
}

// Leaves in state->objects->mapping the segments to search: null for none.
void TakeMapping(IndexScanDesc scan, ScanState* state) {
  if (shared == nullptr) return WarnOncePerSession();
  if (HasPrivateSegments(scan->indexRelation)) {
    BuildPrivate(&state->reader, false);
    state->objects->mapping = FindPrivate(KeyOf(scan->indexRelation), state->reader.meta->identity);
    return;
  }
  MapValidated(scan->indexRelation, &state->reader, &state->objects->mapping);
}

Failure StartObjects(ScanState* state) {
  return Guard([state] {
    SearchOptions options;
    options.metric = state->support->metric;
    options.dims = state->query.dims;
    options.ef_search = static_cast<uint32>(ef_search);
    options.iterative = static_cast<IterativeScan>(iterative_scan);
    options.max_scan_tuples = static_cast<uint64>(max_scan_tuples);
    options.memory_limit = static_cast<uint64>(work_mem * 1024.0 * scan_mem_multiplier);
    options.late_rows_come = !state->ends_at_limit;
    state->objects->search.reset(std::exchange(spare_search, nullptr));
    if (state->objects->search == nullptr) state->objects->search = std::make_unique<MergedSearch>();
    state->objects->search->Restart(options, state->query.data);
    if (state->objects->mapping != nullptr)
      for (size_t i = 0; i < state->objects->mapping->segments.size(); i++)
        VECCKPT_RETURN_IF_ERROR(state->objects->search->AddSegment(state->objects->mapping->segments[i],
                                                                   state->objects->mapping->liveness[i]));
    return Status::Ok();
  });
}

// A long tail that nobody has told the builder of (on a standby, say).
void TellBuilder(IndexScanDesc scan, ScanState* state) {
  if (shared == nullptr || HasPrivateSegments(scan->indexRelation) || state->tail_scanned < kSealEntries)
    return;
  IndexKey key = KeyOf(scan->indexRelation);
  LWLockAcquire(shared->lock, LW_SHARED);
  IndexEntry* entry = FindEntry(key);
  bool news = entry != nullptr && pg_atomic_exchange_u32(&entry->has_tail, 1) == 0;
  LWLockRelease(shared->lock);
  if (news) WakeBuilder(key.database);
}

// Takes the query; tells how to answer it.
Phase TakeQuery(IndexScanDesc scan, ScanState* state) {
  ScanKey orderby = &scan->orderByData[0];
  if (orderby->sk_flags & SK_ISNULL) {
    state->null_distance = true;
    return Phase::kInLogOrder;
  }
  VectorSite site = {scan->indexRelation, nullptr, false, state->support->count_dims};
  StoredVector query = orderby->sk_flags & kVectorArgument
                           ? *reinterpret_cast<StoredVector*>(DatumGetPointer(orderby->sk_argument))
                           : state->support->to_vector(orderby->sk_argument, site);
  state->query = {FloatsOf(query), query.dims};
  if (state->reader.meta->dims == 0) return Phase::kDone;
  if (state->query.dims != state->reader.meta->dims)
    RaiseWrongDims(site, state->reader.meta->dims, state->query.dims);
  if (!IsIndexable(state->support->metric, query)) {
    state->null_distance = false;
    return Phase::kInLogOrder;
  }
  return Phase::kSearch;
}

void HandleCorruption(IndexScanDesc scan, ScanState* state, const Failure& failure);

void StartScan(IndexScanDesc scan, ScanState* state) {
  if (!IsMVCCSnapshot(scan->xs_snapshot))
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("vhnsw indexes can only be scanned with an MVCC snapshot")));
  if (scan->numberOfOrderBys != 1)
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("vhnsw indexes can only be scanned in distance order")));
  MemoryContext caller = MemoryContextSwitchTo(state->context);
  state->phase = Phase::kDone;
  state->counts = true;
  state->rested = state->cut = false;
  state->tail_scanned = state->segments = 0;
  state->found = {};
  CountIndexSearch(scan);
  if (OpenLog(&state->reader, scan->indexRelation, nullptr)) {
    RequireAllRows(scan->indexRelation, *state->reader.meta, scan->xs_snapshot);
    state->phase = TakeQuery(scan, state);
    if (state->reader.meta->next_sequence == 0) state->phase = Phase::kDone;
    if (state->phase == Phase::kInLogOrder) {
      state->position = state->reader.meta->first_sequence * state->reader.meta->slots_per_extent;
      state->end = LogEnd(&state->reader);
    } else if (state->phase == Phase::kSearch) {
      state->strict = iterative_scan == static_cast<int>(IterativeScan::kStrictOrder);
      state->ends_at_limit = iterative_scan == static_cast<int>(IterativeScan::kOff) ||
                             on_scan_limit == static_cast<int>(OnScanLimit::kStop);
      CreateObjects(state);
      TakeMapping(scan, state);
      VECCKPT_FAULT_POINT_RAISE(ScanMapped);
      Failure failure = StartObjects(state);
      if (failure.code == StatusCode::kCorruption && state->objects->search->corrupt_segment() != 0) {
        MemoryContextSwitchTo(caller);
        return HandleCorruption(scan, state, failure);
      }
      ThrowIfFailed(failure);
      ScanTail(state);
      RequireSnapshot(scan, state);
      TellBuilder(scan, state);
      state->vector = static_cast<char*>(palloc(state->reader.meta->vector_bytes));
      ThrowIfFailed(Guard([state] {
        state->objects->search->Start();
        return Status::Ok();
      }));
      VECCKPT_FAULT_POINT_RAISE(ScanStarted);
    }
  }
  MemoryContextSwitchTo(caller);
}

void SetRow(IndexScanDesc scan, const ItemPointerData& tid, double distance, bool is_null) {
  scan->xs_heaptid = tid;
  scan->xs_recheck = false;
  scan->xs_recheckorderby = false;
  scan->xs_orderbyvals[0] = Float8GetDatum(distance);
  scan->xs_orderbynulls[0] = is_null;
}

bool NextInLogOrder(IndexScanDesc scan, ScanState* state) {
  uint32 slots = state->reader.meta->slots_per_extent;
  ExtentCopy* copy = nullptr;
  while (state->position < state->end) {
    CHECK_FOR_INTERRUPTS();
    uint64 sequence = state->position / slots;
    if (copy == nullptr) copy = static_cast<ExtentCopy*>(palloc(sizeof(ExtentCopy)));
    bool there = ReadDirectory(&state->reader, sequence, copy);
    RequireSnapshot(scan, state);
    if (!there) {
      state->position = (sequence + 1) * slots;
      continue;
    }
    uint32 used = static_cast<uint32>(Min(uint64{copy->header.used}, state->end - sequence * slots));
    for (uint32 slot = state->position % slots; slot < used; slot++) {
      if (copy->slots[slot].flags & kSlotDead) continue;
      state->position = sequence * slots + slot + 1;
      SetRow(scan, copy->slots[slot].tid, std::numeric_limits<double>::quiet_NaN(), state->null_distance);
      state->emitted++;
      pfree(copy);
      return true;
    }
    state->position = (sequence + 1) * slots;
  }
  if (copy != nullptr) pfree(copy);
  return false;
}

// A segment's contents cannot be right: begins anew without it if nothing has been returned yet, else goes on
// with the rest.
void HandleCorruption(IndexScanDesc scan, ScanState* state, const Failure& failure) {
  if (HasPrivateSegments(scan->indexRelation)) {
    PutOffPrivate(scan->indexRelation, failure);
  } else {
    uint64 id = state->objects->search->corrupt_segment();
    Notices notices;
    Failure aside = Guard([&] {
      const IndexMapping& mapping = *state->objects->mapping;
      return SetAside(mapping.manifest, mapping.generation, {id}, failure.message, &notices);
    });
    notices.Emit();
    ThrowIfFailed(aside);
  }
  if (state->emitted > 0) return StartRest(scan, state);
  ResetScan(state);
  StartScan(scan, state);
}

bool AdvanceScan(IndexScanDesc scan, ScanState* state);

bool NextInDistanceOrder(IndexScanDesc scan, ScanState* state) {
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    MergedSearch* search = state->objects->search.get();
    MergedSearch::Step step;
    Failure failure = Guard([&] {
      auto next = search->Next();
      if (!next.ok()) return next.status();
      step = *next;
      return Status::Ok();
    });
    if (failure.code == StatusCode::kCorruption && search->corrupt_segment() != 0) {
      HandleCorruption(scan, state, failure);
      if (state->phase != Phase::kSearch) return AdvanceScan(scan, state);
      continue;
    }
    ThrowIfFailed(failure);
    switch (step.action) {
      case MergedSearch::Action::kDone:
        return false;
      case MergedSearch::Action::kLimit:
        state->cut = state->ends_at_limit;
        if (state->cut) return false;
        StartRest(scan, state);
        return AdvanceScan(scan, state);
      case MergedSearch::Action::kMoreExact:
        AddMoreOfTail(scan, state);
        break;
      case MergedSearch::Action::kRerank: {
        VECCKPT_FAULT_POINT_RAISE(ScanRerank);
        for (uint64 next : step.next_ordinals)
          if (next != MergedSearch::kNoOrdinal) PrefetchEntry(&state->reader, next);
        ItemPointerData tid;
        bool there = ReadEntry(&state->reader, step.ordinal, step.sequence, state->vector, &tid);
        double distance = there ? ExactDistance(state->support->metric, state->query.data,
                                                VectorIn(*state->reader.meta, state->vector))
                                : 0;
        ThrowIfFailed(Guard([&] {
          if (there)
            search->Resolve(distance, LocatorOf(tid));
          else
            search->ResolveGone();
          return Status::Ok();
        }));
        if (!there) RequireSnapshot(scan, state);
        break;
      }
      case MergedSearch::Action::kEmit:
        VECCKPT_FAULT_POINT_RAISE(ScanEmit);
        SetRow(scan, TidOf(step.locator), SqlDistance(state->support->metric, step.distance), false);
        state->emitted++;
        return true;
    }
  }
}

bool NextExactly(IndexScanDesc scan, ScanState* state) {
  double distance;
  ItemPointerData tid;
  CHECK_FOR_INTERRUPTS();
  if (!NextOfRest(state, &distance, &tid)) return false;
  SetRow(scan, tid, SqlDistance(state->support->metric, distance), false);
  state->emitted++;
  return true;
}

bool AdvanceScan(IndexScanDesc scan, ScanState* state) {
  switch (state->phase) {
    case Phase::kSearch:
      return NextInDistanceOrder(scan, state);
    case Phase::kRest:
      return NextExactly(scan, state);
    case Phase::kInLogOrder:
      return NextInLogOrder(scan, state);
    default:
      return false;
  }
}

// Once a scan, when it ends or starts anew. One that ends by an error, or with its transaction's, is not
// counted.
void CountScan(IndexScanDesc scan, ScanState* state) {
  if (shared == nullptr || !state->counts || HasPrivateSegments(scan->indexRelation)) return;
  state->counts = false;
  SearchCounters search = state->found;
  uint64 segments = state->segments;
  if (state->objects != nullptr && state->objects->search != nullptr) {
    search = state->objects->search->counters();
    if (state->objects->mapping != nullptr) segments = state->objects->mapping->segments.size();
  }
  LWLockAcquire(shared->lock, LW_SHARED);
  if (IndexEntry* entry = FindEntry(KeyOf(scan->indexRelation))) {
    IndexCounters* counters = &entry->counters;
    pg_atomic_fetch_add_u64(&counters->searches, 1);
    pg_atomic_fetch_add_u64(&counters->segments_searched, static_cast<int64>(segments));
    pg_atomic_fetch_add_u64(&counters->distances, static_cast<int64>(search.distances));
    pg_atomic_fetch_add_u64(&counters->reranked, static_cast<int64>(search.reranked));
    pg_atomic_fetch_add_u64(&counters->tail_scanned, static_cast<int64>(state->tail_scanned));
    pg_atomic_fetch_add_u64(&counters->emitted, static_cast<int64>(state->emitted));
    pg_atomic_fetch_add_u64(&counters->late, static_cast<int64>(search.late));
    pg_atomic_fetch_add_u64(&counters->went_on_exactly, state->rested ? 1 : 0);
    pg_atomic_fetch_add_u64(&counters->cut_short, state->cut ? 1 : 0);
  }
  LWLockRelease(shared->lock);
}

}  // namespace

void RequireSnapshot(IndexScanDesc scan, ScanState* state) {
  XLogRecPtr lsn = state->reader.max_lsn;
  if (state->objects != nullptr && state->objects->mapping != nullptr)
    lsn = Max(lsn, state->objects->mapping->manifest.max_lsn());
  RequireYoungSnapshot(scan->indexRelation, scan->xs_snapshot, lsn);
}

IndexScanDesc vhnswbeginscan(Relation index, int key_count, int orderby_count) {
  IndexScanDesc scan = RelationGetIndexScan(index, key_count, orderby_count);
  ScanState* state = static_cast<ScanState*>(palloc0(sizeof(ScanState)));
  state->context = AllocSetContextCreate(CurrentMemoryContext, "vhnsw scan", ALLOCSET_DEFAULT_SIZES);
  state->support = SupportOf(index);
  scan->opaque = state;
  if (orderby_count > 0) {
    scan->xs_orderbyvals = static_cast<Datum*>(palloc0(sizeof(Datum) * orderby_count));
    scan->xs_orderbynulls = static_cast<bool*>(palloc0(sizeof(bool) * orderby_count));
  }
  return scan;
}

void vhnswrescan(IndexScanDesc scan, ScanKey keys, int key_count, ScanKey orderbys, int orderby_count) {
  (void)key_count, (void)orderby_count;
  CountScan(scan, StateOf(scan));
  ResetScan(StateOf(scan));
  if (keys != nullptr && scan->numberOfKeys > 0)
    memmove(scan->keyData, keys, scan->numberOfKeys * sizeof(ScanKeyData));
  if (orderbys != nullptr && scan->numberOfOrderBys > 0)
    memmove(scan->orderByData, orderbys, scan->numberOfOrderBys * sizeof(ScanKeyData));
}

bool vhnswgettuple(IndexScanDesc scan, ScanDirection direction) {
  Assert(ScanDirectionIsForward(direction));
  (void)direction;
  ScanState* state = StateOf(scan);
  if (state->phase == Phase::kNotStarted) StartScan(scan, state);
  if (AdvanceScan(scan, state)) return true;
  state->phase = Phase::kDone;
  return false;
}

void vhnswendscan(IndexScanDesc scan) {
  ScanState* state = StateOf(scan);
  CountScan(scan, state);
  ResetScan(state);
  MemoryContextDelete(state->context);
}

}  // namespace vecckpt
