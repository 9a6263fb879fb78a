// Serializing and parsing manifests.

#include "segment/manifest.hpp"

#include <algorithm>
#include <cstring>

#include "base/checksum.hpp"
#include "os/file.hpp"

namespace vecckpt {

namespace {

constexpr uint32_t kMinM = 2;
constexpr uint32_t kMaxM = 100;

struct ManifestHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t header_size;
  uint32_t database;
  uint32_t tablespace;
  uint32_t relation;
  uint32_t index_oid;
  uint64_t identity;
  uint64_t manifest_id;
  uint64_t generation;
  uint32_t dims;
  uint32_t m;
  uint32_t ef_construction;
  uint32_t slots_per_extent;
  uint8_t metric;
  uint8_t element_type;
  uint8_t code_kind;
  char persistence;
  uint32_t segment_count;
};
static_assert(sizeof(ManifestHeader) == 80);
static_assert(sizeof(ManifestSegment) == 96);
static_assert(sizeof(ManifestHeader) + kMaxManifestSegments * sizeof(ManifestSegment) + sizeof(uint64_t) <=
              kMaxManifestSize);

Status Corrupt(const std::string& name, const std::string& detail) {
  return Status::Corruption("manifest \"" + name + "\" is corrupt: " + detail);
}

Status Unsupported(const std::string& name, const std::string& detail) {
  return Status::Unsupported("manifest \"" + name + "\" has " + detail);
}

// Magic, version, length and checksum.
Result<ManifestHeader> ReadHeader(Bytes bytes, const std::string& name) {
  if (bytes.size() > kMaxManifestSize) return Corrupt(name, "longer than any manifest");
  if (bytes.size() < sizeof(ManifestHeader) + sizeof(uint64_t)) {
    return Corrupt(name, "its " + std::to_string(bytes.size()) + " bytes are too short");
  }
  ManifestHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.magic != kManifestMagic) return Unsupported(name, "an unknown magic number");
  if (header.version != kManifestVersion) {
    return Unsupported(name, "format version " + std::to_string(header.version) + ", not " +
                                 std::to_string(kManifestVersion));
  }
  uint64_t checksum;
  const Bytes covered = bytes.first(bytes.size() - sizeof(checksum));
  std::memcpy(&checksum, bytes.data() + covered.size(), sizeof(checksum));
  if (Checksum(covered) != checksum) return Corrupt(name, "checksum mismatch");
  if (header.header_size != sizeof(header)) return Corrupt(name, "wrong header size");
  if (header.segment_count > kMaxManifestSegments ||
      covered.size() - sizeof(header) != uint64_t{header.segment_count} * sizeof(ManifestSegment)) {
    return Corrupt(name, "wrong number of segments");
  }
  return header;
}

Status CheckHeader(const ManifestHeader& header, const std::string& name) {
  if (header.metric < static_cast<uint8_t>(Metric::kL2) ||
      header.metric > static_cast<uint8_t>(Metric::kL1)) {
    return Unsupported(name, "unknown metric " + std::to_string(header.metric));
  }
  if (!IsElementType(header.element_type)) {
    return Unsupported(name, "unknown element type " + std::to_string(header.element_type));
  }
  if (!IsCodeKind(header.code_kind)) {
    return Unsupported(name, "unknown code kind " + std::to_string(header.code_kind));
  }
  if (header.persistence != 'p' && header.persistence != 'u') return Corrupt(name, "unknown persistence");
  if (header.m < kMinM || header.m > kMaxM) return Corrupt(name, "m is " + std::to_string(header.m));
  // Dimensions and extents are known from the first vector on, and so wherever there is a segment.
  if (header.dims > kMaxDims ||
      (header.segment_count > 0 && (header.dims == 0 || header.slots_per_extent == 0))) {
    return Corrupt(name, std::to_string(header.dims) + " dimensions, " +
                             std::to_string(header.slots_per_extent) + " slots in an extent");
  }
  return Status::Ok();
}

Status CheckSegment(const ManifestSegment& segment, const std::string& name) {
  if (segment.kind != SegmentKind::kFlat && segment.kind != SegmentKind::kGraph) {
    return Unsupported(name, "unknown segment kind " + std::to_string(static_cast<uint32_t>(segment.kind)));
  }
  if (segment.range.begin > segment.range.end) return Corrupt(name, "a segment ends before it begins");
  if (segment.file_size < kSegmentHeaderSize) return Corrupt(name, "a segment is shorter than its header");
  if (segment.stride == 0 || segment.stride % kSectionAlignment != 0) {
    return Corrupt(name, "a segment has stride " + std::to_string(segment.stride));
  }
  if (segment.orphan_count > segment.node_count) return Corrupt(name, "a segment has too many orphans");
  return Status::Ok();
}

Status CheckSegments(const std::vector<ManifestSegment>& segments, const std::string& name) {
  std::vector<uint64_t> ids;
  uint64_t end = 0;
  for (const ManifestSegment& segment : segments) {
    VECCKPT_RETURN_IF_ERROR(CheckSegment(segment, name));
    if (segment.range.begin < end) return Corrupt(name, "segments overlap or are out of order");
    end = segment.range.end;
    ids.push_back(segment.id);
  }
  std::sort(ids.begin(), ids.end());
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end()) {
    return Corrupt(name, "a segment is listed twice");
  }
  return Status::Ok();
}

Manifest FromHeader(const ManifestHeader& header) {
  Manifest manifest;
  manifest.key = {header.database, header.tablespace, header.relation};
  manifest.identity = header.identity;
  manifest.manifest_id = header.manifest_id;
  manifest.generation = header.generation;
  manifest.index_oid = header.index_oid;
  manifest.persistence = header.persistence;
  manifest.geometry = {.dims = header.dims,
                       .m = header.m,
                       .ef_construction = header.ef_construction,
                       .slots_per_extent = header.slots_per_extent,
                       .metric = static_cast<Metric>(header.metric),
                       .element_type = static_cast<ElementType>(header.element_type),
                       .code_kind = static_cast<CodeKind>(header.code_kind)};
  return manifest;
}

ManifestHeader ToHeader(const Manifest& manifest) {
  const Geometry& geometry = manifest.geometry;
  return {.magic = kManifestMagic,
          .version = kManifestVersion,
          .header_size = sizeof(ManifestHeader),
          .database = manifest.key.database,
          .tablespace = manifest.key.tablespace,
          .relation = manifest.key.relation,
          .index_oid = manifest.index_oid,
          .identity = manifest.identity,
          .manifest_id = manifest.manifest_id,
          .generation = manifest.generation,
          .dims = geometry.dims,
          .m = geometry.m,
          .ef_construction = geometry.ef_construction,
          .slots_per_extent = geometry.slots_per_extent,
          .metric = static_cast<uint8_t>(geometry.metric),
          .element_type = static_cast<uint8_t>(geometry.element_type),
          .code_kind = static_cast<uint8_t>(geometry.code_kind),
          .persistence = manifest.persistence,
          .segment_count = static_cast<uint32_t>(manifest.segments.size())};
}

// Copies `bytes` to `to` and returns what follows them there.
std::byte* Put(std::byte* to, Bytes bytes) {
  if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
  return to + bytes.size();
}

}  // namespace

uint64_t Manifest::max_lsn() const {
  uint64_t lsn = 0;
  for (const ManifestSegment& segment : segments) lsn = std::max(lsn, segment.max_lsn);
  return lsn;
}

std::vector<std::byte> SerializeManifest(const Manifest& manifest) {
  const Bytes segments = AsBytes(std::span<const ManifestSegment>(manifest.segments));
  const size_t covered = sizeof(ManifestHeader) + segments.size();
  std::vector<std::byte> bytes(covered + sizeof(uint64_t));
  std::byte* to = Put(bytes.data(), AsBytes(ToHeader(manifest)));
  to = Put(to, segments);
  Put(to, AsBytes(Checksum(Bytes(bytes).first(covered))));
  return bytes;
}

Result<Manifest> ParseManifest(Bytes bytes, const std::string& name) {
  const Result<ManifestHeader> header = ReadHeader(bytes, name);
  if (!header.ok()) return header.status();
  VECCKPT_RETURN_IF_ERROR(CheckHeader(*header, name));

  Manifest manifest = FromHeader(*header);
  manifest.segments.resize(header->segment_count);
  const Bytes segments =
      bytes.subspan(sizeof(ManifestHeader), header->segment_count * sizeof(ManifestSegment));
  if (!segments.empty()) std::memcpy(manifest.segments.data(), segments.data(), segments.size());
  VECCKPT_RETURN_IF_ERROR(CheckSegments(manifest.segments, name));
  return manifest;
}

Result<Manifest> ReadManifest(const std::string& path) {
  const Result<std::vector<std::byte>> bytes = ReadFile(path, kMaxManifestSize);
  if (!bytes.ok()) return bytes.status();
  return ParseManifest(*bytes, path);
}

ManifestSegment Describe(const SegmentHeader& header) {
  const uint64_t orphans_size = header.sections[static_cast<uint32_t>(SectionKind::kOrphans)].size;
  return {.id = header.segment_id,
          .range = header.range,
          .file_size = header.file_size,
          .header_checksum = header.checksum,
          .entry_count = header.entry_count,
          .max_lsn = header.max_lsn,
          .end_hash = header.end_hash,
          .node_count = header.node_count,
          .kind = static_cast<SegmentKind>(header.kind),
          .orphan_count = static_cast<uint32_t>(orphans_size / sizeof(uint32_t)),
          .repaired = header.repaired,
          .stride = header.stride};
}

}  // namespace vecckpt
