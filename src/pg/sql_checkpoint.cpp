// vec_checkpoint(): asks for every tail to be sealed and made durable, and waits until the launcher has
// answered for each index.

#include "pg/pg.hpp"

#include "pg/catalog.hpp"
#include "pg/folder_owner.hpp"
#include "pg/options.hpp"
#include "pg/shared_state.hpp"
#include "pg/wall.hpp"
#include "pg/wait_events.hpp"

extern "C" {
#include "utils/inval.h"
}

namespace vecckpt {
namespace {

constexpr long kLookMilliseconds = 1000;  // between looks at whether the launcher lives

void RequireLauncher() {
  if (shared == nullptr)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("vecckpt must be preloaded to checkpoint vhnsw indexes"),
                    errhint("Add vecckpt to shared_preload_libraries and restart the server.")));
  if (!FolderIsOurs())
    ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
                    errmsg("the folder of segments is in use by another server"), FolderHint()));
  if (!builder_enabled)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("builders are turned off"),
                    errhint("Set vecckpt.builder to on and reload.")));
  LWLockAcquire(shared->lock, LW_SHARED);
  bool alive = shared->launcher_pid != 0;
  LWLockRelease(shared->lock);
  if (!alive)
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("the vecckpt launcher is not running"),
             errhint("It is restarted within seconds; see the server log if it is not.")));
}

uint64 DrawRequest() {
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  uint64 request = ++shared->next_request;
  LWLockRelease(shared->lock);
  return request;
}

void SendRequest(const IndexKey& key, uint64 request) {
  ChangeEntry(key, [request](IndexFields& f) {
    if (f.seal_request < request) f.seal_request = request;
    f.retry_at = {};
  });
  WakeBuilder(key.database);
}

// Waits until the index's request is answered. False if the index has gone.
bool WaitForAnswer(const IndexKey& key, uint64 request, IndexFields* fields) {
  bool there;
  ConditionVariablePrepareToSleep(&shared->changed);
  for (;;) {
    there = SnapshotEntry(key, fields);
    if (!there || fields->request_done >= request) break;
    LWLockAcquire(shared->lock, LW_SHARED);
    bool alive = shared->launcher_pid != 0;
    LWLockRelease(shared->lock);
    if (!alive) {
      ConditionVariableCancelSleep();
      RequireLauncher();
    }
    WakeBuilder(key.database);
    ConditionVariableTimedSleep(&shared->changed, kLookMilliseconds, WaitEventOf(Wait::kCheckpoint));
  }
  ConditionVariableCancelSleep();
  return there;
}

// Of this database where it has a name here.
const char* NameOf(const IndexKey& key, const IndexFields& fields) {
  char* name = key.database == MyDatabaseId ? get_rel_name(fields.index_oid) : nullptr;
  return name != nullptr ? quote_identifier(name)
                         : psprintf("%u/%u/%u", key.database, key.tablespace, key.relation);
}

// Gives an index an entry if nobody has met it yet: of a copied database, say, or on a new standby. Its
// identity is the builder's to read, who says what is wrong with the log, if anything is. An index that is
// being built is the backend's that builds it.
void Meet(Relation index) {
  IndexKey key = KeyOf(index);
  IndexFields fields;
  char persistence = index->rd_rel->relpersistence;
  bool unreadable = persistence == RELPERSISTENCE_UNLOGGED && RecoveryInProgress();
  if (SnapshotEntry(key, &fields) || !index->rd_index->indisready || unreadable) return;
  EnsureEntry(key, 0, RelationGetRelid(index), persistence);
}

// The index that vec_checkpoint was asked for, under AccessShareLock. One that somebody holds exclusively is
// reported, not waited for; so is one of our own transaction.
Relation OpenForCheckpoint(Oid oid) {
  for (;;) {
    RequireVhnswIndex(oid, "Checkpoint the indexes of its partitions.");
    if (!ConditionalLockRelationOid(oid, AccessShareLock))
      ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
                      errmsg("could not obtain lock on index \"%s\"", get_rel_name(oid))));
    Relation index = try_relation_open(oid, NoLock);
    if (index == nullptr) RaiseGone(oid);
    Oid successor = SuccessorOf(index);
    if (!OidIsValid(successor)) return index;
    relation_close(index, AccessShareLock);
    oid = successor;
  }
}

void RequireCheckpointable(Relation index) {
  const char* name = RelationGetRelationName(index);
  if (index->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("cannot checkpoint index \"%s\" on a temporary table", name),
                    errdetail("Its segments belong to a session and end with it.")));
  RequireContents(index);
  IndexFields fields;
  // While its graph is being built, whoever builds it has a claim.
  if (!index->rd_index->indisready && !(SnapshotEntry(KeyOf(index), &fields) && fields.claim != 0))
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("index \"%s\" is not valid", name), errhint("Please REINDEX or drop it.")));
}

// Asks for a checkpoint of an index and waits for the answer. Where another file has taken the place of its
// file meanwhile, or another index that of the index, asks for that.
void AskUntilAnswered(Oid oid, char** name, IndexFields* fields) {
  IndexKey asked = {};
  for (;;) {
    Relation index = OpenForCheckpoint(oid);
    RequireCheckpointable(index);
    IndexKey key = KeyOf(index);
    Oid name_space = RelationGetNamespace(index);
    *name = pstrdup(RelationGetRelationName(index));
    if (key == asked)
      ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("index \"%s\" has no place in shared memory or was dropped", *name),
                      errhint("Increase vecckpt.max_indexes if there are more indexes than that.")));
    Meet(index);
    oid = RelationGetRelid(index);
    relation_close(index, AccessShareLock);
    asked = key;
    uint64 request = DrawRequest();
    SendRequest(key, request);
    if (WaitForAnswer(key, request, fields) && fields->outcome != RequestOutcome::kGone) return;
    AcceptInvalidationMessages();
    Oid now = get_relname_relid(*name, name_space);
    if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(oid)) && OidIsValid(now)) oid = now;
  }
}

}  // namespace
}  // namespace vecckpt

extern "C" {

PG_FUNCTION_INFO_V1(vec_checkpoint_all);
PGDLLEXPORT Datum vec_checkpoint_all(PG_FUNCTION_ARGS) {
  using namespace vecckpt;
  (void)fcinfo;
  RequireLauncher();
  // One that somebody holds exclusively is his to make known.
  ForEachIndex(Meet);
  uint64 request = DrawRequest();
  IndexKey* keys;
  int count = ListEntries(InvalidOid, &keys);
  for (int i = 0; i < count; i++) SendRequest(keys[i], request);
  int64 durable = 0;
  for (int i = 0; i < count; i++) {
    IndexFields fields;
    if (!WaitForAnswer(keys[i], request, &fields)) continue;
    switch (fields.outcome) {
      case RequestOutcome::kDone:
        durable++;
        break;
      case RequestOutcome::kLocked:
        ereport(WARNING, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
                          errmsg("index %s is locked and was not checkpointed", NameOf(keys[i], fields))));
        break;
      case RequestOutcome::kDeferred:
        ereport(WARNING, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                          errmsg("index %s was not checkpointed, its segments are ahead of replay",
                                 NameOf(keys[i], fields))));
        break;
      case RequestOutcome::kGone:
        break;  // dropped meanwhile
      case RequestOutcome::kFailed:
        ereport(WARNING, (errcode(fields.last_sqlstate),
                          errmsg("index %s could not be checkpointed: %s", NameOf(keys[i], fields),
                                 ShowKept(fields.last_error)),
                          HintFor(fields.last_sqlstate)));
        break;
    }
  }
  PG_RETURN_INT64(durable);
}

PG_FUNCTION_INFO_V1(vec_checkpoint_one);
PGDLLEXPORT Datum vec_checkpoint_one(PG_FUNCTION_ARGS) {
  using namespace vecckpt;
  RequireLauncher();
  char* name;
  IndexFields fields;
  AskUntilAnswered(PG_GETARG_OID(0), &name, &fields);
  if (fields.outcome == RequestOutcome::kLocked)
    ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
                    errmsg("could not checkpoint index \"%s\", it is locked", name)));
  if (fields.outcome == RequestOutcome::kDeferred)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("could not checkpoint index \"%s\", its segments are ahead of replay", name),
                    errdetail("They are compared with the log once the server has replayed that far.")));
  if (fields.outcome == RequestOutcome::kFailed)
    ereport(ERROR, (errcode(fields.last_sqlstate),
                    errmsg("could not checkpoint index \"%s\": %s", name, ShowKept(fields.last_error)),
                    HintFor(fields.last_sqlstate)));
  PG_RETURN_VOID();
}
}
