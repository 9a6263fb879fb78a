// The segment file.
//
//   +--------------------+ 0
//   | header page        | 4096 bytes: SegmentHeader, rest zero
//   +--------------------+ 4096, every section 64-byte aligned, in the order of SectionKind, gaps zero
//   | codec              | parameters of the codec
//   | codes              | node_count x stride bytes
//   | links0             | node_count x 2m x uint32            (graph segments only)
//   | upper              | UpperHeader, uint32 nodes[node_count], offsets[node_count + 1],
//   |                    | links[list_count x m]               (graph segments only)
//   | entries            | uint32 offsets[node_count + 1], padding to 8 bytes, uint64 ordinals[entry_count]
//   | orphans            | uint32 nodes[], ascending
//   | extents            | ExtentRecord[], ascending by extent
//   +--------------------+ file_size
//
// A section begins at the first aligned byte behind the one before it; one that was left out is empty.
// `upper` may be left out where no node has upper levels.
//
// `header.checksum` covers the header page with this field 0; each section has its own checksum. Native byte
// order: the magic number differs on a machine of the other order, and such a file is set aside and rebuilt.
// A reader checks every size by subtraction before it uses it.

#pragma once

#include <cstdint>

#include "base/bytes.hpp"
#include "hnsw/types.hpp"

namespace vecckpt {

constexpr uint64_t kSegmentMagic = 0x3154'4745'5343'4556;  // "VECSEGT1" in memory, little-endian
constexpr uint32_t kSegmentVersion = 1;
constexpr uint64_t kSegmentHeaderSize = 4096;
constexpr uint64_t kSectionAlignment = 64;

enum class SectionKind : uint32_t { kCodec, kCodes, kLinks0, kUpper, kEntries, kOrphans, kExtents };
constexpr uint32_t kSectionCount = 7;

enum class SegmentKind : uint32_t { kFlat = 1, kGraph = 2 };

// Positions begin <= p < end.
struct PositionRange {
  uint64_t begin = 0;
  uint64_t end = 0;
  bool operator==(const PositionRange&) const = default;
};

struct SectionRecord {
  uint64_t offset;
  uint64_t size;
  uint64_t checksum;
};

// Where the entries of a sequence lie. `running_hash` is the directory page's: it covers all earlier
// sequences, and lets a loaded segment be compared with the log after later extents are gone.
struct ExtentRecord {
  uint64_t sequence;
  uint64_t running_hash;
  uint32_t extent;
  uint32_t reserved;
};
static_assert(sizeof(ExtentRecord) == 24);

struct UpperHeader {
  uint32_t node_count;  // nodes with upper levels
  uint32_t list_count;  // lists of m ranks
};

struct SegmentHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t header_size;
  uint64_t checksum;
  uint64_t identity;    // of the index's log
  uint64_t segment_id;  // random
  uint64_t file_size;
  PositionRange range;
  uint64_t end_hash;     // running hash of the log at range.end
  uint64_t max_lsn;      // highest LSN of a log page that was read for this segment
  uint64_t entry_count;  // ordinals in `entries`
  uint32_t kind;         // SegmentKind
  uint32_t dims;
  uint32_t m;
  uint32_t ef_construction;
  uint32_t slots_per_extent;
  uint32_t node_count;
  uint32_t stride;
  uint32_t entry_node;
  uint32_t entry_rank;
  uint32_t max_level;
  uint8_t metric;        // Metric
  uint8_t element_type;  // ElementType
  uint8_t code_kind;     // CodeKind
  uint8_t reserved[5];
  uint32_t repaired;     // nodes that the reachability repair linked in
  uint32_t empty_nodes;  // nodes without entries, which an absorb keeps for their links
  SectionRecord sections[kSectionCount];
};
static_assert(sizeof(SegmentHeader) <= kSegmentHeaderSize);

// What `checksum` in a header page must be: over the whole page, that field taken as 0.
// REQUIRES: kSegmentHeaderSize bytes.
uint64_t HeaderPageChecksum(Bytes page);

}  // namespace vecckpt
