// Fault points: named places in the code that a test build can make fail, crash or wait.
//
// They exist only where VECCKPT_FAULT_POINTS is defined (make FAULT_POINTS=1). In every other build the macro
// leaves nothing behind, but still checks at compile time that the name is one of the list.
//
// A test controls them through the folder "fault_points" in the working directory, which for a server is its
// data directory; so it works in every process and thread and from the postmaster's start on. The
// file fault_points/<name> holds one line, ACTION or ACTION TEXT: it counts where the place's detail (a path,
// say) contains TEXT.
//
//   error   the place fails, once: who takes the file away
//   fail    the place fails as long as the file is there
//   crash   the process is killed, once
//   wait    the process waits, once: it renames the file to <name>.waiting, until somebody removes that
//
// Where fault_points/trace exists, every place that is passed adds the line "<name> <detail>" to it.

#pragma once

#include <string>

#include "base/status.hpp"

// Every fault point. A place whose name is in the past tense or ends in Done lies behind what it names, the
// others before.
// clang-format off
#define VECCKPT_FAULT_POINT_LIST(X)                                                                       \
  /* Files (os/file.cpp, file_lock.cpp); the detail is the path. */                                       \
  X(FileCreate) X(FileRead) X(FileWrite) X(FileWritten) X(FileSync) X(FileSynced) X(FolderSync)           \
  X(FolderSynced) X(FileRename) X(FileRenamed) X(FileRemove) X(FileRemoved) X(FolderLock)                 \
  /* The log (pg/log_append.cpp, log_free.cpp, log_bulk.cpp, build_horizon.cpp): WAL records. */          \
  X(LogExtended) X(LogPrepare) X(LogPrepared) X(MapPageMake) X(MapPageMade) X(ExtentTake) X(ExtentTaken)  \
  X(EntryPartWritten) X(EntryWrite) X(EntryWritten) X(DeadFlag) X(DeadFlagged) X(ExtentFree)              \
  X(ExtentFreed) X(FirstAdvance) X(FirstAdvanced) X(BulkLog) X(BulkPagesLogged) X(BulkLogged)             \
  X(BuildNote) X(BuildNoted)                                                                              \
  /* Generations (pg/generation.cpp); the detail is the manifest's path, or why it is set aside. */       \
  X(GenerationPublish) X(GenerationWritten) X(GenerationPublished) X(GenerationSetAside)                  \
  /* Checkpoint, start, sweep, validation (pg/checkpoint.cpp, reload.cpp, sweep.cpp, validation.cpp). */  \
  X(CheckpointStart) X(CheckpointWalFlush) X(CheckpointWalFlushed) X(CheckpointSegmentsSynced)            \
  X(CheckpointManifestSynced) X(CheckpointRenamed) X(CheckpointDone) X(ReloadStart) X(ReloadManifest)     \
  X(SweepStart) X(SweepFile) X(SweepDone) X(Validate) X(ValidateCompare) X(Validated)                     \
  /* Workers (pg/launcher.cpp, builder.cpp, builder_work.cpp, index/); jobs run in compute threads. The   \
     detail of BuilderVisit is the index's name. */                                                       \
  X(LauncherRound) X(LauncherCheckpoint) X(LauncherCheckpointed) X(BuilderStart) X(BuilderVisit)          \
  X(BuilderVisited) X(SealRead) X(JobSeal) X(JobMerge) X(JobGraph) X(JobVerify) X(JobLiveness) X(JobDone) \
  X(LivenessCount) X(Promote) X(Promoted) X(LivenessPromote) X(LivenessPromoted)                          \
  /* CREATE INDEX (pg/am_build.cpp, index_build.cpp). */                                                  \
  X(CreateIndexLoad) X(CreateIndexLoaded) X(CreateIndexFlat) X(CreateIndexGraph) X(CreateIndexPublish)    \
  X(CreateIndexPublished)                                                                                 \
  /* Statements (pg/am_insert.cpp, am_vacuum.cpp, am_scan.cpp). */                                        \
  X(Insert) X(Inserted) X(VacuumExtent) X(VacuumCleanup) X(ScanMapped) X(ScanStarted) X(ScanRerank)       \
  X(ScanEmit)                                                                                             \
  /* vec_index_check (pg/sql_check.hpp), between two looks; the detail is what was looked at last. */     \
  X(CheckStep)
// clang-format on

namespace vecckpt {

enum class FaultPoint {
#define VECCKPT_FAULT_POINT_ENUMERATOR(name) k##name,
  VECCKPT_FAULT_POINT_LIST(VECCKPT_FAULT_POINT_ENUMERATOR)
#undef VECCKPT_FAULT_POINT_ENUMERATOR
};

// Does what the test wants at this place. kIoError where it is to fail.
Status PassFaultPoint(FaultPoint point, const std::string& detail = {});

}  // namespace vecckpt

// In a function that returns a Status or a Result: VECCKPT_FAULT_POINT(FileRename, path).
#ifdef VECCKPT_FAULT_POINTS
#define VECCKPT_FAULT_POINT(name, ...) \
  VECCKPT_RETURN_IF_ERROR(             \
      ::vecckpt::PassFaultPoint(::vecckpt::FaultPoint::k##name __VA_OPT__(, ) __VA_ARGS__))
#else
#define VECCKPT_FAULT_POINT(name, ...) static_cast<void>(::vecckpt::FaultPoint::k##name)
#endif
