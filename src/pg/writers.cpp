// See writers.hpp.

#include "pg/writers.hpp"

#include "pg/shared_state.hpp"

#include <algorithm>

#include "base/checksum.hpp"

namespace vecckpt {
namespace {

// At one time: a CREATE INDEX or a job for a temporary table, and a publication within.
constexpr int kWritersOfProcess = 2;

uint32* families = nullptr;  // in shared memory, guarded by the LWLock; 0: a free place

}  // namespace

int MaxWriters() {
  return kWritersOfProcess * MaxBackends + kMaxBuilders * kMostJobs;
}

Size WritersSize() {
  return mul_size(sizeof(uint32), static_cast<Size>(MaxWriters()));
}

void AttachWriters() {
  bool found;
  families = static_cast<uint32*>(ShmemInitStruct("vecckpt writers", WritersSize(), &found));
  if (!found) memset(families, 0, WritersSize());
}

Result<std::unique_ptr<Writer>> Writer::Register() {
  Result<uint64_t> id = RandomId();
  while (id.ok() && FamilyOf(*id) == 0) id = RandomId();
  if (!id.ok()) return id.status();
  std::unique_ptr<Writer> writer(new Writer(-1, *id));
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  for (int i = 0; i < MaxWriters() && writer->place_ < 0; i++) {
    if (families[i] != 0) continue;
    families[i] = FamilyOf(*id);
    writer->place_ = i;
  }
  LWLockRelease(shared->lock);
  if (writer->place_ < 0) return Status::Internal("too many files are being written");
  return writer;
}

Writer::~Writer() {
  if (place_ < 0) return;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  families[place_] = 0;
  LWLockRelease(shared->lock);
}

uint64 Writer::NewId() {
  uint64 id = next_id_;
  // Within the family: the lower half begins anew behind its end.
  next_id_ = (uint64{FamilyOf(id)} << 32) | static_cast<uint32>(id + 1);
  return id;
}

std::vector<uint32> WriterFamilies() {
  std::vector<uint32> copy(static_cast<size_t>(MaxWriters()));
  LWLockAcquire(shared->lock, LW_SHARED);
  std::copy_n(families, copy.size(), copy.begin());
  LWLockRelease(shared->lock);
  std::sort(copy.begin(), copy.end());
  copy.erase(copy.begin(), std::upper_bound(copy.begin(), copy.end(), 0u));
  return copy;
}

}  // namespace vecckpt
