// See mapping_holders.hpp.
//
// A holder's place follows its process number, so it needs no lock, and no exit callback either: whoever has
// gone is not signalled, since the server compares the process id, and the next process in that place begins
// anew.

#include "pg/mapping_holders.hpp"

#include "pg/compat.hpp"
#include "pg/shared_state.hpp"

namespace vecckpt {
namespace {

struct Holder {
  pg_atomic_uint32 pid;     // 0: none
  pg_atomic_uint64 pruned;  // `published` when it last forgot what had been replaced
  pg_atomic_uint64 asked;   // `published` when it was last asked to
};

Holder* holders = nullptr;  // in shared memory, MaxBackends of them

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
    pg_atomic_init_u64(&holders[i].asked, 0);
  }
}

uint64 PublishedNow() {
  return pg_atomic_read_u64(&shared->published);
}

void BecomeHolder(uint64 published) {
  Holder* own = OwnPlace();
  if (own == nullptr || pg_atomic_read_u32(&own->pid) == static_cast<uint32>(MyProcPid)) return;
  pg_atomic_write_u64(&own->pruned, published);
  pg_atomic_write_u64(&own->asked, 0);
  pg_write_barrier();
  pg_atomic_write_u32(&own->pid, static_cast<uint32>(MyProcPid));
}

void NoteHolderPruned(uint64 published, bool empty) {
  Holder* own = OwnPlace();
  if (own == nullptr || pg_atomic_read_u32(&own->pid) != static_cast<uint32>(MyProcPid)) return;
  pg_atomic_write_u64(&own->pruned, published);
  if (empty) pg_atomic_write_u32(&own->pid, 0);
}

void AskHolders() {
  uint64 published = PublishedNow();
  for (int i = 0; i < MaxBackends; i++) {
    Holder* holder = &holders[i];
    pid_t pid = static_cast<pid_t>(pg_atomic_read_u32(&holder->pid));
    if (pid == 0 || pid == MyProcPid) continue;
    pg_read_barrier();
    if (pg_atomic_read_u64(&holder->pruned) >= published || pg_atomic_read_u64(&holder->asked) >= published)
      continue;
    pg_atomic_write_u64(&holder->asked, published);
    AskToCatchUp(pid, i);
  }
}

}  // namespace vecckpt
