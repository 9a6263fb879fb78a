// CREATE INDEX's second half: from a complete log to segments that cover all of it.
//
// The backend builds with the same jobs as a builder, in compute threads of its own, within
// maintenance_work_mem: the log is read into a flat segment, over which a graph is built; where one graph
// would not fit, the log is cut into several. It holds the index's locks, so that no builder works beside it.

#pragma once

#include "pg/pg.hpp"

namespace vecckpt {

// Builds and publishes the segments of `index`. `max_magnitude`: the largest |x_i| of its vectors. Every way
// out joins the threads; on an error no file stays.
void BuildSegments(Relation index, float max_magnitude);

}  // namespace vecckpt
