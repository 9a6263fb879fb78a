// Segments of indexes on temporary tables. They belong to the session.
//
// No builder can read a temporary table, so the session builds: CREATE INDEX, and the first scan that finds
// what the absorb policy would give a builder to do. A scan thus pays for the rows that were inserted since
// the one before it. Files lose their names as soon as they are mapped; nothing of it is in shared memory,
// survives the session, or is known to other ones. The log is read and written as every index's.

#pragma once

#include "pg/log_read.hpp"
#include "pg/mappings.hpp"
#include "pg/wall.hpp"

#include <memory>

namespace vecckpt {

inline bool HasPrivateSegments(Relation index) {
  return RelationUsesLocalBuffers(index);
}

// Builds what there is to build within maintenance_work_mem. With `seal_all`, until every entry is covered,
// and raises an error where that fails; else a failure is a warning, and segments are as they were.
// REQUIRES: dims are known.
void BuildPrivate(LogReader* reader, bool seal_all);

// C++ side. The segments as they are; null if there are none.
std::shared_ptr<const IndexMapping> FindPrivate(const IndexKey& key, uint64 identity);

// VACUUM has flagged entries as dead.
void NotePrivateVacuum(Relation index);

// Something went wrong with the segments, which is a warning: scans do without more of them for a while, and
// without any if they are corrupt.
void PutOffPrivate(Relation index, const Failure& failure);

// The segments are of no use any more.
void ForgetPrivate(Relation index);

// Once: so that segments of dropped and rewritten indexes do not stay for the session's life.
void InstallPrivatePruning();

}  // namespace vecckpt
