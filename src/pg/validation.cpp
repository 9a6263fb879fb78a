// See validation.hpp.

#include "pg/validation.hpp"

extern "C" {
#include "access/xlogrecovery.h"
}

#include <algorithm>

namespace vecckpt {
namespace {

// A file up to this size is verified wholly before its first use: a few milliseconds.
constexpr uint64_t kVerifyAtOnce = 16 << 20;
// An index whose segments span up to this many sequences is checked for completeness before its first use.
constexpr uint64_t kCompareAtOnce = 256;

// No durable segment was built from later WAL. On a primary: what there was when the server first looked
// after its start, because LSNs of a history that is gone are overtaken some time.
XLogRecPtr WalThatCounts(bool recovering) {
  if (recovering) return GetXLogReplayRecPtr(nullptr);
  XLogRecPtr now = GetXLogInsertRecPtr();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  if (shared->wal_at_start == InvalidXLogRecPtr) shared->wal_at_start = now;
  XLogRecPtr counts = shared->wal_at_start;
  LWLockRelease(shared->lock);
  return counts;
}

// The segments' record of a sequence, or null.
const ExtentRecord* RecordOf(const IndexMapping& mapping, uint64 sequence) {
  for (const auto& segment : mapping.segments)
    for (const ExtentRecord& record : segment->extents())
      if (record.sequence == sequence) return &record;
  return nullptr;
}

// PostgreSQL side. The extent at the coverage's end is gone: compares at the highest covered one that lives.
// Its own contents are compared by the running hash that the next sequence began with.
Coverage CompareHighestLiving(LogReader* reader, const IndexMapping& mapping, ExtentCopy* copy) {
  const ExtentRecord* best = nullptr;
  for (const auto& segment : mapping.segments)
    for (const ExtentRecord& record : segment->extents()) {
      CHECK_FOR_INTERRUPTS();
      if (best != nullptr && record.sequence < best->sequence) continue;
      if (ReadDirectoryOf(reader, record.extent, record.sequence, copy)) best = &record;
    }
  if (best == nullptr) return Coverage::kValid;  // nothing of the segments is ever returned
  if (!ReadDirectoryOf(reader, best->extent, best->sequence, copy)) return Coverage::kInvalid;
  const ExtentRecord* next = RecordOf(mapping, best->sequence + 1);
  bool same = next != nullptr && copy->header.running_hash == best->running_hash &&
              RunningHash(best->running_hash, copy->slots, copy->header.used) == next->running_hash;
  return same ? Coverage::kValid : Coverage::kInvalid;
}

// C++ side. Checks the small sections of one segment, a small file wholly, and sets it aside if it fails.
Status VerifySections(const IndexMapping& mapping, const Segment& segment, bool* failed, Notices* notices) {
  bool whole = segment.file_size() <= kVerifyAtOnce;
  Status status = segment.Verify(whole ? Segment::Depth::kAll : Segment::Depth::kIndexed);
  if (status.code() != StatusCode::kCorruption) return status;
  *failed = true;
  return SetAside(mapping.manifest, mapping.generation, {segment.id()}, status.message(), notices);
}

uint64 SequencesOf(const Segment& segment) {
  PositionRange range = segment.range();
  uint64 slots = segment.header().slots_per_extent;
  return range.end == range.begin ? 0 : (range.end - 1) / slots - range.begin / slots + 1;
}

// The completeness check of every segment at once, on the C++ heap while it runs.
struct AllChecks {
  std::vector<CompletenessCheck> checks;
};

void DestroyChecks(void* argument) {
  delete static_cast<AllChecks*>(argument);
}

// PostgreSQL side. The first segment that lacks a live entry, or 0.
uint64 FindIncomplete(LogReader* reader, const IndexMapping& mapping) {
  MemoryContext context =
      AllocSetContextCreate(CurrentMemoryContext, "vhnsw validation", ALLOCSET_SMALL_SIZES);
  auto* callback =
      static_cast<MemoryContextCallback*>(MemoryContextAlloc(context, sizeof(MemoryContextCallback)));
  AllChecks* all = nullptr;
  Failure failure = Guard([&] {
    all = new AllChecks;
    all->checks.resize(mapping.segments.size());
    for (size_t i = 0; i < all->checks.size(); i++)
      VECCKPT_RETURN_IF_ERROR(PrepareCompleteness(mapping.segments[i], &all->checks[i]));
    return Status::Ok();
  });
  callback->func = DestroyChecks;
  callback->arg = all;
  MemoryContextRegisterResetCallback(context, callback);
  ThrowIfFailed(failure);
  uint64 bad = 0;
  for (size_t i = 0; i < all->checks.size() && bad == 0; i++)
    if (CompareWithLog(reader, &all->checks[i], DT_NOEND) == Completeness::kIncomplete)
      bad = mapping.segments[i]->id();
  MemoryContextDelete(context);
  return bad;
}

// Everything of a generation read from disk but the first look at coverage. *again: it was changed, map
// again.
void FinishValidation(const IndexKey& key, LogReader* reader, const IndexMapping& mapping, bool* again) {
  bool all = true;
  Notices notices;
  Failure failure;
  for (const auto& segment : mapping.segments) {
    CHECK_FOR_INTERRUPTS();
    all = all && segment->file_size() <= kVerifyAtOnce;
    failure = Guard([&] { return VerifySections(mapping, *segment, again, &notices); });
    notices.Emit();
    ThrowIfFailed(failure);
    if (*again) return;
  }
  uint64 sequences = 0;
  for (const auto& segment : mapping.segments) sequences += SequencesOf(*segment);
  if (sequences <= kCompareAtOnce) {
    VECCKPT_FAULT_POINT_RAISE(ValidateCompare);
    uint64 bad = FindIncomplete(reader, mapping);
    if (bad != 0) {
      *again = true;
      failure = Guard([&] {
        return SetAside(mapping.manifest, mapping.generation, {bad}, "it lacks entries of the index's log",
                        &notices);
      });
      notices.Emit();
      return ThrowIfFailed(failure);
    }
  } else {
    all = false;
  }
  ChangeEntry(key, [&](IndexFields& f) {
    if (!SameGeneration(f.current, mapping.generation)) return;
    f.validated = true;
    if (all) f.verified = true;
  });
  VECCKPT_FAULT_POINT_RAISE(Validated);
}

}  // namespace

Coverage CheckCoverage(LogReader* reader, const IndexMapping& mapping) {
  uint64 end = mapping.manifest.coverage_end();
  if (end == 0) return Coverage::kValid;
  // Checked in this order: recovery may end between, which only makes the verdict stricter than need be.
  bool recovering = RecoveryInProgress();
  if (mapping.manifest.max_lsn() > WalThatCounts(recovering) || end > LogEnd(reader))
    return recovering ? Coverage::kDeferred : Coverage::kInvalid;

  uint32 slots = reader->meta->slots_per_extent;
  ExtentCopy* copy = static_cast<ExtentCopy*>(palloc(sizeof(ExtentCopy)));
  Coverage verdict;
  if (ReadDirectory(reader, (end - 1) / slots, copy)) {
    uint32 count = static_cast<uint32>((end - 1) % slots + 1);
    bool same = copy->header.used >= count && RunningHash(copy->header.running_hash, copy->slots, count) ==
                                                  mapping.manifest.coverage_hash();
    verdict = same ? Coverage::kValid : Coverage::kInvalid;
  } else {
    verdict = CompareHighestLiving(reader, mapping, copy);
  }
  pfree(copy);
  return verdict;
}

Coverage MapValidated(Relation index, LogReader* reader, std::shared_ptr<const IndexMapping>* mapping) {
  IndexKey key = KeyOf(index);
  const MetaPage* meta = reader->meta;
  if (!EnsureEntry(key, meta->identity, RelationGetRelid(index), index->rd_rel->relpersistence))
    return Coverage::kValid;
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    bool validated = false;
    bool again = false;
    Notices notices;
    Failure failure = Guard(
        [&] { return MapIndex(key, meta->identity, GeometryOf(*meta), mapping, &validated, &notices); });
    notices.Emit();
    ThrowIfFailed(failure);
    if (validated || *mapping == nullptr) return Coverage::kValid;
    VECCKPT_FAULT_POINT_RAISE(Validate);
    Coverage coverage = CheckCoverage(reader, **mapping);
    if (coverage == Coverage::kValid) {
      FinishValidation(key, reader, **mapping, &again);
      if (again) continue;
      return coverage;
    }
    failure = Guard([&] {
      if (coverage == Coverage::kDeferred) {
        mapping->reset();
        return Status::Ok();
      }
      return SetAside((*mapping)->manifest, (*mapping)->generation, {}, "it does not match the index's log",
                      &notices);
    });
    notices.Emit();
    ThrowIfFailed(failure);
    if (coverage == Coverage::kDeferred) return coverage;
  }
}

Status PrepareCompleteness(std::shared_ptr<const Segment> segment, CompletenessCheck* check) {
  Result<SlotSet> slots = SlotSet::Of(*segment);
  if (!slots.ok()) return slots.status();
  check->slots = std::move(*slots);
  check->next_sequence = segment->range().begin / segment->header().slots_per_extent;
  check->end_sequence = check->next_sequence + SequencesOf(*segment);
  check->segment = std::move(segment);
  return Status::Ok();
}

Completeness CompareWithLog(LogReader* reader, CompletenessCheck* check, TimestampTz deadline) {
  const Segment& segment = *check->segment;
  uint32 slots = segment.header().slots_per_extent;
  PositionRange range = segment.range();
  ExtentCopy* copy = static_cast<ExtentCopy*>(palloc(sizeof(ExtentCopy)));
  Completeness verdict = Completeness::kComplete;
  for (; check->next_sequence < check->end_sequence; check->next_sequence++) {
    CHECK_FOR_INTERRUPTS();
    if (deadline != DT_NOEND && GetCurrentTimestamp() >= deadline) {
      verdict = Completeness::kUnfinished;
      break;
    }
    uint64 sequence = check->next_sequence;
    if (!ReadDirectory(reader, sequence, copy)) continue;
    const ExtentRecord* record = segment.ExtentOf(uint64{copy->header.extent} * slots);
    bool covered = record != nullptr && record->sequence == sequence;
    size_t extent = covered ? record - segment.extents().data() : 0;
    for (uint32 slot = 0; slot < copy->header.used; slot++) {
      uint64 position = sequence * slots + slot;
      if (position < range.begin || position >= range.end || (copy->slots[slot].flags & kSlotDead)) continue;
      if (covered && check->slots.Has(extent, slot)) continue;
      pfree(copy);
      return Completeness::kIncomplete;
    }
  }
  pfree(copy);
  return verdict;
}

}  // namespace vecckpt
