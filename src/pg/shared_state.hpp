// Shared memory: one entry an index, the launcher, the builders. (Who writes files: writers.hpp.)
//
// Locks:
//   the one LWLock ("vecckpt")    membership of the hash, launcher, builder slots, suspensions, writers
//   IndexEntry::mutex (spinlock)  the fields of an entry marked [m]; assignments only under it
//   atomics                       counters and hints, advisory
// Order: LWLock before mutex. Neither is held across a wait, file I/O or an allocation.
//
// Entries are looked up by key each time; a pointer is used only under the LWLock (shared is enough).

#pragma once

#include "pg/kept_text.hpp"

#include "base/clock.hpp"
#include "segment/names.hpp"

namespace vecckpt {

constexpr int kMaxBuilders = 4;
constexpr int kMaxShownJobs = 3;  // of a builder: as many as its threads run at a time
constexpr int kMaxSuspensions = 16;
constexpr int kKeyBuckets = 64;

enum class RequestOutcome : uint8 { kDone, kFailed, kLocked, kGone, kDeferred };

// What the last error belongs to: when the same goes well, the error is history. kRequest: nobody was there
// to work on a request.
enum class FailedIn : uint8 { kNothing, kVisit, kJob, kLiveness, kCheckpoint, kRequest };

// Of one index since stats_reset. A search adds to them once, when it ends. In the order of vec_stat's
// columns.
struct IndexCounters {
  pg_atomic_uint64 searches, segments_searched, distances, reranked, tail_scanned, emitted, late;
  pg_atomic_uint64 went_on_exactly, cut_short;
  pg_atomic_uint64 seals, merges, graph_builds, graph_insertions, set_aside;
};

// What a generation is, taken as a whole. manifest_id 0: no segments.
struct Generation {
  uint64 number;
  uint64 manifest_id;
};

struct IndexFields {
  uint64 identity;  // of the log that the generation describes
  Oid index_oid;
  uint64 database_birth;  // see EnsureEntry; 0: nobody has looked since the start
  char persistence;       // 'p' or 'u'
  bool validated;         // generation compared with the log, small sections checked
  bool verified;          // every section of its segments checked
  Generation current;
  Generation durable;
  TimestampTz durable_time;
  XLogRecPtr durable_lsn;
  pid_t claim;          // the process that builds, 0: none
  uint64 seal_request;  // number of the latest vec_checkpoint that wants everything sealed and durable
  uint64 seal_done;     // up to here everything is sealed; what remains is to make it durable
  uint64 request_done;  // up to here answered
  RequestOutcome outcome;
  bool seal_idle;       // a periodic checkpoint wants the tail sealed
  bool tail_left;       // the builder left a tail too short to seal
  bool persist_wanted;  // a checkpoint is due
  uint32 failures;      // in a row
  FailedIn failed_in;   // these, retry_at and the last error belong together
  Moment retry_at;
  TimestampTz stats_reset;  // the counters count from here
  char state[32];           // what the builder does; ASCII
  int last_sqlstate;
  KeptText last_error;
};

struct IndexEntry {
  IndexKey key;  // hash key
  slock_t mutex;
  IndexFields f;              // [m]
  pg_atomic_uint32 has_tail;  // an insert was seen since the builder last found no tail
  pg_atomic_uint32 vacuumed;  // dead entries were flagged since the builder last counted
  IndexCounters counters;
};

// A job that one of a builder's threads runs, as its main thread last saw it. The names are those of
// RunningJob and JobPhase, in ASCII.
struct ShownJob {
  Oid index_oid;
  char job[16];  // "": none
  char phase[24];
  char unit[8];  // "": the phase counts nothing
  uint64 done;   // at most total
  uint64 total;
  TimestampTz started;
  TimestampTz phase_started;
  TimestampTz seen;
};

struct BuilderSlot {
  Oid database;  // InvalidOid: free
  pid_t pid;     // 0: starting
  Latch* latch;
  Moment started;
  bool leave;
  Oid ended;    // slot free: whose builder has ended here since the launcher looked
  bool failed;  // that one, by an error
  ShownJob jobs[kMaxShownJobs];
};

struct Suspension {
  Oid database;
  Moment until;
};

struct SharedState {
  LWLock* lock;
  ConditionVariable changed;  // requests answered, builders gone, checkpoints done
  pid_t launcher_pid;
  Latch* launcher_latch;
  uint64 next_request;     // numbers for seal requests
  uint64 persist_request;  // number of the latest CHECKPOINT that waits
  uint64 persist_done;
  pg_atomic_uint64 published;  // how often a generation was replaced or an entry went, for caches to notice
  pg_atomic_uint64 replaced[kKeyBuckets];  // `published` after the last one of a key in the bucket
  int64 loaded_segments;                   // by the reload at start
  bool folder_taken;                       // by another server, see folder_owner; once set it stays
  XLogRecPtr wal_at_start;  // how far WAL reached when first asked after the start; see validation.cpp
  BuilderSlot builders[kMaxBuilders];
  Suspension suspended[kMaxSuspensions];
};

// Null where the library is not preloaded.
extern SharedState* shared;
extern HTAB* shared_indexes;

void RequestSharedMemory();
// True if the memory is new.
bool AttachSharedMemory();

// Lookup and creation. The caller holds shared->lock, exclusively to create. Null: none, or no room.
IndexEntry* FindEntry(const IndexKey& key);
IndexEntry* CreateEntry(const IndexKey& key);

inline int BucketOf(const IndexKey& key) {
  return static_cast<int>((key.database ^ key.relation) % kKeyBuckets);
}

// A copy of an entry's fields; false if there is no such entry. Takes and releases the locks.
bool SnapshotEntry(const IndexKey& key, IndexFields* fields);
// Makes sure that there is an entry for this identity; an entry of another identity starts anew, and so does
// one of a database that had this database's OID before. False: no room.
bool EnsureEntry(const IndexKey& key, uint64 identity, Oid index_oid, char persistence);

// Runs `change` on an entry's fields under its mutex; assignments only. False if there is no such entry.
template <typename Change>
bool ChangeEntry(const IndexKey& key, Change change) {
  bool found = false;
  LWLockAcquire(shared->lock, LW_SHARED);
  if (IndexEntry* entry = FindEntry(key)) {
    SpinLockAcquire(&entry->mutex);
    change(entry->f);
    SpinLockRelease(&entry->mutex);
    found = true;
  }
  LWLockRelease(shared->lock);
  return found;
}

// For use in ChangeEntry. Notes an error; but for kRequest, the index is left alone for a while, longer with
// every failure.
void NoteFailure(IndexFields* f, FailedIn where, int sqlstate, const char* message, Moment now);
// That kind of work went well.
void ForgetFailure(IndexFields* f, FailedIn where);

// Makes `next` the current generation if identity and generation are still `identity` and `base`.
bool BumpGeneration(const IndexKey& key, uint64 identity, const Generation& base, const Generation& next,
                    bool validated, bool verified);

// Keys of all entries (of one database, if given), palloc'd.
int ListEntries(Oid database, IndexKey** keys);

// Removes an entry that nobody claims; its files are the sweep's then.
void ForgetEntry(const IndexKey& key);
// Removes the entries of a database that has been dropped.
void ForgetDatabase(Oid database);

// Notes that a builder should look at the index, tail or not.
void MarkWork(const IndexKey& key);
// Notes that a builder should count dead entries, and let searches know. False if there is no such entry.
bool MarkVacuumed(const IndexKey& key);

// Adds to a counter of an index, if it has an entry.
void AddCounter(const IndexKey& key, pg_atomic_uint64 IndexCounters::*counter, uint64 value);
// Sets all counters of an index to zero, if it has an entry. What is added meanwhile may be lost.
void ResetCounters(const IndexKey& key);

void WakeLauncher();
// Wakes the database's builder, or the launcher so that it starts one.
void WakeBuilder(Oid database);

}  // namespace vecckpt
