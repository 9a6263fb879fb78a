// See launcher.hpp.
//
// The main loop wakes at least once a second. Each round: checkpoints that are due (a CHECKPOINT that waits,
// a PostgreSQL checkpoint that has started, answered seal requests, the periodic time-out), builders for
// databases with work, and now and then a sweep. An error in one round is logged, and the next round goes on.

#include "pg/launcher.hpp"

#include "pg/builder.hpp"
#include "pg/checkpoint.hpp"
#include "pg/database_list.hpp"
#include "pg/folder_owner.hpp"
#include "pg/mapping_holders.hpp"
#include "pg/options.hpp"
#include "pg/shared_state.hpp"
#include "pg/sweep.hpp"
#include "pg/wait_events.hpp"
#include "pg/wall.hpp"

extern "C" {
#include "access/xlogrecovery.h"
#include "postmaster/interrupt.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
}

namespace vecckpt {
namespace {

constexpr long kNapMilliseconds = 1000;
constexpr int kSweepSeconds = 20;
constexpr int kAskSeconds = 5;  // between looks for sessions that keep what was replaced
constexpr int kDatabaseListSeconds = 30;
constexpr int kRelistSeconds = 2;
constexpr int kRestartSeconds = 1;        // between starts of a database's builders, however they end
constexpr int kStartingSeconds = 30;      // a builder that has not reported by then never started
constexpr int kReplaySeconds = 5;         // between visits of a standby's databases while replay goes on
constexpr int kReplayVacuumSeconds = 60;  // the same for counting dead entries
constexpr int kSuspensionSeconds = 10;
constexpr int kLeaveSeconds = 5;
constexpr int kTurnSeconds = 30;  // a builder works at least this long before another database gets its slot
constexpr uint32 kMaxBackoffShift = 8;  // of databases whose builders fail again and again: 256 s
// A periodic checkpoint waits this long for the tails to be sealed.
constexpr int kSealGraceSeconds = 10;

struct LauncherState {
  XLogRecPtr redo;  // GetRedoRecPtr() when last looked
  Moment next_periodic;
  Moment periodic_due;  // {}, or when the pending periodic checkpoint stops waiting for seals
  Moment next_sweep;
  Moment next_ask;
  bool recovering;
  XLogRecPtr replayed;  // when last looked
  Moment next_replay;
  Moment next_replay_vacuum;
  bool visits_owed;  // replay has moved on since every database was visited
  Moment next_list;
  Moment next_relist;  // not before, however much work there is in unlisted databases
  DatabaseList list;
};

LauncherState state;  // static: lives across the error handler's longjmp

void LauncherExit(int code, Datum argument) {
  (void)code, (void)argument;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  shared->launcher_pid = 0;
  shared->launcher_latch = nullptr;
  LWLockRelease(shared->lock);
  ConditionVariableBroadcast(&shared->changed);
}

// Back to normal after an error that ends one piece of work only.
void RecoverFromError(MemoryContext context) {
  MemoryContextSwitchTo(context);
  HOLD_INTERRUPTS();
  EmitErrorReport();
  AbortOutOfAnyTransaction();
  LWLockReleaseAll();
  ConditionVariableCancelSleep();
  FlushErrorState();
  RESUME_INTERRUPTS();
}

// PersistIndex, whose error must not keep other indexes waiting.
Persisted PersistGuarded(const IndexKey& key) {
  MemoryContext context = CurrentMemoryContext;
  volatile Persisted persisted = Persisted::kFailed;
  PG_TRY();
  {
    VECCKPT_FAULT_POINT_RAISE(LauncherCheckpoint);
    persisted = PersistIndex(key);
    VECCKPT_FAULT_POINT_RAISE(LauncherCheckpointed);
  }
  PG_CATCH();
  {
    RecoverFromError(context);
    Moment now = Now();
    ChangeEntry(key, [now](IndexFields& f) {
      NoteFailure(&f, FailedIn::kCheckpoint, ERRCODE_IO_ERROR, "checkpoint failed, see the server log", now);
    });
  }
  PG_END_TRY();
  return persisted;
}

// Makes durable what `wanted` picks. Returns how many.
template <typename Wanted>
int PersistWhere(Wanted wanted) {
  IndexKey* keys;
  int count = ListEntries(InvalidOid, &keys);
  int done = 0;
  for (int i = 0; i < count; i++) {
    IndexFields fields;
    if (!SnapshotEntry(keys[i], &fields) || !wanted(fields)) continue;
    Persisted persisted = PersistGuarded(keys[i]);
    if (persisted == Persisted::kDone) done++;
    uint64 sealed = fields.seal_done;
    ChangeEntry(keys[i], [&](IndexFields& f) {
      if (sealed <= f.request_done) return;
      f.request_done = sealed;
      f.outcome = persisted == Persisted::kFailed ? RequestOutcome::kFailed : RequestOutcome::kDone;
      if (persisted != Persisted::kFailed) ForgetFailure(&f, FailedIn::kRequest);
    });
  }
  pfree(keys);
  if (done > 0) {
    ereport(LOG, (errmsg("vecckpt: checkpointed %d indexes", done)));
    state.next_sweep = {};  // files of older generations can go
  }
  ConditionVariableBroadcast(&shared->changed);
  return done;
}

bool Changed(const IndexFields& f) {
  return f.current.number != f.durable.number;
}

// A periodic checkpoint first has idle tails sealed.
void StartPeriodic(Moment now) {
  state.next_periodic = now + std::chrono::seconds{checkpoint_timeout};
  state.periodic_due = now + std::chrono::seconds{kSealGraceSeconds};
  LWLockAcquire(shared->lock, LW_SHARED);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_indexes);
  while (auto* entry = static_cast<IndexEntry*>(hash_seq_search(&scan))) {
    bool tail = pg_atomic_read_u32(&entry->has_tail) != 0;
    SpinLockAcquire(&entry->mutex);
    if (builder_enabled && (tail || entry->f.tail_left)) entry->f.seal_idle = true;
    if (tail || entry->f.tail_left || Changed(entry->f)) entry->f.persist_wanted = true;
    SpinLockRelease(&entry->mutex);
  }
  LWLockRelease(shared->lock);
}

void DoCheckpoints(Moment now) {
  LWLockAcquire(shared->lock, LW_SHARED);
  uint64 request = shared->persist_request;
  bool waiting = request > shared->persist_done;
  LWLockRelease(shared->lock);
  XLogRecPtr redo = GetRedoRecPtr();
  if (waiting || redo != state.redo) {
    PersistWhere(Changed);
    state.redo = redo;
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    if (request > shared->persist_done) shared->persist_done = request;
    LWLockRelease(shared->lock);
    ConditionVariableBroadcast(&shared->changed);
  }
  if (now >= state.next_periodic) StartPeriodic(now);
  bool grace_over = state.periodic_due != Moment{} && now >= state.periodic_due;
  PersistWhere([&](const IndexFields& f) {
    bool requested = f.seal_done > f.request_done;
    bool periodic = f.persist_wanted && now >= f.retry_at && (!f.seal_idle || grace_over);
    return requested || periodic;
  });
}

bool MayStart(Oid database, Moment now, int* free_slot) {
  bool may = true;
  *free_slot = -1;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  for (int i = 0; i < kMaxBuilders; i++) {
    BuilderSlot& slot = shared->builders[i];
    if (slot.database == database) may = false;
    bool never_came = OidIsValid(slot.database) && slot.pid == 0 &&
                      now > slot.started + std::chrono::seconds{kStartingSeconds};
    if (never_came) memset(&slot, 0, sizeof(slot));
    if (!OidIsValid(slot.database)) *free_slot = i;
  }
  for (const Suspension& suspension : shared->suspended)
    if (suspension.database == database && suspension.until > now) may = false;
  LWLockRelease(shared->lock);
  return may && *free_slot >= 0;
}

bool StartBuilder(Oid database, Moment now, int slot) {
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  shared->builders[slot] = {database, 0, nullptr, now, false, InvalidOid, false, {}};
  LWLockRelease(shared->lock);
  BackgroundWorker worker = {};
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_ConsistentState;
  worker.bgw_restart_time = BGW_NEVER_RESTART;
  strlcpy(worker.bgw_library_name, "vecckpt", sizeof(worker.bgw_library_name));
  strlcpy(worker.bgw_function_name, "vecckpt_builder_main", sizeof(worker.bgw_function_name));
  snprintf(worker.bgw_name, sizeof(worker.bgw_name), "vecckpt builder for database %u", database);
  strlcpy(worker.bgw_type, "vecckpt builder", sizeof(worker.bgw_type));
  worker.bgw_main_arg = Int32GetDatum(slot);
  memcpy(worker.bgw_extra, &database, sizeof(database));
  if (RegisterDynamicBackgroundWorker(&worker, nullptr)) return true;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  memset(&shared->builders[slot], 0, sizeof(BuilderSlot));
  LWLockRelease(shared->lock);
  static bool told = false;
  if (!told)
    ereport(LOG, (errmsg("vecckpt: no background worker slot is free for a builder"),
                  errhint("Increase max_worker_processes.")));
  told = true;
  return false;
}

bool HasEntries(Oid database) {
  IndexKey* keys;
  int count = ListEntries(database, &keys);
  pfree(keys);
  return count > 0;
}

// Replay leaves no hints in shared memory: where it has moved on, every database is visited again. Once more
// after a promotion.
void FollowReplay(Moment now) {
  bool recovering = RecoveryInProgress();
  if (!recovering && !state.recovering) return;
  if (recovering && now < state.next_replay) return;
  XLogRecPtr replayed = GetXLogReplayRecPtr(nullptr);
  bool owed = state.visits_owed && now >= state.next_replay_vacuum;
  if (recovering && replayed == state.replayed && !owed) return;
  state.recovering = recovering;
  state.replayed = replayed;
  state.next_replay = now + std::chrono::seconds{kReplaySeconds};
  // Databases without an index so far are looked at less often.
  bool all = !recovering || now >= state.next_replay_vacuum;
  for (int i = 0; i < state.list.count; i++)
    if (all || HasEntries(state.list.databases[i].oid)) state.list.databases[i].visited = false;
  state.visits_owed = !all;
  if (!all) return;
  state.next_replay_vacuum = now + std::chrono::seconds{kReplayVacuumSeconds};
  LWLockAcquire(shared->lock, LW_SHARED);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_indexes);
  while (auto* entry = static_cast<IndexEntry*>(hash_seq_search(&scan))) {
    pg_atomic_write_u32(&entry->has_tail, 1);
    pg_atomic_write_u32(&entry->vacuumed, 1);
  }
  LWLockRelease(shared->lock);
}

// Whoever waits for an index of a database that `refused` picks is told that nobody will work on it.
template <typename Refused>
void RefuseRequests(const char* reason, Refused refused) {
  bool told = false;
  LWLockAcquire(shared->lock, LW_SHARED);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_indexes);
  while (auto* entry = static_cast<IndexEntry*>(hash_seq_search(&scan))) {
    if (!refused(entry->key.database)) continue;
    SpinLockAcquire(&entry->mutex);
    if (entry->f.seal_request > entry->f.seal_done) {
      entry->f.seal_done = entry->f.request_done = entry->f.seal_request;
      entry->f.outcome = RequestOutcome::kFailed;
      NoteFailure(&entry->f, FailedIn::kRequest, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, reason, {});
      told = true;
    }
    SpinLockRelease(&entry->mutex);
  }
  LWLockRelease(shared->lock);
  if (told) ConditionVariableBroadcast(&shared->changed);
}

// All slots are taken and a database waits: the builder that has worked longest makes room.
void MakeRoom(Moment now) {
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  BuilderSlot* oldest = nullptr;
  bool leaving = false;
  for (BuilderSlot& slot : shared->builders) {
    leaving = leaving || slot.leave || !OidIsValid(slot.database);
    if (oldest == nullptr || slot.started < oldest->started) oldest = &slot;
  }
  if (!leaving && now > oldest->started + std::chrono::seconds{kTurnSeconds}) {
    oldest->leave = true;
    if (oldest->latch != nullptr) SetLatch(oldest->latch);
  }
  LWLockRelease(shared->lock);
}

bool HasBuilder(Oid database) {
  bool found = false;
  LWLockAcquire(shared->lock, LW_SHARED);
  for (const BuilderSlot& slot : shared->builders) found = found || slot.database == database;
  LWLockRelease(shared->lock);
  return found;
}

// What the builders that ended since the last round say about starting the next ones.
void NoteEnds(Moment now) {
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  for (BuilderSlot& slot : shared->builders) {
    KnownDatabase* database = FindDatabase(state.list, slot.ended);
    slot.ended = InvalidOid;
    if (database == nullptr) continue;
    database->failures = slot.failed ? Min(database->failures + 1, kMaxBackoffShift) : 0;
    if (slot.failed) database->next_start = now + std::chrono::seconds{int64{1} << database->failures};
  }
  LWLockRelease(shared->lock);
}

// A database that refuses connections would end each builder at its start. It keeps its entries and files,
// and is served again as soon as it is open: a log that has changed meanwhile is told by its work.
void Refuse(KnownDatabase* database) {
  database->connectable = false;
  if (database->wanted && !database->told)
    ereport(LOG, (errmsg("vecckpt: database %u does not accept connections, no builder is started for it",
                         database->oid)));
  database->told = database->told || database->wanted;
}

// False: no more builders can be started in this round.
bool Serve(KnownDatabase* database, Moment now) {
  if ((database->visited || !database->connectable) && !database->wanted) return true;
  if (now < database->next_start && !(database->requested && database->failures > 0)) return true;
  int slot;
  if (!MayStart(database->oid, now, &slot)) {
    if (slot < 0 && !HasBuilder(database->oid)) MakeRoom(now);
    return true;
  }
  switch (ReachOf(database->oid)) {
    case Reach::kGone:
      ForgetDatabase(database->oid);
      database->visited = true;
      return true;
    case Reach::kRefuses:
      Refuse(database);
      return true;
    case Reach::kOpen:
      break;
  }
  database->connectable = true;
  database->told = false;
  if (!StartBuilder(database->oid, now, slot)) {
    RefuseRequests("no background worker slot is free for a builder, see max_worker_processes",
                   [database](Oid oid) { return oid == database->oid; });
    return false;
  }
  database->visited = true;
  database->next_start = now + std::chrono::seconds{kRestartSeconds};
  return true;
}

void StartBuilders(Moment now) {
  if (!FolderIsOurs())
    return RefuseRequests("the folder of its segments is in use by another server", [](Oid) { return true; });
  if (!builder_enabled)
    return RefuseRequests("builders are turned off by vecckpt.builder", [](Oid) { return true; });
  NoteEnds(now);
  bool unlisted = FindWork(&state.list, now);
  bool relist = now >= state.next_list || (unlisted && now >= state.next_relist);
  if (relist) {
    ListDatabases(&state.list);
    state.next_relist = now + std::chrono::seconds{kRelistSeconds};
    state.next_list = now + std::chrono::seconds{kDatabaseListSeconds};
    FindWork(&state.list, now);
  }
  for (int i = 0; i < state.list.count; i++)
    if (!Serve(&state.list.databases[i], now)) break;
  // What a list just made lacks is gone; else it may be new.
  RefuseRequests("its database does not accept connections", [relist](Oid oid) {
    const KnownDatabase* database = FindDatabase(state.list, oid);
    return database == nullptr ? relist : !database->connectable;
  });
}

void Round() {
  VECCKPT_FAULT_POINT_RAISE(LauncherRound);
  Moment now = Now();
  DoCheckpoints(now);
  FollowReplay(now);
  StartBuilders(now);
  if (now >= state.next_ask) {
    AskHolders();
    state.next_ask = now + std::chrono::seconds{kAskSeconds};
  }
  if (now >= state.next_sweep) {
    SweepFiles();
    state.next_sweep = now + std::chrono::seconds{kSweepSeconds};
  }
}

// One round whose errors end it only.
void GuardedRound(MemoryContext context, void (*round)()) {
  MemoryContextSwitchTo(context);
  PG_TRY();
  { round(); }
  PG_CATCH();
  { RecoverFromError(context); }
  PG_END_TRY();
  MemoryContextSwitchTo(context);
  MemoryContextReset(context);
}

void PersistAll() {
  PersistWhere(Changed);
}

}  // namespace

void RegisterLauncher() {
  BackgroundWorker worker = {};
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_ConsistentState;
  worker.bgw_restart_time = 5;
  strlcpy(worker.bgw_library_name, "vecckpt", sizeof(worker.bgw_library_name));
  strlcpy(worker.bgw_function_name, "vecckpt_launcher_main", sizeof(worker.bgw_function_name));
  strlcpy(worker.bgw_name, "vecckpt launcher", sizeof(worker.bgw_name));
  strlcpy(worker.bgw_type, "vecckpt launcher", sizeof(worker.bgw_type));
  RegisterBackgroundWorker(&worker);
}

void AskBuilderToLeave(Oid database) {
  Moment now = Now();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  Suspension* place = &shared->suspended[0];  // taken over if none is free
  for (Suspension& suspension : shared->suspended)
    if (suspension.until <= now || suspension.database == database) place = &suspension;
  *place = {database, now + std::chrono::seconds{kSuspensionSeconds}};
  LWLockRelease(shared->lock);

  Moment deadline = now + std::chrono::seconds{kLeaveSeconds};
  ConditionVariablePrepareToSleep(&shared->changed);
  for (;;) {
    bool running = false;
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    for (BuilderSlot& slot : shared->builders) {
      if (slot.database != database) continue;
      running = true;
      slot.leave = true;
      if (slot.latch != nullptr) SetLatch(slot.latch);
    }
    LWLockRelease(shared->lock);
    if (!running || Now() >= deadline) break;
    ConditionVariableTimedSleep(&shared->changed, 100, WaitEventOf(Wait::kBuilderExit));
  }
  ConditionVariableCancelSleep();
}

void LetBuilderReturn(Oid database) {
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  for (Suspension& suspension : shared->suspended)
    if (suspension.database == database) suspension = {InvalidOid, {}};
  LWLockRelease(shared->lock);
  WakeLauncher();
}

void PersistAllAndWait() {
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  uint64 request = ++shared->persist_request;
  LWLockRelease(shared->lock);
  WakeLauncher();
  ConditionVariablePrepareToSleep(&shared->changed);
  for (;;) {
    LWLockAcquire(shared->lock, LW_SHARED);
    bool over = shared->persist_done >= request || shared->launcher_pid == 0;
    LWLockRelease(shared->lock);
    if (over) break;
    ConditionVariableTimedSleep(&shared->changed, 1000, WaitEventOf(Wait::kCheckpoint));
  }
  ConditionVariableCancelSleep();
}

}  // namespace vecckpt

void vecckpt_launcher_main(Datum argument) {
  using namespace vecckpt;
  (void)argument;
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
  BackgroundWorkerUnblockSignals();
  BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
  IgnoreSessionSettings();
  before_shmem_exit(LauncherExit, 0);
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  shared->launcher_pid = MyProcPid;
  shared->launcher_latch = MyLatch;
  LWLockRelease(shared->lock);

  Moment now = Now();
  state.redo = GetRedoRecPtr();
  state.next_periodic = now + std::chrono::seconds{checkpoint_timeout};
  MemoryContext context = AllocSetContextCreate(TopMemoryContext, "vecckpt launcher", ALLOCSET_DEFAULT_SIZES);
  int configured_timeout = checkpoint_timeout;
  while (!ShutdownRequestPending) {
    GuardedRound(context, Round);
    int events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kNapMilliseconds,
                           WaitEventOf(Wait::kLauncher));
    if (events & WL_LATCH_SET) ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
    if (ConfigReloadPending) {
      ConfigReloadPending = false;
      ProcessConfigFile(PGC_SIGHUP);
      if (checkpoint_timeout != configured_timeout) {
        configured_timeout = checkpoint_timeout;
        state.next_periodic = Now() + std::chrono::seconds{checkpoint_timeout};
      }
    }
  }
  // What is published is made durable, so that a clean restart builds nothing again.
  GuardedRound(context, PersistAll);
  proc_exit(1);  // 0 would mean: never start it again
}
