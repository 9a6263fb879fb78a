// What processes wait for, as pg_stat_activity shows it where the server can tell one extension's wait from
// another's (compat.hpp). The same in README.md.

#pragma once

#include "pg/pg.hpp"

namespace vecckpt {

enum class Wait {
  kLauncher,     // the launcher for work
  kBuilder,      // a builder for work or finished jobs
  kCreateIndex,  // CREATE INDEX, or a search of a temporary table, for its threads
  kIndexCheck,   // vec_index_check for its thread
  kCheckpoint,   // vec_checkpoint() and CHECKPOINT for builders and launcher
  kBuilderExit,  // a command on a database for its builder to leave
  kCount
};

// REQUIRES: no LWLock is held.
uint32 WaitEventOf(Wait wait);

}  // namespace vecckpt
