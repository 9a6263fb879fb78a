// Reading what may be damaged: an error becomes a message, and the caller goes on.

#pragma once

#include "pg/pg.hpp"

namespace vecckpt {

// Runs `work` in a subtransaction, so that no pin and no lock stays of a failed read. Null, or the message of
// an error whose SQLSTATE `expected` accepts, in the caller's memory context; others are raised again. `work`
// is on PostgreSQL's side of the wall. REQUIRES: not in parallel mode.
template <typename Work>
char* TryInSubtransaction(bool (*expected)(int sqlstate), Work work) {
  MemoryContext caller = CurrentMemoryContext;
  ResourceOwner owner = CurrentResourceOwner;
  char* volatile message = nullptr;
  BeginInternalSubTransaction(nullptr);
  MemoryContextSwitchTo(caller);
  PG_TRY();
  {
    work();
    ReleaseCurrentSubTransaction();
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(caller);
    ErrorData* error = CopyErrorData();
    if (!expected(error->sqlerrcode)) PG_RE_THROW();
    FlushErrorState();
    RollbackAndReleaseCurrentSubTransaction();
    message = error->message;
  }
  PG_END_TRY();
  MemoryContextSwitchTo(caller);
  CurrentResourceOwner = owner;
  return message;
}

}  // namespace vecckpt
