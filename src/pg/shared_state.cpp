// See shared_state.hpp.

#include "pg/shared_state.hpp"

#include "pg/mapping_holders.hpp"
#include "pg/options.hpp"
#include "pg/writers.hpp"

#include <sys/stat.h>

namespace vecckpt {

SharedState* shared = nullptr;
HTAB* shared_indexes = nullptr;

namespace {
constexpr char kTranche[] = "vecckpt";
constexpr uint32 kMaxBackoffShift = 8;

// Called after the change, so that whoever sees the number sees the change.
void NoteReplaced(const IndexKey& key) {
  uint64 number = pg_atomic_fetch_add_u64(&shared->published, 1) + 1;
  pg_atomic_uint64* replaced = &shared->replaced[BucketOf(key)];
  uint64 before = pg_atomic_read_u64(replaced);
  while (before < number && !pg_atomic_compare_exchange_u64(replaced, &before, number)) {
  }
}

template <typename Change>
void ForEachCounter(IndexCounters* counters, Change change) {
  auto* first = reinterpret_cast<pg_atomic_uint64*>(counters);
  for (size_t i = 0; i < sizeof(IndexCounters) / sizeof(pg_atomic_uint64); i++) change(&first[i]);
}

// When this process's database was made, from the file that comes first in its folder; 0 if that is unknown.
// A standby replays DROP DATABASE and CREATE DATABASE ... OID without a word. The log of a copied database
// has its template's identity, so nothing else tells an entry of the one that is gone from one of the new
// one.
uint64 DatabaseBirth() {
  static uint64 birth = 0;  // a database in use is not dropped
  if (birth != 0 || DatabasePath == nullptr) return birth;
  char path[MAXPGPATH];
  struct stat file;
  snprintf(path, sizeof(path), "%s/PG_VERSION", DatabasePath);
  if (stat(path, &file) == 0)
    birth = uint64{1000000000} * static_cast<uint64>(file.st_mtim.tv_sec) +
            static_cast<uint64>(file.st_mtim.tv_nsec);
  return birth;
}
}  // namespace

void RequestSharedMemory() {
  RequestAddinShmemSpace(MAXALIGN(sizeof(SharedState)) + hash_estimate_size(max_indexes, sizeof(IndexEntry)));
  RequestAddinShmemSpace(add_size(WritersSize(), HoldersSize()));
  RequestNamedLWLockTranche(kTranche, 1);
}

bool AttachSharedMemory() {
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  bool found;
  shared = static_cast<SharedState*>(ShmemInitStruct("vecckpt state", sizeof(SharedState), &found));
  if (!found) {
    memset(shared, 0, sizeof(SharedState));
    shared->lock = &GetNamedLWLockTranche(kTranche)->lock;
    ConditionVariableInit(&shared->changed);
    pg_atomic_init_u64(&shared->published, 0);
    for (pg_atomic_uint64& replaced : shared->replaced) pg_atomic_init_u64(&replaced, 0);
  }
  HASHCTL info = {};
  info.keysize = sizeof(IndexKey);
  info.entrysize = sizeof(IndexEntry);
  shared_indexes = ShmemInitHash("vecckpt indexes", max_indexes, max_indexes, &info, HASH_ELEM | HASH_BLOBS);
  AttachWriters();
  AttachHolders();
  LWLockRelease(AddinShmemInitLock);
  return !found;
}

IndexEntry* FindEntry(const IndexKey& key) {
  return static_cast<IndexEntry*>(hash_search(shared_indexes, &key, HASH_FIND, nullptr));
}

IndexEntry* CreateEntry(const IndexKey& key) {
  bool found;
  // The hash would grow beyond its size while shared memory lasts.
  if (hash_get_num_entries(shared_indexes) >= max_indexes) return FindEntry(key);
  auto* entry = static_cast<IndexEntry*>(hash_search(shared_indexes, &key, HASH_ENTER_NULL, &found));
  if (entry == nullptr || found) return entry;
  memset(&entry->f, 0, sizeof(entry->f));
  entry->f.validated = true;  // that it has no segments
  entry->f.verified = true;
  SpinLockInit(&entry->mutex);
  pg_atomic_init_u32(&entry->has_tail, 1);
  pg_atomic_init_u32(&entry->vacuumed, 1);
  entry->f.stats_reset = GetCurrentTimestamp();
  ForEachCounter(&entry->counters, [](pg_atomic_uint64* counter) { pg_atomic_init_u64(counter, 0); });
  return entry;
}

bool SnapshotEntry(const IndexKey& key, IndexFields* fields) {
  return ChangeEntry(key, [fields](IndexFields& f) { *fields = f; });
}

bool EnsureEntry(const IndexKey& key, uint64 identity, Oid index_oid, char persistence) {
  IndexFields fields;
  uint64 birth = DatabaseBirth();
  if (SnapshotEntry(key, &fields) && fields.identity == identity && fields.index_oid == index_oid &&
      fields.database_birth == birth)
    return true;
  bool changed = false;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  IndexEntry* entry = CreateEntry(key);
  if (entry != nullptr) {
    SpinLockAcquire(&entry->mutex);
    bool other_database = entry->f.database_birth != 0 && entry->f.database_birth != birth;
    if (entry->f.identity != identity || other_database) {
      // Generations go on counting, so that nobody takes an old one for a new one.
      changed = true;
      entry->f.identity = identity;
      entry->f.current = {entry->f.current.number + 1, 0};
      entry->f.validated = true;
      entry->f.verified = true;
      ForgetFailure(&entry->f, entry->f.failed_in);
    }
    entry->f.index_oid = index_oid;
    entry->f.database_birth = birth;
    entry->f.persistence = persistence;
    SpinLockRelease(&entry->mutex);
    if (changed) NoteReplaced(key);
    pg_atomic_write_u32(&entry->has_tail, 1);
  }
  LWLockRelease(shared->lock);
  return entry != nullptr;
}

void NoteFailure(IndexFields* f, FailedIn where, int sqlstate, const char* message, Moment now) {
  f->failed_in = where;
  f->last_sqlstate = sqlstate;
  f->last_error.Set(message);
  if (where == FailedIn::kRequest) return;
  f->failures = Min(f->failures + 1, kMaxBackoffShift);
  f->retry_at = now + std::chrono::seconds{int64{1} << f->failures};
}

void ForgetFailure(IndexFields* f, FailedIn where) {
  if (f->failed_in != where) return;
  f->failed_in = FailedIn::kNothing;
  f->failures = 0;
  f->retry_at = {};
  f->last_error.Clear();
}

bool BumpGeneration(const IndexKey& key, uint64 identity, const Generation& base, const Generation& next,
                    bool validated, bool verified) {
  bool bumped = false;
  ChangeEntry(key, [&](IndexFields& f) {
    if (f.identity != identity || f.current.number != base.number ||
        f.current.manifest_id != base.manifest_id)
      return;
    f.current = next;
    f.validated = validated;
    f.verified = verified;
    bumped = true;
  });
  if (bumped) NoteReplaced(key);
  return bumped;
}

int ListEntries(Oid database, IndexKey** keys) {
  // Entries only come and go one by one: room for some more than there are now, and a check while copying.
  int room = static_cast<int>(hash_get_num_entries(shared_indexes)) + 16;
  *keys = static_cast<IndexKey*>(palloc(sizeof(IndexKey) * room));
  int count = 0;
  LWLockAcquire(shared->lock, LW_SHARED);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_indexes);
  while (auto* entry = static_cast<IndexEntry*>(hash_seq_search(&scan))) {
    if (OidIsValid(database) && entry->key.database != database) continue;
    if (count == room) {
      hash_seq_term(&scan);
      break;
    }
    (*keys)[count++] = entry->key;
  }
  LWLockRelease(shared->lock);
  return count;
}

void ForgetEntry(const IndexKey& key) {
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  IndexEntry* entry = FindEntry(key);
  if (entry != nullptr && entry->f.claim == 0) {
    hash_search(shared_indexes, &key, HASH_REMOVE, nullptr);
    NoteReplaced(key);
  }
  LWLockRelease(shared->lock);
}

void ForgetDatabase(Oid database) {
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_indexes);
  while (auto* entry = static_cast<IndexEntry*>(hash_seq_search(&scan))) {
    if (entry->key.database != database) continue;
    IndexKey key = entry->key;
    hash_search(shared_indexes, &key, HASH_REMOVE, nullptr);
    NoteReplaced(key);
  }
  LWLockRelease(shared->lock);
}

void MarkWork(const IndexKey& key) {
  LWLockAcquire(shared->lock, LW_SHARED);
  if (IndexEntry* entry = FindEntry(key)) pg_atomic_write_u32(&entry->has_tail, 1);
  LWLockRelease(shared->lock);
}

bool MarkVacuumed(const IndexKey& key) {
  LWLockAcquire(shared->lock, LW_SHARED);
  IndexEntry* entry = FindEntry(key);
  if (entry != nullptr) pg_atomic_write_u32(&entry->vacuumed, 1);
  LWLockRelease(shared->lock);
  return entry != nullptr;
}

void AddCounter(const IndexKey& key, pg_atomic_uint64 IndexCounters::*counter, uint64 value) {
  if (shared == nullptr || value == 0) return;
  LWLockAcquire(shared->lock, LW_SHARED);
  if (IndexEntry* entry = FindEntry(key))
    pg_atomic_fetch_add_u64(&(entry->counters.*counter), static_cast<int64>(value));
  LWLockRelease(shared->lock);
}

void ResetCounters(const IndexKey& key) {
  TimestampTz now = GetCurrentTimestamp();
  LWLockAcquire(shared->lock, LW_SHARED);
  if (IndexEntry* entry = FindEntry(key)) {
    ForEachCounter(&entry->counters, [](pg_atomic_uint64* counter) { pg_atomic_write_u64(counter, 0); });
    SpinLockAcquire(&entry->mutex);
    entry->f.stats_reset = now;
    SpinLockRelease(&entry->mutex);
  }
  LWLockRelease(shared->lock);
}

void WakeLauncher() {
  LWLockAcquire(shared->lock, LW_SHARED);
  if (shared->launcher_latch != nullptr) SetLatch(shared->launcher_latch);
  LWLockRelease(shared->lock);
}

void WakeBuilder(Oid database) {
  bool found = false;
  LWLockAcquire(shared->lock, LW_SHARED);
  for (BuilderSlot& slot : shared->builders) {
    if (slot.database != database) continue;
    found = true;
    if (slot.latch != nullptr) SetLatch(slot.latch);
  }
  if (!found && shared->launcher_latch != nullptr) SetLatch(shared->launcher_latch);
  LWLockRelease(shared->lock);
}

}  // namespace vecckpt
