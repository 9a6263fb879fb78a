// See build_horizon.hpp.

#include "pg/build_horizon.hpp"

#include "pg/wall.hpp"

extern "C" {
#include "storage/proc.h"
#include "storage/procarray.h"
}

namespace vecckpt {
namespace {

// With its epoch, for ids that are no older than half the circle. REQUIRES: not past the next one.
uint64 FullXid(TransactionId xid) {
  FullTransactionId next = ReadNextFullTransactionId();
  return U64FromFullTransactionId(next) - (XidFromFullTransactionId(next) - xid);
}

}  // namespace

// The horizon is taken after the scan, whose own was no later.
void NoteBuild(MetaPage* meta, Relation heap) {
  meta->build_xid = U64FromFullTransactionId(GetTopFullTransactionId());
  meta->dead_before = FullXid(GetOldestNonRemovableTransactionId(heap));
}

void NoteValidation(Relation index) {
  bool vacuum = (MyProc->statusFlags & PROC_IN_VACUUM) != 0;
  if (index->rd_index->indisvalid || vacuum || !RelationNeedsWAL(index)) return;
  // The server inserts what this snapshot sees and the index lacks. It makes the index valid after this
  // transaction's end.
  uint64 build_xid = U64FromFullTransactionId(GetTopFullTransactionId());
  uint64 dead_before = FullXid(GetActiveSnapshot()->xmax);
  Buffer buffer = ReadBuffer(index, kMetaBlock);
  LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
  GenericXLogState* state = GenericXLogStart(index);
  Page page = GenericXLogRegisterBuffer(state, buffer, 0);
  MetaOf(page)->build_xid = build_xid;
  MetaOf(page)->dead_before = dead_before;
  SetPageUsed(page, sizeof(MetaPage));  // an earlier version's page ends before these fields
  VECCKPT_FAULT_POINT_RAISE(BuildNote);
  GenericXLogFinish(state);
  VECCKPT_FAULT_POINT_RAISE(BuildNoted);
  UnlockReleaseBuffer(buffer);
}

bool MayLackRows(const MetaPage& meta, Snapshot snapshot) {
  if (meta.build_xid == 0 || !snapshot->takenDuringRecovery) return false;
  uint64 xmin = FullXid(snapshot->xmin);
  uint64 next = U64FromFullTransactionId(ReadNextFullTransactionId());
  // One that is still to come is of a server whose counter was set back since: it ended long ago.
  if (meta.build_xid < xmin || meta.build_xid >= next || xmin >= meta.dead_before) return false;
  return XidInMVCCSnapshot(static_cast<TransactionId>(meta.build_xid), snapshot);
}

void RequireAllRows(Relation index, const MetaPage& meta, Snapshot snapshot) {
  if (!MayLackRows(meta, snapshot)) return;
  ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                  errmsg("index \"%s\" was built after this transaction's snapshot and may lack rows it sees",
                         RelationGetRelationName(index)),
                  errhint("Run the transaction again.")));
}

}  // namespace vecckpt
