// The manifest: the segment list of one generation of one index, as one small checksummed file.
//
//   ManifestHeader (fixed size) · ManifestSegment x segment_count · uint64 XXH3 of everything before
//
// Native byte order; the magic differs on the other one. Segments are ordered by range and do not overlap.
// Parse trusts nothing: sizes, counts, order, enum values and the checksum are checked.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/status.hpp"
#include "hnsw/types.hpp"
#include "segment/names.hpp"
#include "segment/segment_format.hpp"

namespace vecckpt {

constexpr uint64_t kManifestMagic = 0x3154'464E'4D43'4556;  // "VECMNFT1" in memory, little-endian
constexpr uint32_t kManifestVersion = 2;
constexpr uint32_t kMaxManifestSegments = 100000;
// No manifest is larger; a longer file is corrupt.
constexpr size_t kMaxManifestSize = 16 << 20;

// What of the index decides the shape of its segments.
struct Geometry {
  uint32_t dims = 0;
  uint32_t m = 0;
  uint32_t ef_construction = 0;
  uint32_t slots_per_extent = 0;
  Metric metric = Metric::kL2;
  ElementType element_type = ElementType::kFloat32;
  CodeKind code_kind = CodeKind::kNone;
  bool operator==(const Geometry&) const = default;
};

struct ManifestSegment {
  uint64_t id = 0;
  PositionRange range;
  uint64_t file_size = 0;
  uint64_t header_checksum = 0;  // SegmentHeader::checksum
  uint64_t entry_count = 0;
  uint64_t max_lsn = 0;
  uint64_t end_hash = 0;  // running hash of the log at range.end
  uint32_t node_count = 0;
  SegmentKind kind = SegmentKind::kFlat;
  uint32_t orphan_count = 0;
  uint32_t repaired = 0;
  uint32_t stride = 0;
  uint32_t reserved = 0;
  uint64_t liveness_id = 0;  // of its liveness bitmap; 0: none, as no entry was known to be dead
  bool operator==(const ManifestSegment&) const = default;
};

struct Manifest {
  IndexKey key;
  uint64_t identity = 0;
  uint64_t manifest_id = 0;  // random, the name of the generation's file
  uint64_t generation = 0;
  uint32_t index_oid = 0;
  char persistence = 'p';  // 'p' permanent, 'u' unlogged
  Geometry geometry;
  std::vector<ManifestSegment> segments;  // by range

  // Highest covered position + 1; 0 without segments.
  uint64_t coverage_end() const { return segments.empty() ? 0 : segments.back().range.end; }
  // The running hash at coverage_end(); 0 without segments.
  uint64_t coverage_hash() const { return segments.empty() ? 0 : segments.back().end_hash; }
  // The WAL position that must be flushed before this manifest may be durable.
  uint64_t max_lsn() const;
};

std::vector<std::byte> SerializeManifest(const Manifest& manifest);
// `name` is for messages.
Result<Manifest> ParseManifest(Bytes bytes, const std::string& name);
// Reads and parses a manifest file; kNotFound, kCorruption, kUnsupported.
Result<Manifest> ReadManifest(const std::string& path);

// What a finished segment contributes to a manifest.
ManifestSegment Describe(const SegmentHeader& header);

}  // namespace vecckpt
