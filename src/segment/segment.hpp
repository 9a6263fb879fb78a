// An open segment: a mapped file whose header and section bounds have been checked.
//
// Open costs the same whatever the number of vectors: it checks the header (magic, version, checksum), that
// the file is as long as the header says, and that each section lies within it with the size that node_count,
// stride, m and entry_count demand. What the sections hold is checked by Verify, or when it is followed.
//
// Invariants: immutable but for what it knows of the page cache. Spans stay valid as long as the Segment.
// Thread safety: const methods from any thread.

#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "base/status.hpp"
#include "hnsw/codec.hpp"
#include "hnsw/graph_view.hpp"
#include "os/mapping.hpp"
#include "segment/segment_format.hpp"

namespace vecckpt {

class Segment {
 public:
  // kNotFound, kCorruption or kUnsupported (another version, kind or metric); messages name `path`.
  static Result<std::shared_ptr<const Segment>> Open(const std::string& path);

  const SegmentHeader& header() const { return header_; }
  SegmentKind kind() const { return static_cast<SegmentKind>(header_.kind); }
  const std::string& path() const { return path_; }
  uint64_t id() const { return header_.segment_id; }
  PositionRange range() const { return header_.range; }
  uint32_t node_count() const { return header_.node_count; }
  uint64_t entry_count() const { return header_.entry_count; }
  uint64_t file_size() const { return header_.file_size; }

  // What a search looks up in a graph's codes and links is read by itself from now on. True if some of it
  // would have to be read from the disk, as a look at a few pages shows: the first time, then now and then as
  // long as nothing is missing.
  bool ColdForSearch() const;

  // A page of it could not be read: what was read of it since may be zeros instead. Asked after reading.
  bool damaged() const { return mapping_.damaged(); }
  // kCorruption if it is damaged.
  Status CheckReadable() const;

  Bytes file() const { return mapping_.bytes(); }
  Bytes section(SectionKind kind) const;
  const Codec& codec() const { return *codec_; }
  Bytes codes() const { return section(SectionKind::kCodes); }
  const std::byte* code(uint32_t node) const { return codes().data() + uint64_t{node} * header_.stride; }
  // Empty view for a flat segment.
  const GraphView& graph() const { return graph_; }
  std::span<const uint32_t> orphans() const { return ViewAs<uint32_t>(section(SectionKind::kOrphans)); }
  std::span<const ExtentRecord> extents() const {
    return ViewAs<ExtentRecord>(section(SectionKind::kExtents));
  }

  // The ordinals of a node's entries; nullopt if the offsets there cannot be right. REQUIRES: node <
  // node_count.
  std::optional<std::span<const uint64_t>> OrdinalsOf(uint32_t node) const;
  // The extent record that an ordinal lies in; null if the segment has none for it.
  const ExtentRecord* ExtentOf(uint64_t ordinal) const;

  // Recomputes checksums, from the file, not the mapping; kCorruption names the section and the file, also
  // where the disk refuses to give it.
  // kIndexed: codec, entries and extents, and that their contents are in range and in order; what a loaded
  // segment is checked for before its first use. kAll: every section, and every link in range.
  enum class Depth { kIndexed, kAll };
  // `cancel`, if given, is polled every few megabytes: kCancelled.
  Status Verify(Depth depth, const std::atomic<bool>* cancel = nullptr) const;
  // The parts of Verify: one section's checksum, and what the sections hold. REQUIRES of the latter: the
  // checksums are right, or an error may name the wrong cause.
  Status VerifySection(SectionKind kind, const std::atomic<bool>* cancel = nullptr) const;
  Status VerifyContents(Depth depth, const std::atomic<bool>* cancel = nullptr) const;

 private:
  Segment() = default;
  Status VerifyIndexed(const std::atomic<bool>* cancel) const;
  Status VerifyRest(const std::atomic<bool>* cancel) const;

  std::string path_;
  Mapping mapping_;
  SegmentHeader header_{};
  std::unique_ptr<Codec> codec_;
  GraphView graph_;
  std::span<const uint32_t> entry_offsets_;
  std::span<const uint64_t> ordinals_;

  mutable std::atomic<uint32_t> searches_{0};
  mutable std::atomic<bool> cold_{false};
};

}  // namespace vecckpt
