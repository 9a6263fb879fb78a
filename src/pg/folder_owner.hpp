// Whose folder vector-ckpt is. A data folder that was copied with a symbolic link in place of vector-ckpt has
// its server meet another one in the same folder, and each would take the other's files for garbage.
//
// So a server's postmaster locks the file "owner" in it when it starts, and the folder is that server's until
// its postmaster ends, however that happens. A server that finds it locked keeps its hands off: it loads,
// writes and removes nothing there, has no segments and searches its logs exactly, until it is started anew.
// It does not take the folder over while it runs, or it would snatch it from an owner that is just
// restarting.

#pragma once

#include "pg/pg.hpp"

namespace vecckpt {

// In the postmaster, whenever shared memory is new, before anybody uses the folder; after a crash of a
// backend it has the lock already. Raises nothing. Where the folder cannot be locked for another reason, it
// is taken for ours.
void ClaimFolder();

// In the launcher, now and then: where the file was deleted, or the folder with it, the launcher makes
// another one and locks that. Should another server have been faster, the folder is that one's from now on.
void KeepFolder();

// False: another server has it. For any process.
bool FolderIsOurs();

// A hint for messages, within ereport.
int FolderHint();

}  // namespace vecckpt
