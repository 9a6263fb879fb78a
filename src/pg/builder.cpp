// A builder visits the vhnsw indexes of one database and keeps their segments up with their logs.
//
// Its main thread makes every PostgreSQL call and stays responsive: it opens an index with a conditional lock
// in a short transaction, asks the policy for jobs, reads what they need out of the log, and hands them to
// compute threads. Finished jobs come back as completions, whose segments it publishes.
//
// Visits are driven by hints in shared memory (BuilderWanted); the catalog is looked through at the start and
// now and then, for indexes without an entry. It leaves when it has been idle for a while, or is asked to.
// Every way out joins the threads (BuilderExit).

#include "pg/builder.hpp"

#include "pg/builder_progress.hpp"
#include "pg/builder_work.hpp"
#include "pg/catalog.hpp"
#include "pg/entry_reader.hpp"
#include "pg/folder_owner.hpp"
#include "pg/options.hpp"
#include "pg/wait_events.hpp"

extern "C" {
#include "catalog/pg_am.h"
#include "postmaster/interrupt.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
}

namespace vecckpt {
namespace {

constexpr long kNapMilliseconds = 200;
constexpr int kIdleSeconds = 5;
constexpr int kCatalogSeconds = 5;
constexpr uint32 kSmallJobThreads = 2;  // beside the one that runs a graph job
static_assert(1 + kSmallJobThreads == kMaxShownJobs);

struct BuilderState {
  Builder* builder;  // C++ heap
  int slot;
  Oid database;
  MemoryContext context;  // reset between visits
  Moment next_catalog;
  Moment idle_since;
  IndexKey counted;  // the index whose dead entries are being counted, its flag taken
  bool counting;
  IndexKey visited;  // the index being visited, if it has been opened
  bool opened;
};

BuilderState state;  // static: lives across longjmp and into BuilderExit

void BuilderExit(int code, Datum argument) {
  (void)argument;
  bool failed = code != 0;
  Builder* builder = state.builder;
  state.builder = nullptr;
  Guard([builder] {
    if (builder != nullptr) builder->pool.reset();  // cancels and joins, before jobs give up their files
    delete builder;
    return Status::Ok();
  });
  IndexKey* keys;
  int count = ListEntries(state.database, &keys);
  for (int i = 0; i < count; i++) {
    bool unfinished = false;
    ChangeEntry(keys[i], [&](IndexFields& f) {
      if (f.claim == MyProcPid) {
        f.claim = 0;
        f.state[0] = '\0';
        unfinished = true;
      }
      // After a failure nobody works on it any more, and whoever waits is told; else the next builder does.
      if (failed && f.seal_request > f.seal_done) {
        f.seal_done = f.request_done = f.seal_request;
        f.outcome = RequestOutcome::kFailed;
        NoteFailure(&f, FailedIn::kRequest, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "the builder ended",
                    {});
      }
    });
    if (!unfinished) continue;
    MarkWork(keys[i]);
    MarkVacuumed(keys[i]);  // a liveness bitmap may be what was unfinished
  }
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  BuilderSlot* slot = &shared->builders[state.slot];
  memset(slot, 0, sizeof(BuilderSlot));
  slot->ended = state.database;
  slot->failed = failed;
  if (shared->launcher_latch != nullptr) SetLatch(shared->launcher_latch);
  LWLockRelease(shared->lock);
  ConditionVariableBroadcast(&shared->changed);
}

// ---- one visit ----

struct Visit {
  Relation index;
  LogReader reader;
  IndexKey key;
  IndexFields fields;
  uint64 first;  // position of the first sequence
  uint64 end;    // the log's end
};

// What the views say the builder does with an index; null if it has no job of it.
const char* Doing(const IndexKey& key) {
  const char* text = nullptr;
  for (const auto& [id, job] : state.builder->jobs) {
    if (job.key != key) continue;
    if (job.large) return job.kind == JobKind::kGraph ? "building graph" : "merging";
    text = !job.bitmaps.empty()         ? "counting dead"
           : job.verify                 ? "verifying"
           : job.kind == JobKind::kSeal ? "sealing"
                                        : "merging";
  }
  return text;
}

// Claims an index while it has jobs, so that it is visited again when they are done.
void UpdateClaim(IndexFields& f, const char* doing) {
  if (f.claim != 0 && f.claim != MyProcPid) return;
  f.claim = doing == nullptr ? 0 : MyProcPid;
  strlcpy(f.state, doing == nullptr ? "" : doing, sizeof(f.state));
}

// What a waiting vec_checkpoint is told where this index cannot be worked on.
void AnswerRequest(const IndexKey& key, RequestOutcome outcome) {
  ChangeEntry(key, [outcome](IndexFields& f) {
    if (f.seal_request <= f.seal_done) return;
    f.seal_done = f.request_done = f.seal_request;
    f.outcome = outcome;
  });
  ConditionVariableBroadcast(&shared->changed);
}

// There is nothing to look at until somebody says so again.
void ForgetHints(const IndexKey& key) {
  LWLockAcquire(shared->lock, LW_SHARED);
  if (IndexEntry* entry = FindEntry(key)) {
    pg_atomic_write_u32(&entry->has_tail, 0);
    pg_atomic_write_u32(&entry->vacuumed, 0);
  }
  LWLockRelease(shared->lock);
}

// Everything the request wants is covered; the launcher makes it durable and answers.
void PassRequestOn(const IndexKey& key, uint64 request) {
  ChangeEntry(key, [request](IndexFields& f) {
    if (f.seal_done < request) f.seal_done = request;
  });
  WakeLauncher();
}

// Lets go of an index that is gone, or lives in another file by now. REQUIRES: its lock is held, so that it
// is not of a transaction that may commit yet. Where a crash has left its file behind the sweep would not
// know.
void LetGo(const IndexKey& key) {
  ThrowIfFailed(Guard([&] { return DropWork(state.builder, key); }));
  ForgetHints(key);
  ChangeEntry(key, [](IndexFields& f) { UpdateClaim(f, nullptr); });
  AnswerRequest(key, RequestOutcome::kGone);
  if (!OidIsValid(RelationOfFile(key))) ForgetEntry(key);
  InvalidateCatalogSnapshot();
}

void StartLivenessOver(Visit* visit) {
  ThrowIfFailed(Guard([&] {
    state.builder->liveness = std::make_shared<Liveness>(visit->reader.meta->slots_per_extent);
    return Status::Ok();
  }));
}

// After a failure an index is left alone for a while.
bool MayTry(const IndexFields& fields) {
  return fields.failures == 0 || Now() >= fields.retry_at;
}

// Takes the flag that a vacuum has set. RestoreVacuumed gives it back where an error keeps the count from
// becoming a job.
bool TakeVacuumed(const IndexKey& key) {
  state.counted = key;
  LWLockAcquire(shared->lock, LW_SHARED);
  IndexEntry* entry = FindEntry(key);
  state.counting = entry != nullptr && pg_atomic_exchange_u32(&entry->vacuumed, 0) != 0;
  LWLockRelease(shared->lock);
  return state.counting;
}

void RestoreVacuumed() {
  if (state.counting) MarkVacuumed(state.counted);
  state.counting = false;
}

// Counts each segment's dead entries again, after a vacuum, and lets searches know.
void CountDead(Visit* visit) {
  VECCKPT_FAULT_POINT_RAISE(LivenessCount);
  Builder* builder = state.builder;
  const IndexMapping* mapping = builder->visited->mapping.get();
  for (size_t i = 0; i < mapping->segments.size(); i++) {
    StartLivenessOver(visit);
    uint64 live = ReadLiveness(&visit->reader, *mapping->segments[i], builder->liveness.get());
    ThrowIfFailed(Guard([&] { return NoteDead(builder, i, live); }));
  }
  ThrowIfFailed(Guard([&] { return StartLiveness(builder); }));
  state.counting = false;
}

// Reads which entries of the planned inputs are alive now.
void ReadInputLiveness(Visit* visit, const PlannedJob& planned) {
  StartLivenessOver(visit);
  for (const auto& segment : state.builder->visited->mapping->segments) {
    bool wanted = false;
    for (uint64_t id : planned.segments) wanted = wanted || id == segment->id();
    if (wanted) ReadLiveness(&visit->reader, *segment, state.builder->liveness.get());
  }
}

// Reads the entries of a planned seal and submits it.
void Seal(Visit* visit, PositionRange range, bool by_request) {
  Builder* builder = state.builder;
  ThrowIfFailed(Guard([&] {
    builder->batch = EntryBatch();
    return Status::Ok();
  }));
  uint64 end_hash = ReadBatch(&visit->reader, range, &builder->batch);
  VECCKPT_FAULT_POINT_RAISE(SealRead);
  ThrowIfFailed(
      Guard([&] { return StartSeal(builder, range, end_hash, visit->reader.max_lsn, by_request); }));
}

bool HasRoomForJobs() {
  return state.builder->pool->outstanding() < size_t{kMostJobs};
}

void StartPlannedJobs(Visit* visit, bool seal_all) {
  Builder* builder = state.builder;
  for (size_t i = 0; i < builder->plan.size(); i++) {
    if (!HasRoomForJobs()) return MarkWork(visit->key);
    const PlannedJob& planned = builder->plan[i];
    if (planned.kind == JobKind::kSeal) {
      Seal(visit, planned.range, seal_all);
      continue;
    }
    ReadInputLiveness(visit, planned);
    ThrowIfFailed(Guard([&] {
      return StartRewrite(builder, planned, visit->reader.max_lsn, BuildThreads(),
                          uint64{static_cast<uint32>(build_memory)} * 1024);
    }));
  }
}

// Takes up a new request, and passes it on when everything it wants is covered.
bool CheckRequest(Visit* visit) {
  IndexWork* work = state.builder->visited;
  const IndexFields& fields = visit->fields;
  if (fields.seal_request <= fields.seal_done) return false;
  if (work->request <= fields.seal_done) {  // a newer one waits until this one is answered
    work->request = fields.seal_request;
    work->request_target = visit->end;
  }
  uint64 open = 0;
  ThrowIfFailed(
      Guard([&] { return FindUncovered(state.builder, visit->first, work->request_target, &open); }));
  if (open > 0) return true;
  PassRequestOn(visit->key, work->request);
  return false;
}

// REQUIRES: visit->reader is open and the log has a tail.
void WorkOnIndex(Visit* visit) {
  VECCKPT_FAULT_POINT_RAISE(BuilderVisit, RelationGetRelationName(visit->index));
  Builder* builder = state.builder;
  const MetaPage* meta = visit->reader.meta;
  Relation index = visit->index;
  VisitFacts facts = {visit->key,
                      meta->identity,
                      RelationGetRelid(index),
                      index->rd_rel->relpersistence,
                      RelationGetRelationName(index),
                      GeometryOf(*meta)};
  ThrowIfFailed(Guard([&] { return BeginVisit(builder, facts); }));
  IndexWork* work = builder->visited;
  Validation validation = MapValidated(index, &visit->reader, &work->mapping, &work->proof);
  if (validation == Validation::kDeferred) {
    // Replay may never get as far as the segments: nobody must wait for it.
    AnswerRequest(visit->key, RequestOutcome::kDeferred);
    return;
  }
  if (validation == Validation::kUnfinished) {
    SetLatch(MyLatch);  // on with it, once others have had their turn
    return;
  }
  if (work->mapping == nullptr) return;  // no room in shared memory

  LWLockAcquire(shared->lock, LW_SHARED);
  // Before the log's end is read, so that no later insert is missed.
  if (IndexEntry* entry = FindEntry(visit->key)) pg_atomic_write_u32(&entry->has_tail, 0);
  LWLockRelease(shared->lock);
  SnapshotEntry(visit->key, &visit->fields);
  // What was inserted before the flag was cleared, or the request made, is below the end that is read now.
  RefreshLog(&visit->reader);
  visit->first = meta->first_sequence * meta->slots_per_extent;
  visit->end = LogEnd(&visit->reader);
  // Counted again when the bitmaps of the last time are done, and where there is room for new ones.
  if (!work->liveness_running && HasRoomForJobs() && MayTry(visit->fields) && TakeVacuumed(visit->key))
    CountDead(visit);
  if (!visit->fields.verified) ThrowIfFailed(Guard([&] { return StartVerify(builder); }));
  // A generation of this server's run was written here, verified as it was.
  if (visit->fields.verified)
    ThrowIfFailed(Guard([&] {
      work->verified.clear();  // ids of segments that are gone do not come back
      for (const auto& segment : work->mapping->segments) work->verified.insert(segment->id());
      return Status::Ok();
    }));

  bool requested = CheckRequest(visit);
  bool seal_all = requested || visit->fields.seal_idle;
  uint64 open = 0;
  ThrowIfFailed(Guard([&] { return FindUncovered(builder, visit->first, visit->end, &open); }));
  ThrowIfFailed(Guard([&] {
    return Plan(builder, seal_all, BuildThreads(), uint64{static_cast<uint32>(build_memory)} * 1024);
  }));
  // Whoever asks for it has it tried at once; a periodic checkpoint does not.
  if (MayTry(visit->fields) || requested)
    StartPlannedJobs(visit, seal_all);
  else
    MarkWork(visit->key);
  if (builder->postponed) MarkWork(visit->key);
  bool sealed = open == 0;
  const char* doing = Doing(visit->key);
  ChangeEntry(visit->key, [&](IndexFields& f) {
    f.tail_left = !sealed;
    if (sealed) f.seal_idle = false;
    UpdateClaim(f, doing);
  });
  VECCKPT_FAULT_POINT_RAISE(BuilderVisited);
}

// Of an index that is not ready: whether somebody still builds it, or has failed to.
bool IsBeingBuilt(const IndexKey& key) {
  IndexFields fields;
  return SnapshotEntry(key, &fields) && fields.claim != 0;
}

// Opens the index if its lock is free. False: somebody else has it.
bool VisitIndex(Oid index_oid, const IndexKey* expected) {
  if (!ConditionalLockRelationOid(index_oid, AccessShareLock)) {
    if (expected != nullptr) AnswerRequest(*expected, RequestOutcome::kLocked);
    return false;
  }
  Relation index = nullptr;
  if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(index_oid))) index = relation_open(index_oid, NoLock);
  InvalidateCatalogSnapshot();
  // An index that CREATE INDEX CONCURRENTLY or REINDEX CONCURRENTLY is building is that backend's.
  bool building = index != nullptr && index->rd_rel->relkind == RELKIND_INDEX && !index->rd_index->indisready;
  bool ours = index != nullptr && !building && index->rd_rel->relkind == RELKIND_INDEX &&
              index->rd_rel->relam == get_am_oid("vhnsw", true) &&
              index->rd_rel->relpersistence != RELPERSISTENCE_TEMP &&
              !(RecoveryInProgress() && index->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED);
  Visit visit = {};
  if (ours) {
    visit.index = index;
    visit.key = KeyOf(index);
    state.visited = visit.key;
    state.opened = true;
    BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKREAD);
    if (OpenLog(&visit.reader, index, strategy)) {
      const MetaPage* meta = visit.reader.meta;
      if (meta->identity != 0 && meta->next_sequence > 0) {
        WorkOnIndex(&visit);
      } else {
        EnsureEntry(visit.key, meta->identity, index_oid, index->rd_rel->relpersistence);
        ForgetHints(visit.key);
        // An empty log has nothing to verify, seal or make durable.
        uint64 request = 0;
        ChangeEntry(visit.key, [&](IndexFields& f) {
          request = f.seal_request;
          f.seal_idle = false;
          if (f.current.manifest_id == 0) f.validated = f.verified = true;
        });
        PassRequestOn(visit.key, request);
      }
    }
  }
  if (expected != nullptr && (index == nullptr || visit.key != *expected)) {
    if (building)
      AnswerRequest(*expected, IsBeingBuilt(*expected) ? RequestOutcome::kLocked : RequestOutcome::kGone);
    else
      LetGo(*expected);
  }
  if (index != nullptr) relation_close(index, NoLock);
  UnlockRelationOid(index_oid, AccessShareLock);
  return true;
}

// ALTER TABLE can give an index another OID and leave it its file.
Oid OidNow(Oid index_oid, const IndexKey* expected) {
  if (expected == nullptr || SearchSysCacheExists1(RELOID, ObjectIdGetDatum(index_oid))) return index_oid;
  Oid now = RelationOfFile(*expected);
  return OidIsValid(now) ? now : index_oid;
}

// VisitIndex in a transaction of its own; an error is recorded for the index, and the others go on.
void VisitGuarded(Oid index_oid, const IndexKey* expected) {
  state.opened = false;
  StartTransactionCommand();
  MemoryContext caller = MemoryContextSwitchTo(state.context);
  PG_TRY();
  {
    bool visited = VisitIndex(OidNow(index_oid, expected), expected);
    CommitTransactionCommand();
    if (visited && expected != nullptr)
      ChangeEntry(*expected, [](IndexFields& f) { ForgetFailure(&f, FailedIn::kVisit); });
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(state.context);
    ErrorData* error = CopyErrorData();
    HOLD_INTERRUPTS();
    EmitErrorReport();
    FlushErrorState();
    AbortCurrentTransaction();
    RESUME_INTERRUPTS();
    RestoreVacuumed();
    // The hints are taken by now, whether they led here or the catalog did.
    const IndexKey* key = expected != nullptr ? expected : state.opened ? &state.visited : nullptr;
    if (key != nullptr) {
      Moment now = Now();
      ChangeEntry(*key, [&](IndexFields& f) {
        NoteFailure(&f, FailedIn::kVisit, error->sqlerrcode, error->message, now);
      });
      AnswerRequest(*key, RequestOutcome::kFailed);
      const char* doing = Doing(*key);
      ChangeEntry(*key, [doing](IndexFields& f) { UpdateClaim(f, doing); });
      MarkWork(*key);
    }
  }
  PG_END_TRY();
  MemoryContextSwitchTo(caller);
  MemoryContextReset(state.context);
}

// ---- the main loop ----

// Every index of the catalog, so that those without an entry get one.
void VisitAll() {
  MemoryContext lists = AllocSetContextCreate(TopMemoryContext, "vecckpt index list", ALLOCSET_DEFAULT_SIZES);
  StartTransactionCommand();
  MemoryContext transaction = MemoryContextSwitchTo(lists);
  Oid* oids;
  int count = ListVhnswIndexes(&oids);
  MemoryContextSwitchTo(transaction);
  CommitTransactionCommand();
  for (int i = 0; i < count; i++) {
    CHECK_FOR_INTERRUPTS();
    VisitGuarded(oids[i], nullptr);
  }
  MemoryContextDelete(lists);
}

// Entries of this database that want a builder.
int VisitWanted(Moment now) {
  MemoryContext lists =
      AllocSetContextCreate(TopMemoryContext, "vecckpt wanted list", ALLOCSET_DEFAULT_SIZES);
  MemoryContext caller = MemoryContextSwitchTo(lists);
  IndexKey* keys;
  int count = ListEntries(state.database, &keys);
  MemoryContextSwitchTo(caller);
  int visited = 0;
  static unsigned first = 0;  // another index each time is the first to get a large job
  first++;
  for (int n = 0; n < count; n++) {
    CHECK_FOR_INTERRUPTS();
    if (!HasRoomForJobs()) {
      first += static_cast<unsigned>(n) - 1;  // go on here next time
      break;
    }
    int i = static_cast<int>((n + first) % static_cast<unsigned>(count));
    Oid index_oid = InvalidOid;
    bool wanted = false;
    LWLockAcquire(shared->lock, LW_SHARED);
    if (IndexEntry* entry = FindEntry(keys[i])) {
      SpinLockAcquire(&entry->mutex);
      wanted = BuilderWanted(entry, now) || entry->f.claim == MyProcPid;
      index_oid = entry->f.index_oid;
      SpinLockRelease(&entry->mutex);
    }
    LWLockRelease(shared->lock);
    if (!wanted) continue;
    visited++;
    VisitGuarded(index_oid, &keys[i]);
  }
  MemoryContextDelete(lists);
  return visited;
}

bool ShouldLeave() {
  LWLockAcquire(shared->lock, LW_SHARED);
  bool leave = shared->builders[state.slot].leave;
  LWLockRelease(shared->lock);
  return leave || !builder_enabled || !FolderIsOurs();
}

void Round() {
  Moment now = Now();
  Notices notices;
  int finished = 0;
  Failure failure = Guard([&] { return DrainJobs(state.builder, &finished, &notices); });
  notices.Emit();
  if (failure.failed()) ereport(LOG, (errmsg("vecckpt: builder: %s", failure.message)));
  if (now >= state.next_catalog) {
    VisitAll();
    ThrowIfFailed(Guard([] { return DropForgottenWork(state.builder); }));
    state.next_catalog = now + std::chrono::seconds{kCatalogSeconds};
  }
  int visited = VisitWanted(now);
  if (finished > 0 || visited > 0 || state.builder->pool->outstanding() > 0) state.idle_since = Now();
  ShowJobs(state.builder, state.slot);
}

// False where the launcher has given the slot away, because this process took too long to start.
bool TakeSlot(int slot) {
  Oid database;
  memcpy(&database, MyBgworkerEntry->bgw_extra, sizeof(database));
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  BuilderSlot* mine = &shared->builders[slot];
  bool free = mine->database == database && mine->pid == 0;
  if (free) {
    mine->pid = MyProcPid;
    mine->latch = MyLatch;
    state.slot = slot;
    state.database = database;
  }
  LWLockRelease(shared->lock);
  return free;
}

void StartUp() {
  VECCKPT_FAULT_POINT_RAISE(BuilderStart);
  ThrowIfFailed(Guard([] {
    state.builder = new Builder;
    auto pool = ThreadPool::Create(1 + kSmallJobThreads);
    if (!pool.ok()) return pool.status();
    state.builder->pool = std::move(*pool);
    return Status::Ok();
  }));
  state.context = AllocSetContextCreate(TopMemoryContext, "vecckpt builder visit", ALLOCSET_DEFAULT_SIZES);
  state.idle_since = Now();
}

}  // namespace

bool BuilderWanted(IndexEntry* entry, Moment now) {
  const IndexFields& f = entry->f;
  if (f.seal_request > f.seal_done) return true;
  if (f.retry_at > now) return false;
  return pg_atomic_read_u32(&entry->has_tail) != 0 || pg_atomic_read_u32(&entry->vacuumed) != 0 ||
         !f.validated || !f.verified || f.seal_idle;
}

}  // namespace vecckpt

void vecckpt_builder_main(Datum argument) {
  using namespace vecckpt;
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGTERM, die);
  if (!TakeSlot(DatumGetInt32(argument))) proc_exit(0);
  before_shmem_exit(BuilderExit, 0);
  StartUp();
  BackgroundWorkerUnblockSignals();
  BackgroundWorkerInitializeConnectionByOid(state.database, InvalidOid, 0);
  IgnoreSessionSettings();
  pgstat_report_activity(STATE_IDLE, nullptr);

  while (!ShouldLeave()) {
    Round();
    Moment idle_limit = state.idle_since + std::chrono::seconds{kIdleSeconds};
    if (Now() >= idle_limit) break;
    int events =
        WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | WL_SOCKET_READABLE,
                          state.builder->pool->wakeup_fd(), kNapMilliseconds, WaitEventOf(Wait::kBuilder));
    if (events & WL_LATCH_SET) ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
    if (ConfigReloadPending) {
      ConfigReloadPending = false;
      ProcessConfigFile(PGC_SIGHUP);
    }
  }
  proc_exit(0);
}
