// See entry_reader.hpp.

#include "pg/entry_reader.hpp"

namespace vecckpt {

EntryRun* NewEntryRun(const LogReader& reader) {
  uint32 slots = reader.meta->slots_per_extent;
  EntryRun* run = static_cast<EntryRun*>(palloc0(sizeof(EntryRun)));
  run->vectors = static_cast<float*>(palloc(uint64{slots} * reader.meta->vector_bytes));
  run->ordinals = static_cast<uint64*>(palloc(slots * sizeof(uint64)));
  return run;
}

uint64 ReadRun(LogReader* reader, uint64 begin, uint64 end, EntryRun* run) {
  uint32 slots = reader->meta->slots_per_extent;
  uint32 dims = reader->meta->dims;
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
        memcpy(run->vectors + uint64{run->count} * dims, run->vectors + uint64{slot - from} * dims,
               reader->meta->vector_bytes);
      run->ordinals[run->count++] = uint64{header.extent} * slots + slot;
    }
  }
  run->found = true;
  run->extent = {sequence, header.running_hash, header.extent, 0};
  run->end_hash = RunningHash(header.running_hash, run->copy.slots, to);
  return next;
}

}  // namespace vecckpt
