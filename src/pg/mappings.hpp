// The segments of an index as this process maps them, and how a generation is checked before its first use.
//
// The process keeps one IndexMapping for each index it touched lately; scans and jobs hold references of
// their own, so that a later generation never takes a file away from under them.

#pragma once

#include "pg/generation.hpp"
#include "pg/log_read.hpp"

#include <memory>

#include "segment/segment.hpp"

namespace vecckpt {

struct IndexMapping {
  uint64 identity = 0;
  Generation generation = {0, 0};
  Manifest manifest;
  std::vector<std::shared_ptr<const Segment>> segments;  // by range
};

Geometry GeometryOf(const MetaPage& meta);

enum class Coverage { kValid, kDeferred, kInvalid };

// PostgreSQL side. The current generation of an index, mapped, matched with its manifest and geometry, and
// compared with the log: nothing covered past the log's end, and the running hash at the highest covered
// extent that still lives is what the segments were built from. What fails is set aside with a LOG line.
// *mapping lives on the C++ heap; it is an empty mapping where there are no segments, null where the index
// cannot have any (no room in shared memory) or, with kDeferred, where replay has not got as far as the
// segments.
Coverage MapValidated(Relation index, LogReader* reader, std::shared_ptr<const IndexMapping>* mapping);

// Forgets what the process has mapped of an index.
void ForgetMapping(const IndexKey& key);

}  // namespace vecckpt
