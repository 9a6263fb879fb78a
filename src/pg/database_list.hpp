// The databases that the launcher knows: which ones a builder can connect to, which want one, and when the
// next may be started. The launcher's own; no locks but those of shared memory, taken and released in each
// function.

#pragma once

#include "pg/pg.hpp"

#include "base/clock.hpp"

namespace vecckpt {

struct KnownDatabase {
  Oid oid;
  bool connectable;  // as last looked at
  bool told;         // in the server log, that it is not
  bool visited;      // by a builder since it was listed, or since replay has moved on
  bool wanted;       // an index of it has work (FindWork)
  bool requested;    // a vec_checkpoint waits for one of its indexes (FindWork)
  uint32 failures;   // of builders, in a row
  Moment next_start;
};

// By oid; lives until the next ListDatabases.
struct DatabaseList {
  KnownDatabase* databases;
  int count;
};

// Reads pg_database and keeps what is known of those that stay.
void ListDatabases(DatabaseList* list);

// Null: not listed.
KnownDatabase* FindDatabase(const DatabaseList& list, Oid database);

enum class Reach { kGone, kRefuses, kOpen };
// What a builder would meet now. A database may have been dropped, or closed, since the list was read.
Reach ReachOf(Oid database);

// One pass over all indexes: sets `wanted` and `requested`. True if a database that is not listed has work.
bool FindWork(DatabaseList* list, Moment now);

}  // namespace vecckpt
