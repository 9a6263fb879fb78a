// See database_list.hpp.

#include "pg/database_list.hpp"

#include "pg/builder.hpp"
#include "pg/shared_state.hpp"

extern "C" {
#include "access/heapam.h"
#include "catalog/pg_database.h"
}

namespace vecckpt {
namespace {

// datconnlimit of what an interrupted DROP DATABASE leaves. No other limit keeps a background worker out.
constexpr int32 kInvalidDatabase = -2;

bool AcceptsConnections(const FormData_pg_database* form) {
  return form->datallowconn && form->datconnlimit != kInvalidDatabase;
}

int CompareDatabases(const void* left, const void* right) {
  Oid a = static_cast<const KnownDatabase*>(left)->oid;
  Oid b = static_cast<const KnownDatabase*>(right)->oid;
  return a < b ? -1 : a > b ? 1 : 0;
}

}  // namespace

void ListDatabases(DatabaseList* list) {
  // Collected in the caller's context, which an error leaves to be reset.
  int room = list->count + 16;
  auto* found = static_cast<KnownDatabase*>(palloc(sizeof(KnownDatabase) * room));
  int count = 0;
  StartTransactionCommand();
  Relation databases = table_open(DatabaseRelationId, AccessShareLock);
  TableScanDesc scan = table_beginscan_catalog(databases, 0, nullptr);
  while (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection)) {
    auto* form = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
    if (count == room) {
      room *= 2;
      found = static_cast<KnownDatabase*>(repalloc_huge(found, sizeof(KnownDatabase) * room));
    }
    KnownDatabase database = {};
    if (const KnownDatabase* known = FindDatabase(*list, form->oid)) database = *known;
    database.oid = form->oid;
    database.connectable = AcceptsConnections(form);
    found[count++] = database;
  }
  table_endscan(scan);
  table_close(databases, AccessShareLock);
  CommitTransactionCommand();
  qsort(found, count, sizeof(KnownDatabase), CompareDatabases);
  auto* kept = static_cast<KnownDatabase*>(
      MemoryContextAllocHuge(TopMemoryContext, sizeof(KnownDatabase) * Max(count, 1)));
  memcpy(kept, found, sizeof(KnownDatabase) * count);
  if (list->databases != nullptr) pfree(list->databases);
  *list = {kept, count};
  pfree(found);
}

KnownDatabase* FindDatabase(const DatabaseList& list, Oid database) {
  if (list.count == 0) return nullptr;
  KnownDatabase sought = {};
  sought.oid = database;
  return static_cast<KnownDatabase*>(
      bsearch(&sought, list.databases, list.count, sizeof(KnownDatabase), CompareDatabases));
}

Reach ReachOf(Oid database) {
  StartTransactionCommand();
  Reach reach = Reach::kGone;
  HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
  if (HeapTupleIsValid(tuple)) {
    bool open = AcceptsConnections(reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple)));
    reach = open ? Reach::kOpen : Reach::kRefuses;
    ReleaseSysCache(tuple);
  }
  CommitTransactionCommand();
  return reach;
}

bool FindWork(DatabaseList* list, Moment now) {
  bool unlisted = false;
  for (int i = 0; i < list->count; i++) list->databases[i].wanted = list->databases[i].requested = false;
  LWLockAcquire(shared->lock, LW_SHARED);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_indexes);
  while (auto* entry = static_cast<IndexEntry*>(hash_seq_search(&scan))) {
    SpinLockAcquire(&entry->mutex);
    bool wanted = BuilderWanted(entry, now);
    bool requested = entry->f.seal_request > entry->f.seal_done;
    SpinLockRelease(&entry->mutex);
    if (!wanted) continue;
    if (KnownDatabase* database = FindDatabase(*list, entry->key.database)) {
      database->wanted = true;
      database->requested = database->requested || requested;
    } else {
      unlisted = true;
    }
  }
  LWLockRelease(shared->lock);
  return unlisted;
}

}  // namespace vecckpt
