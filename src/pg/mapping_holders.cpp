// See mapping_holders.hpp.
//
// A holder's place follows its process number, so it needs no lock, and no exit callback either: whoever has
// gone is not signalled, since the server compares the process id, and the next process in that place begins
// anew.

#include "pg/mapping_holders.hpp"

#include "pg/compat.hpp"

namespace vecckpt {
namespace {

struct Holder {
  pg_atomic_uint32 pid;     // 0: none
  pg_atomic_uint64 pruned;  // `published` when it last forgot what had been replaced
  pg_atomic_uint64 bits;    // of the keys that it has mapped
  pg_atomic_uint64 asked;   // up to where it was last asked to
};

Holder* holders = nullptr;  // in shared memory, MaxBackends of them

// `published` after the last replacement in these buckets.
uint64 LastReplaced(uint64 bits) {
  uint64 last = 0;
  for (int bucket = 0; bucket < kKeyBuckets; bucket++)
    if (bits & (uint64{1} << bucket)) last = Max(last, pg_atomic_read_u64(&shared->replaced[bucket]));
  return last;
}

Holder* OwnPlace() {
  int place = ProcessPlace();
  return place >= 0 && place < MaxBackends ? &holders[place] : nullptr;
}

}  // namespace

Size HoldersSize() {
  return mul_size(sizeof(Holder), static_cast<Size>(MaxBackends));
}

void AttachHolders() {
  bool found;
  holders = static_cast<Holder*>(ShmemInitStruct("vecckpt mapping holders", HoldersSize(), &found));
  if (found) return;
  for (int i = 0; i < MaxBackends; i++) {
    pg_atomic_init_u32(&holders[i].pid, 0);
    pg_atomic_init_u64(&holders[i].pruned, 0);
    pg_atomic_init_u64(&holders[i].bits, 0);
    pg_atomic_init_u64(&holders[i].asked, 0);
  }
}

uint64 PublishedNow() {
  return pg_atomic_read_u64(&shared->published);
}

void BecomeHolder(const IndexKey& key, uint64 published) {
  Holder* own = OwnPlace();
  if (own == nullptr) return;
  if (pg_atomic_read_u32(&own->pid) == static_cast<uint32>(MyProcPid)) {
    pg_atomic_write_u64(&own->bits,
                        pg_atomic_read_u64(&own->bits) | HolderBit(key));  // nobody else writes it
    return;
  }
  pg_atomic_write_u64(&own->pruned, published);
  pg_atomic_write_u64(&own->bits, HolderBit(key));
  pg_atomic_write_u64(&own->asked, 0);
  pg_write_barrier();
  pg_atomic_write_u32(&own->pid, static_cast<uint32>(MyProcPid));
}

void NoteHolderPruned(uint64 published, uint64 bits) {
  Holder* own = OwnPlace();
  if (own == nullptr || pg_atomic_read_u32(&own->pid) != static_cast<uint32>(MyProcPid)) return;
  pg_atomic_write_u64(&own->pruned, published);
  pg_atomic_write_u64(&own->bits, bits);
  if (bits == 0) pg_atomic_write_u32(&own->pid, 0);
}

void AskHolders() {
  for (int i = 0; i < MaxBackends; i++) {
    Holder* holder = &holders[i];
    pid_t pid = static_cast<pid_t>(pg_atomic_read_u32(&holder->pid));
    if (pid == 0 || pid == MyProcPid) continue;
    pg_read_barrier();
    uint64 replaced = LastReplaced(pg_atomic_read_u64(&holder->bits));
    if (pg_atomic_read_u64(&holder->pruned) >= replaced || pg_atomic_read_u64(&holder->asked) >= replaced)
      continue;
    pg_atomic_write_u64(&holder->asked, replaced);
    AskToCatchUp(pid, i);
  }
}

}  // namespace vecckpt
