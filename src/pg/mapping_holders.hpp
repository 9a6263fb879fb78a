// Holders: processes that keep mappings of segments (pg/mappings), known to the launcher.
//
// A process forgets replaced generations when a transaction ends. A session that sits idle has none that
// ends, and would keep deleted files on the disk. So a while after a generation was replaced the launcher
// sends holders that have not noticed the interrupt by which the server has idle sessions catch up with
// invalidation messages: an idle session starts and commits an empty transaction for it, at whose end it
// prunes. Within a transaction, and in a process that is no session, the interrupt does not do that, and no
// harm: they prune at the end of their transaction. Each is asked once for what has been replaced so far, and
// nearly none for indexes that it has not mapped: a holder says in which buckets its keys are.

#pragma once

#include "pg/shared_state.hpp"

namespace vecckpt {

Size HoldersSize();
// The caller holds AddinShmemInitLock.
void AttachHolders();

// shared->published as it is now.
uint64 PublishedNow();

// This process keeps a mapping of an index. `published`: before it looked which generation is current. C++
// side.
void BecomeHolder(const IndexKey& key, uint64 published);

inline uint64 HolderBit(const IndexKey& key) {
  return uint64{1} << BucketOf(key);
}

// This process has forgotten what was replaced up to `published`, and keeps mappings of keys with these bits.
void NoteHolderPruned(uint64 published, uint64 bits);

// Asks all that have not noticed what was replaced up to now. The launcher's.
void AskHolders();

}  // namespace vecckpt
