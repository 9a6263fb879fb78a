// What differs between PostgreSQL versions, and what of their headers does not compile as C++. Every test of
// PG_VERSION_NUM lives here.

#pragma once

#include "segment/names.hpp"

#if PG_VERSION_NUM < 150000
#error "vecckpt needs PostgreSQL 15 or later"
#endif

extern "C" {
#include "catalog/pg_database_d.h"
#include "commands/vacuum.h"
#include "common/relpath.h"
#include "nodes/pathnodes.h"
#include "storage/procsignal.h"
#include "utils/acl.h"
#if PG_VERSION_NUM >= 160000
#include "utils/relfilenumbermap.h"
#else
#include "utils/relfilenodemap.h"
#endif
}

// The server's own definition uses a C-only assertion.
#undef LSN_FORMAT_ARGS
#define LSN_FORMAT_ARGS(lsn) (static_cast<uint32>((lsn) >> 32)), (static_cast<uint32>(lsn))

namespace vecckpt {

inline IndexKey KeyOf(Relation relation) {
#if PG_VERSION_NUM >= 160000
  return {relation->rd_locator.dbOid, relation->rd_locator.spcOid, relation->rd_locator.relNumber};
#else
  return {relation->rd_node.dbNode, relation->rd_node.spcNode, relation->rd_node.relNode};
#endif
}

// Pins a block of the main fork if it still lies in the buffer where it was last seen.
inline bool ReadRecent(Relation relation, BlockNumber block, Buffer buffer) {
#if PG_VERSION_NUM >= 160000
  return ReadRecentBuffer(relation->rd_locator, MAIN_FORKNUM, block, buffer);
#else
  return ReadRecentBuffer(relation->rd_node, MAIN_FORKNUM, block, buffer);
#endif
}

// Writes the path of the main fork's first file, relative to the data directory.
inline void RelationPath(const IndexKey& key, char* path, size_t size) {
#if PG_VERSION_NUM >= 180000
  RelPathStr found =
      GetRelationPath(key.database, key.tablespace, key.relation, INVALID_PROC_NUMBER, MAIN_FORKNUM);
  strlcpy(path, found.str, size);
#elif PG_VERSION_NUM >= 170000
  char* found =
      GetRelationPath(key.database, key.tablespace, key.relation, INVALID_PROC_NUMBER, MAIN_FORKNUM);
  strlcpy(path, found, size);
  pfree(found);
#else
  char* found = GetRelationPath(key.database, key.tablespace, key.relation, InvalidBackendId, MAIN_FORKNUM);
  strlcpy(path, found, size);
  pfree(found);
#endif
}

// Makes the main fork long enough to hold `block`. Where the server can add many pages for the price of few,
// as many as there is a use for, up to `last`. Pages stay zero.
inline void ExtendFork(Relation relation, BlockNumber block, BlockNumber last) {
#if PG_VERSION_NUM >= 160000
  constexpr BlockNumber kAtOnce = 16;  // more than 8 are allocated instead of written
  BlockNumber end = Min(last, block + kAtOnce - 1) + 1;
  ReleaseBuffer(ExtendBufferedRelTo(BMR_REL(relation), MAIN_FORKNUM, nullptr, 0, end, RBM_NORMAL));
#else
  (void)last;
  LockRelationForExtension(relation, ExclusiveLock);
  for (BlockNumber n = RelationGetNumberOfBlocks(relation); n <= block; n++)
    ReleaseBuffer(ReadBufferExtended(relation, MAIN_FORKNUM, P_NEW, RBM_NORMAL, nullptr));
  UnlockRelationForExtension(relation, ExclusiveLock);
#endif
}

// Counts a search of the index: for the statistics views and, where the server has it, EXPLAIN ANALYZE.
inline void CountIndexSearch(IndexScanDesc scan) {
  pgstat_count_index_scan(scan->indexRelation);
#if PG_VERSION_NUM >= 180000
  if (scan->instrument != nullptr) scan->instrument->nsearches++;
#endif
}

// For access methods; ANALYZE does not come here.
inline void DelayVacuum() {
#if PG_VERSION_NUM >= 180000
  vacuum_delay_point(false);
#else
  vacuum_delay_point();
#endif
}

// Keeps a path whose cost is infinite out of every plan. From version 18 a path with fewer disabled nodes
// wins at any cost; one that scans a table has at most one.
inline void DisablePath(Path* path) {
#if PG_VERSION_NUM >= 180000
  path->disabled_nodes = 2;
#else
  (void)path;
#endif
}

// Before version 17 VACUUM may, by old_snapshot_threshold, take rows away that an old snapshot sees. Raises
// an error if that can be so with pages up to `lsn`.
inline void RequireYoungSnapshot(Relation relation, Snapshot snapshot, XLogRecPtr lsn) {
#if PG_VERSION_NUM < 170000
  if (old_snapshot_threshold >= 0 && !XLogRecPtrIsInvalid(snapshot->lsn) && lsn > snapshot->lsn)
    TestForOldSnapshot_impl(snapshot, relation);
#else
  (void)relation, (void)snapshot, (void)lsn;
#endif
}

inline bool OwnsDatabase(Oid database, Oid role) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(DatabaseRelationId, database, role);
#else
  return pg_database_ownercheck(database, role);
#endif
}

// This process's place among those that may be connected at a time: from 0, below MaxBackends for sessions
// and background workers; negative where it has none.
inline int ProcessPlace() {
#if PG_VERSION_NUM >= 170000
  return MyProcNumber;
#else
  return MyBackendId - 1;
#endif
}

// Has the process in a place take in invalidation messages if it sits idle; nothing where that process has
// ended. See ProcessCatchupInterrupt.
inline void AskToCatchUp(pid_t pid, int place) {
#if PG_VERSION_NUM >= 170000
  SendProcSignal(pid, PROCSIG_CATCHUP_INTERRUPT, place);
#else
  SendProcSignal(pid, PROCSIG_CATCHUP_INTERRUPT, place + 1);
#endif
}

// A wait event of this name, the same in every process. Before version 17 all extensions' have one name.
inline uint32 NamedWaitEvent(const char* name) {
#if PG_VERSION_NUM >= 170000
  return WaitEventExtensionNew(name);
#else
  (void)name;
  return PG_WAIT_EXTENSION;
#endif
}

inline bool OwnsRelation(Oid relation, Oid role) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(RelationRelationId, relation, role);
#else
  return pg_class_ownercheck(relation, role);
#endif
}

// Before expressions of a table's owner are evaluated for somebody else.
inline void ProtectSearchPath() {
#if PG_VERSION_NUM >= 170000
  RestrictSearchPath();
#endif
}

// The relation of this database that lives in a file; InvalidOid if there is none.
inline Oid RelationOfFile(const IndexKey& key) {
#if PG_VERSION_NUM >= 160000
  return RelidByRelfilenumber(key.tablespace, key.relation);
#else
  return RelidByRelfilenode(key.tablespace, key.relation);
#endif
}

}  // namespace vecckpt
