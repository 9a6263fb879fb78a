// The launcher: one background worker without a database. It starts builders for databases that have work,
// makes generations durable, and sweeps files.

#pragma once

#include "pg/pg.hpp"

namespace vecckpt {

// Registers the launcher; called while the library is preloaded.
void RegisterLauncher();

// Asks a database's builder to leave, waits until it has, and keeps new ones away for a while. For commands
// that need the database for themselves.
void AskBuilderToLeave(Oid database);
void LetBuilderReturn(Oid database);

// Makes every published generation durable and waits until it is; never waits for builders. Returns at once
// where no launcher runs.
void PersistAllAndWait();

}  // namespace vecckpt

extern "C" PGDLLEXPORT void vecckpt_launcher_main(Datum argument);
