// What the system catalogs know of vhnsw indexes.

#pragma once

#include "pg/pg.hpp"

namespace vecckpt {

// The OIDs of this database's vhnsw indexes that have storage, except those of temporary tables, palloc'd.
// REQUIRES: a transaction.
int ListVhnswIndexes(Oid** oids);

// An index under AccessShareLock, or null if it is locked by somebody, gone or not readable here. Never
// waits.
Relation OpenForLooking(Oid oid);

// Calls `look` with every index of this database that OpenForLooking opens, one after the other.
template <typename Look>
void ForEachIndex(Look look) {
  Oid* oids;
  int count = ListVhnswIndexes(&oids);
  for (int i = 0; i < count; i++) {
    CHECK_FOR_INTERRUPTS();
    Relation index = OpenForLooking(oids[i]);
    if (index == nullptr) continue;
    look(index);
    relation_close(index, AccessShareLock);
  }
}

// The OID that somebody's name stood for is no relation's any more.
[[noreturn]] void RaiseGone(Oid oid);

// Where a concurrent REINDEX is just replacing this index, which has another name by now: the one that has
// its name. Says so in a NOTICE. Else InvalidOid.
Oid SuccessorOf(Relation index);

// The table of an index, which may be gone by now: then an error.
Oid TableOf(Oid index);

// A relation that is an index, or what has replaced it since its name was looked up, under AccessShareLock.
Relation OpenNow(Oid oid);

// Raises an error unless the OID is that of a vhnsw index. `partitions`: the hint for a partitioned one,
// which has no storage.
void RequireVhnswIndex(Oid oid, const char* partitions);

// Raises an error for an unlogged index during recovery, which has no contents.
void RequireContents(Relation index);

// A vhnsw index whose log and segments the caller wants to read, under AccessShareLock on its table and on
// itself, which last until the transaction ends; or an error: the library is not preloaded, it is no such
// index, or it has no contents now. The caller closes it with NoLock.
Relation OpenForReading(Oid oid, const char* partitions);

}  // namespace vecckpt
