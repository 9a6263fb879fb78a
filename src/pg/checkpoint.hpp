// A checkpoint makes the current generation of an index durable. The launcher alone does it.

#pragma once

#include "pg/shared_state.hpp"

namespace vecckpt {

enum class Persisted { kNothingToDo, kDone, kFailed };

// Makes the current generation of one index durable: WAL up to its highest page LSN, its segments, its
// manifest. May raise an error (from flushing WAL); failures of files are recorded in the entry. The cost
// follows what is new since the last durable generation. Does nothing where the folder is another server's.
Persisted PersistIndex(const IndexKey& key);

}  // namespace vecckpt
