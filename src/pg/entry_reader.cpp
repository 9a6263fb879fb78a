// See entry_reader.hpp.

#include "pg/entry_reader.hpp"

#include "pg/wall.hpp"

namespace vecckpt {

EntryRun* NewEntryRun(const LogReader& reader) {
  uint32 slots = reader.meta->slots_per_extent;
  EntryRun* run = static_cast<EntryRun*>(palloc0(sizeof(EntryRun)));
  run->vectors = static_cast<char*>(palloc(uint64{slots} * reader.meta->vector_bytes));
  if (static_cast<ElementType>(reader.meta->element_type) != ElementType::kFloat32)
    run->floats = static_cast<float*>(palloc(uint64{slots} * reader.meta->dims * sizeof(float)));
  run->ordinals = static_cast<uint64*>(palloc(slots * sizeof(uint64)));
  return run;
}

uint64 ReadRun(LogReader* reader, uint64 begin, uint64 end, EntryRun* run) {
  uint32 slots = reader->meta->slots_per_extent;
  uint64 size = reader->meta->vector_bytes;
  uint64 sequence = begin / slots;
  uint64 next = Min(end, (sequence + 1) * slots);
  uint32 from = begin % slots;
  uint32 to = static_cast<uint32>(next - sequence * slots);
  run->count = 0;
  run->found = false;
  run->end_hash = 0;
  if (!ReadDirectory(reader, sequence, &run->copy)) return next;

  const DirectoryHeader& header = run->copy.header;
  to = Min(to, header.used);
  if (from < to && header.live > 0) {
    if (!ReadVectors(reader, header.extent, sequence, from, to, run->vectors)) return next;
    for (uint32 slot = from; slot < to; slot++) {
      if (run->copy.slots[slot].flags & kSlotDead) continue;
      if (run->count != slot - from)
        memcpy(run->vectors + run->count * size, run->vectors + (slot - from) * size, size);
      run->ordinals[run->count++] = uint64{header.extent} * slots + slot;
    }
  }
  run->found = true;
  run->extent = {sequence, header.running_hash, header.extent, 0};
  run->end_hash = RunningHash(header.running_hash, run->copy.slots, to);
  return next;
}

const float* FloatsOf(const LogReader& reader, const EntryRun& run) {
  if (run.floats == nullptr) return reinterpret_cast<const float*>(run.vectors);
  for (uint32 i = 0; i < run.count; i++)
    ToFloats(VectorOf(reader, run, i), run.floats + uint64{i} * reader.meta->dims);
  return run.floats;
}

uint64 ReadBatch(LogReader* reader, PositionRange range, EntryBatch* batch) {
  uint32 dims = reader->meta->dims;
  EntryRun* run = NewEntryRun(*reader);
  uint64 end_hash = 0;
  for (uint64 position = range.begin; position < range.end;) {
    CHECK_FOR_INTERRUPTS();
    position = ReadRun(reader, position, range.end, run);
    end_hash = run->end_hash;
    if (!run->found) continue;
    const float* vectors = FloatsOf(*reader, *run);
    ThrowIfFailed(Guard([&] {
      batch->vectors.insert(batch->vectors.end(), vectors, vectors + uint64{run->count} * dims);
      batch->ordinals.insert(batch->ordinals.end(), run->ordinals, run->ordinals + run->count);
      batch->extents.push_back(run->extent);
      return Status::Ok();
    }));
  }
  return end_hash;
}

uint64 ReadLiveness(LogReader* reader, const Segment& segment, Liveness* liveness) {
  ExtentCopy* copy = static_cast<ExtentCopy*>(palloc(sizeof(ExtentCopy)));
  uint32 slots = reader->meta->slots_per_extent;
  PositionRange range = segment.range();
  uint64 live = 0;
  for (const ExtentRecord& record : segment.extents()) {
    CHECK_FOR_INTERRUPTS();
    if (!ReadDirectoryOf(reader, record.extent, record.sequence, copy)) continue;
    for (uint32 i = 0; i < copy->header.used; i++) {
      uint64 position = record.sequence * slots + i;
      if (position >= range.begin && position < range.end && !(copy->slots[i].flags & kSlotDead)) live++;
    }
    ThrowIfFailed(Guard([&] {
      liveness->SetExtent(record.extent, record.sequence, copy->header.used,
                          [copy](uint32_t slot) { return (copy->slots[slot].flags & kSlotDead) != 0; });
      return Status::Ok();
    }));
  }
  pfree(copy);
  return live;
}

}  // namespace vecckpt
