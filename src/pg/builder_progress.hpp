// What a builder's threads are at, in its slot of shared memory, for vec_progress. Threads count in atomics
// of their own (JobContext); the main thread copies these into the slot between visits, so what is seen there
// is as old as one nap of the builder, or one visit.

#pragma once

#include "pg/builder_work.hpp"

namespace vecckpt {

// PostgreSQL side. Shows the jobs that run now in the builder's slot.
void ShowJobs(const Builder* builder, int slot);

}  // namespace vecckpt
