// See builder_progress.hpp.

#include "pg/builder_progress.hpp"

#include <algorithm>
#include <optional>

namespace vecckpt {
namespace {

constexpr int64 kEpochs = (int64{POSTGRES_EPOCH_JDATE} - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

struct ShownJobs {
  int count;
  ShownJob jobs[kMaxShownJobs];
};

ShownJob Show(const RunningJob& job, const JobProgress& progress, TimestampTz now) {
  ShownJob shown = {};
  shown.index_oid = job.index_oid;
  strlcpy(shown.job, job.name, sizeof(shown.job));
  strlcpy(shown.phase, NameOf(progress.phase), sizeof(shown.phase));
  if (const char* unit = UnitOf(progress.phase)) {
    strlcpy(shown.unit, unit, sizeof(shown.unit));
    shown.total = progress.total;
    shown.done = std::min(progress.done, progress.total);
  }
  shown.started = progress.began - kEpochs;
  shown.phase_started = progress.phase_began - kEpochs;
  shown.seen = std::max(now, shown.phase_started);
  return shown;
}

// C++ side.
void LookAtJobs(const Builder* builder, TimestampTz now, ShownJobs* shown) {
  shown->count = 0;
  for (const auto& [id, job] : builder->jobs) {
    std::optional<JobProgress> progress = builder->pool->Progress(id);
    if (!progress || progress->phase == JobPhase::kQueued || shown->count == kMaxShownJobs) continue;
    shown->jobs[shown->count++] = Show(job, *progress, now);
  }
}

}  // namespace

void ShowJobs(const Builder* builder, int slot) {
  static bool shows = false;  // something, at present
  ShownJobs now = {};
  TimestampTz time = GetCurrentTimestamp();
  ThrowIfFailed(Guard([&] {
    LookAtJobs(builder, time, &now);
    return Status::Ok();
  }));
  if (now.count == 0 && !shows) return;
  shows = now.count > 0;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  memcpy(shared->builders[slot].jobs, now.jobs, sizeof(now.jobs));
  LWLockRelease(shared->lock);
}

}  // namespace vecckpt
