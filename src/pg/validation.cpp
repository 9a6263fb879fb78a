// See validation.hpp.

#include "pg/validation.hpp"

extern "C" {
#include "access/xlogrecovery.h"
}

#include <algorithm>

namespace vecckpt {
namespace {

// A file up to this size is verified wholly before its first use: a few milliseconds.
#ifdef VECCKPT_FAULT_POINTS
constexpr uint64_t kVerifyAtOnce = 256 << 10;  // so that few rows make larger ones
#else
constexpr uint64_t kVerifyAtOnce = 16 << 20;
#endif
// Directory pages that the disk is asked for at a time.
constexpr uint64 kFetchAhead = 64;
// What is compared of a segment at a time, in a proof that goes on later.
constexpr int64 kSliceMilliseconds = 50;

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

// The running hash that the manifest's log had behind a sequence; false if no segment says.
bool HashBehind(const IndexMapping& mapping, uint64 sequence, uint64* hash) {
  for (const auto& segment : mapping.segments) {
    const SegmentHeader& header = segment->header();
    if (header.range.end == (sequence + 1) * header.slots_per_extent && header.end_hash != 0) {
      *hash = header.end_hash;
      return true;
    }
    for (const ExtentRecord& record : segment->extents())
      if (record.sequence == sequence + 1) {
        *hash = record.running_hash;
        return true;
      }
  }
  return false;
}

// PostgreSQL side. Where the log has the sequence of a record: its extent, or kFreedSequence. Another one is
// looked up again: the copy of the meta page may be so old that a map page serves later sequences by now.
uint32 PlaceOf(LogReader* reader, const ExtentRecord& record) {
  uint32 extent = ExtentOfSequence(reader, record.sequence);
  if (extent == kFreedSequence || extent == record.extent) return extent;
  RefreshLog(reader);
  return ExtentOfSequence(reader, record.sequence);
}

// PostgreSQL side. Whether every sequence of the segments' records that is not freed lies in the extent that
// they say. If so, *highest is the highest of those; null if none of them lives.
bool ComparePlaces(LogReader* reader, const IndexMapping& mapping, const ExtentRecord** highest) {
  *highest = nullptr;
  for (const auto& segment : mapping.segments) {
    CHECK_FOR_INTERRUPTS();
    for (const ExtentRecord& record : segment->extents()) {
      uint32 extent = PlaceOf(reader, record);
      if (extent == kFreedSequence) continue;
      if (extent != record.extent) return false;
      if (*highest == nullptr || record.sequence > (*highest)->sequence) *highest = &record;
    }
  }
  return true;
}

// Whether the manifest's log had these entries in the extent of a record, and the same ones before it.
bool SameContents(const IndexMapping& mapping, const ExtentRecord& record, const ExtentCopy& copy) {
  uint64 behind;
  return HashBehind(mapping, record.sequence, &behind) && copy.header.running_hash == record.running_hash &&
         RunningHash(record.running_hash, copy.slots, copy.header.used) == behind;
}

// C++ side. Checks the small sections of one segment, a small file wholly, and sets it aside if it fails.
Status VerifySections(const IndexMapping& mapping, const Segment& segment, bool* failed, Notices* notices) {
  bool whole = segment.file_size() <= kVerifyAtOnce;
  Status status = segment.Verify(whole ? Segment::Depth::kAll : Segment::Depth::kIndexed);
  if (status.code() != StatusCode::kCorruption) return status;
  *failed = true;
  return SetAside(mapping.manifest, mapping.generation, {segment.id()}, status.message(), notices);
}

// C++ side. The next segment's entries, to be compared with the log. Sets it aside where they cannot be read.
Status PrepareSegment(const IndexMapping& mapping, GenerationProof* proof, bool* failed, Notices* notices) {
  const Segment& segment = *mapping.segments[proof->segment];
  Result<SlotSet> slots = SlotSet::Of(segment);
  Status status = slots.ok() ? segment.CheckReadable() : slots.status();
  *failed = status.code() == StatusCode::kCorruption;
  if (*failed)
    return SetAside(mapping.manifest, mapping.generation, {segment.id()}, status.message(), notices);
  VECCKPT_RETURN_IF_ERROR(status);
  proof->slots = std::move(*slots);
  proof->next_sequence = proof->fetched = segment.range().begin / segment.header().slots_per_extent;
  proof->prepared = true;
  return Status::Ok();
}

// Whether a segment has every live entry that a sequence has within its range.
bool HasAllLiving(const Segment& segment, const SlotSet& has, uint64 sequence, const ExtentCopy& copy) {
  uint32 slots = segment.header().slots_per_extent;
  PositionRange range = segment.range();
  const ExtentRecord* record = segment.ExtentOf(uint64{copy.header.extent} * slots);
  bool known =
      record != nullptr && record->sequence == sequence && record->running_hash == copy.header.running_hash;
  size_t extent = known ? record - segment.extents().data() : 0;
  for (uint32 slot = 0; slot < copy.header.used; slot++) {
    uint64 position = sequence * slots + slot;
    if (position < range.begin || position >= range.end || (copy.slots[slot].flags & kSlotDead)) continue;
    if (!known || !has.Has(extent, slot)) return false;
  }
  return true;
}

enum class Completeness { kComplete, kIncomplete, kUnfinished };

// PostgreSQL side. Goes on comparing a prepared segment with the log, to its end or, with `slice`, for a
// while.
Completeness CompareWithLog(LogReader* reader, const Segment& segment, GenerationProof* proof, bool slice) {
  Moment deadline = Now() + std::chrono::milliseconds{kSliceMilliseconds};
  ExtentCopy* copy = static_cast<ExtentCopy*>(palloc(sizeof(ExtentCopy)));
  Completeness verdict = Completeness::kComplete;
  uint64 slots = segment.header().slots_per_extent;
  uint64 end = (segment.range().end + slots - 1) / slots;
  proof->next_sequence = Max(proof->next_sequence, reader->meta->first_sequence);
  for (; proof->next_sequence < end; proof->next_sequence++) {
    CHECK_FOR_INTERRUPTS();
    if (slice && Now() >= deadline) {
      verdict = Completeness::kUnfinished;
      break;
    }
    uint64 sequence = proof->next_sequence;
    for (proof->fetched = Max(proof->fetched, sequence); proof->fetched < Min(end, sequence + kFetchAhead);
         proof->fetched++)
      FetchDirectory(reader, proof->fetched);
    if (!ReadDirectory(reader, sequence, copy) || HasAllLiving(segment, proof->slots, sequence, *copy))
      continue;
    verdict = Completeness::kIncomplete;
    break;
  }
  pfree(copy);
  return verdict;
}

// Which part of the proof ended it.
enum class Proof { kProved, kSetAside, kUnfinished };

// The small sections of every segment.
Proof ProveSections(const IndexMapping& mapping, GenerationProof* proof) {
  bool failed = false;
  for (const auto& segment : mapping.segments) {
    CHECK_FOR_INTERRUPTS();
    Notices notices;
    Failure failure = Guard([&] { return VerifySections(mapping, *segment, &failed, &notices); });
    notices.Emit();
    ThrowIfFailed(failure);
    if (failed) return Proof::kSetAside;
  }
  proof->sections = true;
  return Proof::kProved;
}

// PrepareSegment; false where the segment has been set aside.
bool Prepare(const IndexMapping& mapping, GenerationProof* proof) {
  bool failed = false;
  Notices notices;
  Failure failure = Guard([&] { return PrepareSegment(mapping, proof, &failed, &notices); });
  notices.Emit();
  ThrowIfFailed(failure);
  return !failed;
}

// The completeness of every segment; sets those aside that lack something.
Proof ProveCompleteness(LogReader* reader, const IndexMapping& mapping, GenerationProof* proof, bool slice) {
  VECCKPT_FAULT_POINT_RAISE(ValidateCompare);
  for (; proof->segment < mapping.segments.size(); proof->segment++, proof->prepared = false) {
    CHECK_FOR_INTERRUPTS();
    const Segment& segment = *mapping.segments[proof->segment];
    if (!proof->prepared && !Prepare(mapping, proof)) return Proof::kSetAside;
    Completeness verdict = CompareWithLog(reader, segment, proof, slice);
    if (verdict == Completeness::kUnfinished) return Proof::kUnfinished;
    if (verdict == Completeness::kIncomplete)
      ThrowIfFailed(Guard([&] {
        proof->lacking.push_back(segment.id());
        return Status::Ok();
      }));
  }
  if (proof->lacking.empty()) return Proof::kProved;
  Notices notices;
  Failure failure = Guard([&] {
    return SetAside(mapping.manifest, mapping.generation, proof->lacking,
                    "it lacks entries of the index's log", &notices);
  });
  notices.Emit();
  ThrowIfFailed(failure);
  return Proof::kSetAside;
}

// All that comes behind CheckCoverage. Goes on with `proof`, or begins it anew for another generation.
Proof Prove(const IndexKey& key, LogReader* reader, const IndexMapping& mapping, GenerationProof* proof,
            bool slice) {
  if (!SameGeneration(proof->generation, mapping.generation))
    ThrowIfFailed(Guard([&] {
      *proof = GenerationProof();
      proof->generation = mapping.generation;
      return Status::Ok();
    }));
  Proof result = proof->sections ? Proof::kProved : ProveSections(mapping, proof);
  if (result == Proof::kProved) result = ProveCompleteness(reader, mapping, proof, slice);
  if (result != Proof::kProved) return result;
  ThrowIfFailed(Guard([&] {
    *proof = GenerationProof();  // it is large
    return Status::Ok();
  }));
  bool all = true;
  for (const auto& segment : mapping.segments) all = all && segment->file_size() <= kVerifyAtOnce;
  ChangeEntry(key, [&](IndexFields& f) {
    if (!SameGeneration(f.current, mapping.generation)) return;
    f.validated = true;
    if (all) f.verified = true;
  });
  VECCKPT_FAULT_POINT_RAISE(Validated);
  return result;
}

void DestroyProof(void* argument) {
  delete static_cast<GenerationProof*>(argument);
}

// A proof that lives as long as the current memory context.
GenerationProof* NewProof() {
  auto* callback = static_cast<MemoryContextCallback*>(palloc0(sizeof(MemoryContextCallback)));
  GenerationProof* proof = nullptr;
  ThrowIfFailed(Guard([&] {
    proof = new GenerationProof;
    return Status::Ok();
  }));
  callback->func = DestroyProof;
  callback->arg = proof;
  MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
  return proof;
}

// Prove with a proof of its own, to the end.
Proof ProveAtOnce(const IndexKey& key, LogReader* reader, const IndexMapping& mapping) {
  MemoryContext context =
      AllocSetContextCreate(CurrentMemoryContext, "vhnsw validation", ALLOCSET_DEFAULT_SIZES);
  MemoryContext caller = MemoryContextSwitchTo(context);
  Proof result = Prove(key, reader, mapping, NewProof(), false);
  MemoryContextSwitchTo(caller);
  MemoryContextDelete(context);
  return result;
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
  const ExtentRecord* highest;
  bool same;
  for (;;) {
    same = ComparePlaces(reader, mapping, &highest);
    if (!same) break;
    if (ReadDirectory(reader, (end - 1) / slots, copy)) {
      uint32 count = static_cast<uint32>((end - 1) % slots + 1);
      same = copy->header.used >= count &&
             RunningHash(copy->header.running_hash, copy->slots, count) == mapping.manifest.coverage_hash();
      break;
    }
    // The extent at the coverage's end is gone. Where none lives nothing of the segments is ever returned.
    if (highest == nullptr) break;
    if (ReadDirectory(reader, highest->sequence, copy)) {
      same = SameContents(mapping, *highest, *copy);
      break;
    }
    RefreshLog(reader);  // freed since its place was looked up
  }
  pfree(copy);
  return same ? Coverage::kValid : Coverage::kInvalid;
}

Validation MapValidated(Relation index, LogReader* reader, std::shared_ptr<const IndexMapping>* mapping,
                        GenerationProof* proof) {
  IndexKey key = KeyOf(index);
  const MetaPage* meta = reader->meta;
  if (!EnsureEntry(key, meta->identity, RelationGetRelid(index), index->rd_rel->relpersistence))
    return Validation::kDone;
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    bool validated = false;
    Notices notices;
    Failure failure = Guard(
        [&] { return MapIndex(key, meta->identity, GeometryOf(*meta), mapping, &validated, &notices); });
    notices.Emit();
    ThrowIfFailed(failure);
    if (validated || *mapping == nullptr) return Validation::kDone;
    VECCKPT_FAULT_POINT_RAISE(Validate);
    const IndexMapping& mapped = **mapping;
    bool goes_on =
        proof != nullptr && proof->sections && SameGeneration(proof->generation, mapped.generation);
    Coverage coverage = goes_on ? Coverage::kValid : CheckCoverage(reader, mapped);
    Proof proved = Proof::kUnfinished;
    if (coverage == Coverage::kValid)
      proved = proof != nullptr ? Prove(key, reader, mapped, proof, true) : ProveAtOnce(key, reader, mapped);
    if (proved == Proof::kProved) return Validation::kDone;
    failure = Guard([&] {
      if (coverage == Coverage::kInvalid)
        return SetAside(mapped.manifest, mapped.generation, {}, "it does not match the index's log",
                        &notices);
      if (proved == Proof::kUnfinished) mapping->reset();
      return Status::Ok();
    });
    notices.Emit();
    ThrowIfFailed(failure);
    if (coverage == Coverage::kDeferred) return Validation::kDeferred;
    if (coverage == Coverage::kValid && proved == Proof::kUnfinished) return Validation::kUnfinished;
  }
}

}  // namespace vecckpt
