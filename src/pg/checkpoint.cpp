// See checkpoint.hpp.
//
// Order: (1) flush WAL up to the highest page LSN that was read for the segments, so that derived never runs
// ahead of truth; (2) fsync the segments that the last durable generation does not have, and the folder; (3)
// fsync the generation's manifest, rename it to the durable name, fsync the folder. A crash leaves either the
// old or the new manifest, and all segments of both.
//
// A failed fsync is not tried again on that file: its pages may be gone from the cache. The segment is set
// aside.

#include "pg/checkpoint.hpp"

#include "pg/folder_owner.hpp"
#include "pg/generation.hpp"

#include <set>

#include "os/file.hpp"

namespace vecckpt {
namespace {

// (2) and (3). *failed names the segment that could not be synced.
Status MakeDurable(const IndexKey& key, const IndexFields& fields, uint64_t* failed) {
  std::string durable_path = PathOf(DurableManifestName(key));
  *failed = 0;
  if (fields.current.manifest_id == 0) {
    VECCKPT_RETURN_IF_ERROR(RemoveFile(durable_path));
    return SyncDirectory(kFilesDirectory);
  }
  auto manifest = LoadGeneration(key, fields.current);
  if (!manifest.ok()) return manifest.status();
  std::set<uint64_t> synced;
  auto before = ReadManifest(durable_path);
  // An earlier attempt renamed it and failed after that.
  if (before.ok() && before->manifest_id == fields.current.manifest_id) return SyncDirectory(kFilesDirectory);
  if (before.ok() && before->manifest_id == fields.durable.manifest_id)
    for (const ManifestSegment& segment : before->segments) synced.insert(segment.id);
  for (const ManifestSegment& segment : manifest->segments) {
    if (synced.count(segment.id) != 0) continue;
    *failed = segment.id;
    VECCKPT_RETURN_IF_ERROR(SyncFile(PathOf(SegmentName(key, segment.id))));
  }
  *failed = 0;
  VECCKPT_RETURN_IF_ERROR(SyncDirectory(kFilesDirectory));
  VECCKPT_FAULT_POINT(CheckpointSegmentsSynced);
  std::string path = PathOf(GenerationManifestName(key, fields.current.manifest_id));
  VECCKPT_RETURN_IF_ERROR(SyncFile(path));
  VECCKPT_FAULT_POINT(CheckpointManifestSynced, path);
  VECCKPT_RETURN_IF_ERROR(RenameFile(path, durable_path));
  VECCKPT_FAULT_POINT(CheckpointRenamed, durable_path);
  return SyncDirectory(kFilesDirectory);
}

Status HighestLsn(const IndexKey& key, const Generation& generation, XLogRecPtr* lsn) {
  VECCKPT_FAULT_POINT(CheckpointStart);
  *lsn = InvalidXLogRecPtr;
  if (generation.manifest_id == 0) return Status::Ok();
  auto manifest = LoadGeneration(key, generation);
  if (!manifest.ok()) return manifest.status();
  *lsn = manifest->max_lsn();
  return Status::Ok();
}

void RecordFailure(const IndexKey& key, const Failure& failure) {
  ereport(LOG, (errcode(SqlState(failure.code)),
                errmsg("vecckpt: could not checkpoint index %u/%u/%u: %s", key.database, key.tablespace,
                       key.relation, failure.message)));
  Moment now = Now();
  ChangeEntry(key, [&](IndexFields& f) {
    NoteFailure(&f, FailedIn::kCheckpoint, SqlState(failure.code), failure.message, now);
  });
}

}  // namespace

Persisted PersistIndex(const IndexKey& key) {
  IndexFields fields;
  if (!FolderIsOurs() || !SnapshotEntry(key, &fields)) return Persisted::kNothingToDo;
  if (fields.current.number == fields.durable.number) {
    ChangeEntry(key, [](IndexFields& f) {
      if (f.current.number != f.durable.number) return;
      f.persist_wanted = false;
      ForgetFailure(&f, FailedIn::kCheckpoint);
    });
    return Persisted::kNothingToDo;
  }
  XLogRecPtr lsn = InvalidXLogRecPtr;
  uint64_t failed_segment = 0;
  Failure failure = Guard([&] { return HighestLsn(key, fields.current, &lsn); });
  EnableSync(enableFsync);
  if (!failure.failed()) {
    VECCKPT_FAULT_POINT_RAISE(CheckpointWalFlush);
    if (fields.persistence == RELPERSISTENCE_PERMANENT && !XLogRecPtrIsInvalid(lsn)) XLogFlush(lsn);
    VECCKPT_FAULT_POINT_RAISE(CheckpointWalFlushed);
    failure = Guard([&] { return MakeDurable(key, fields, &failed_segment); });
  }
  if (!failure.failed()) {
    TimestampTz now = GetCurrentTimestamp();
    ChangeEntry(key, [&](IndexFields& f) {
      if (f.identity != fields.identity) return;
      f.durable = fields.current;
      f.durable_time = now;
      f.durable_lsn = lsn;
      f.persist_wanted = f.current.number != f.durable.number;
      ForgetFailure(&f, FailedIn::kCheckpoint);
    });
    VECCKPT_FAULT_POINT_RAISE(CheckpointDone);
    return Persisted::kDone;
  }
  // A generation that was replaced meanwhile took its manifest along: there is a newer one to persist.
  IndexFields now;
  if (failure.code == StatusCode::kNotFound && SnapshotEntry(key, &now) &&
      now.current.manifest_id != fields.current.manifest_id)
    return PersistIndex(key);
  RecordFailure(key, failure);
  Notices notices;
  Guard([&] {
    auto manifest = LoadGeneration(key, fields.current);
    bool gone = manifest.status().code() == StatusCode::kNotFound ||
                manifest.status().code() == StatusCode::kCorruption;
    if (!manifest.ok() && !gone) return Status::Ok();
    if (!manifest.ok()) {
      SetAsideAll(key, fields.identity, fields.current, manifest.status().message(), &notices);
      return Status::Ok();
    }
    if (failed_segment == 0) return Status::Ok();
    return SetAside(*manifest, fields.current, {failed_segment}, failure.message, &notices);
  });
  notices.Emit();
  return Persisted::kFailed;
}

}  // namespace vecckpt
