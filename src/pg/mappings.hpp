// The segments of an index as this process maps them.
//
// The process keeps one IndexMapping for each index it touched lately; scans and jobs hold references of
// their own, so that a later generation never takes a file away from under them.

#pragma once

#include "pg/generation.hpp"
#include "pg/log_read.hpp"

#include <memory>

#include "segment/liveness_bitmap.hpp"
#include "segment/segment.hpp"

namespace vecckpt {

struct IndexMapping {
  uint64 identity = 0;
  Generation generation = {0, 0};
  Manifest manifest;
  std::vector<std::shared_ptr<const Segment>> segments;         // by range
  std::vector<std::shared_ptr<const LivenessBitmap>> liveness;  // of each; null where there is none
};

Geometry GeometryOf(const MetaPage& meta);

// C++ side. kCorruption unless the segment is the one that the manifest lists so.
Status MatchManifest(const Segment& segment, const ManifestSegment& listed, const Manifest& manifest);

// C++ side. The current generation, mapped. An empty mapping (no segments) where there is none or what there
// was had to be set aside; null if the index has no entry. Segments are matched with the manifest, the
// manifest with the geometry. *validated: it has been compared with the log (see validation.hpp).
Status MapIndex(const IndexKey& key, uint64 identity, const Geometry& geometry,
                std::shared_ptr<const IndexMapping>* mapping, bool* validated, Notices* notices);

// Forgets what this process has mapped of an index.
void ForgetMapping(const IndexKey& key);

// At each transaction's end: forgets generations that have been replaced, so that a pooled connection does
// not keep the disk space of files that are long removed. One that stays idle is asked to (mapping_holders).
void InstallMappingPruning();

}  // namespace vecckpt
