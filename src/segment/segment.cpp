// Opening a segment, and verifying what its sections hold.
//
// Open reads the header page and the few bytes of UpperHeader, never more, besides the codec's parameters.
// Sizes are compared by subtraction: no sum of two numbers from the file is formed before both are known to
// be small.

#include "segment/segment.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "base/checksum.hpp"
#include "os/file.hpp"

namespace vecckpt {

namespace {

constexpr uint32_t kSearchesBetweenLooks = 64;
constexpr uint32_t kPagesLookedAt = 16;
// Bytes read at once, between looks at the cancel flag: so few that searches which wait for the disk get
// their turn.
constexpr size_t kVerifyPiece = 256 << 10;
constexpr size_t kListsAPiece = 16 * 1024;  // lists of links between looks at the cancel flag

constexpr uint32_t kMinM = 2;
constexpr uint32_t kMaxM = 100;

constexpr const char* kSectionNames[kSectionCount] = {"codec",   "codes",   "links0", "upper",
                                                      "entries", "orphans", "extents"};

Status Corrupt(const std::string& path, const std::string& detail) {
  return Status::Corruption("segment \"" + path + "\" is corrupt: " + detail);
}

Status CorruptSection(const std::string& path, SectionKind kind, const std::string& detail) {
  return Corrupt(path, std::string(kSectionNames[static_cast<uint32_t>(kind)]) + " section: " + detail);
}

// What the disk does not give back is as good as lost; a lack of memory or descriptors says nothing of the
// file.
Status AsCorruption(const std::string& path, const Status& status) {
  return status.code() == StatusCode::kIoError ? Corrupt(path, status.message()) : status;
}

Status Unsupported(const std::string& path, const std::string& detail) {
  return Status::Unsupported("segment \"" + path + "\" has " + detail);
}

// Bytes before the ordinals in `entries`.
uint64_t EntryOffsetsSize(uint32_t node_count) {
  return AlignUp((uint64_t{node_count} + 1) * sizeof(uint32_t), sizeof(uint64_t));
}

// Magic, version and checksum: that this is a header of ours, and whole.
Result<SegmentHeader> ReadHeader(Bytes file, const std::string& path) {
  if (file.size() < kSegmentHeaderSize) {
    return Corrupt(path, "its " + std::to_string(file.size()) + " bytes are shorter than a header");
  }
  SegmentHeader header;
  std::memcpy(&header, file.data(), sizeof(header));
  if (header.magic != kSegmentMagic) return Unsupported(path, "an unknown magic number");
  if (header.version != kSegmentVersion) {
    return Unsupported(path, "format version " + std::to_string(header.version) + ", not " +
                                 std::to_string(kSegmentVersion));
  }
  if (HeaderPageChecksum(file.first(kSegmentHeaderSize)) != header.checksum) {
    return Corrupt(path, "header checksum mismatch");
  }
  if (header.header_size != kSegmentHeaderSize) return Corrupt(path, "wrong header size");
  if (header.file_size != file.size()) {
    return Corrupt(path, "it has " + std::to_string(file.size()) + " bytes instead of " +
                             std::to_string(header.file_size));
  }
  return header;
}

Status CheckFields(const SegmentHeader& header, const std::string& path) {
  if (header.kind != static_cast<uint32_t>(SegmentKind::kFlat) &&
      header.kind != static_cast<uint32_t>(SegmentKind::kGraph)) {
    return Unsupported(path, "unknown kind " + std::to_string(header.kind));
  }
  if (header.metric < static_cast<uint8_t>(Metric::kL2) ||
      header.metric > static_cast<uint8_t>(Metric::kL1)) {
    return Unsupported(path, "unknown metric " + std::to_string(header.metric));
  }
  if (!IsElementType(header.element_type)) {
    return Unsupported(path, "unknown element type " + std::to_string(header.element_type));
  }
  if (!IsCodeKind(header.code_kind)) {
    return Unsupported(path, "unknown code kind " + std::to_string(header.code_kind));
  }
  if (header.dims < 1 || header.dims > kMaxDims) {
    return Corrupt(path, std::to_string(header.dims) + " dimensions");
  }
  if (header.stride == 0 || header.stride % kSectionAlignment != 0) {
    return Corrupt(path, "stride " + std::to_string(header.stride));
  }
  if (header.slots_per_extent == 0) return Corrupt(path, "no slots in an extent");
  if (header.range.begin > header.range.end) return Corrupt(path, "position range ends before it begins");
  if (header.node_count == kNoNode) return Corrupt(path, "too many nodes");
  if (header.kind == static_cast<uint32_t>(SegmentKind::kGraph)) {
    if (header.m < kMinM || header.m > kMaxM) return Corrupt(path, "m is " + std::to_string(header.m));
    if (header.node_count > 0 && header.entry_node >= header.node_count) {
      return Corrupt(path, "entry point out of range");
    }
  }
  return Status::Ok();
}

// Every section begins at the first aligned byte behind the one before, and the last ends the file.
Status CheckSectionBounds(const SegmentHeader& header, const std::string& path) {
  uint64_t end = kSegmentHeaderSize;
  for (uint32_t i = 0; i < kSectionCount; ++i) {
    const SectionRecord& record = header.sections[i];
    const SectionKind kind = static_cast<SectionKind>(i);
    if (record.offset != AlignUp(end, kSectionAlignment)) {
      return CorruptSection(path, kind, "misplaced");
    }
    if (record.offset > header.file_size || record.size > header.file_size - record.offset) {
      return CorruptSection(path, kind, "reaches beyond the end of the file");
    }
    end = record.offset + record.size;
  }
  if (end != header.file_size) return Corrupt(path, "bytes behind the last section");
  return Status::Ok();
}

Status CheckSectionSizes(const SegmentHeader& header, const std::string& path) {
  const auto size = [&](SectionKind kind) { return header.sections[static_cast<uint32_t>(kind)].size; };
  const uint64_t nodes = header.node_count;
  const bool graph = header.kind == static_cast<uint32_t>(SegmentKind::kGraph);

  if (size(SectionKind::kCodes) != nodes * header.stride) {
    return CorruptSection(path, SectionKind::kCodes, "wrong size");
  }
  const uint64_t links0_size = graph ? nodes * 2 * header.m * sizeof(uint32_t) : 0;
  if (size(SectionKind::kLinks0) != links0_size) {
    return CorruptSection(path, SectionKind::kLinks0, "wrong size");
  }
  if (!graph && size(SectionKind::kUpper) != 0) {
    return CorruptSection(path, SectionKind::kUpper, "present in a flat segment");
  }
  const uint64_t entries_size = size(SectionKind::kEntries);
  const uint64_t ordinals_offset = EntryOffsetsSize(header.node_count);
  if (entries_size < ordinals_offset || (entries_size - ordinals_offset) % sizeof(uint64_t) != 0 ||
      (entries_size - ordinals_offset) / sizeof(uint64_t) != header.entry_count) {
    return CorruptSection(path, SectionKind::kEntries, "wrong size");
  }
  const uint64_t orphans_size = size(SectionKind::kOrphans);
  if (orphans_size % sizeof(uint32_t) != 0 || orphans_size / sizeof(uint32_t) > nodes) {
    return CorruptSection(path, SectionKind::kOrphans, "wrong size");
  }
  if (size(SectionKind::kExtents) % sizeof(ExtentRecord) != 0) {
    return CorruptSection(path, SectionKind::kExtents, "wrong size");
  }
  return Status::Ok();
}

// The graph as it lies in the sections. REQUIRES: bounds and sizes are checked, but for what `upper` holds.
Result<GraphView> ViewGraph(const SegmentHeader& header, Bytes links0, Bytes upper, const std::string& path) {
  GraphView view;
  view.node_count = header.node_count;
  view.m = header.m;
  view.entry_node = header.node_count > 0 ? header.entry_node : kNoNode;
  view.entry_rank = header.entry_rank;
  view.max_level = header.max_level;
  view.links0 = ViewAs<uint32_t>(links0);

  UpperHeader counts{};
  if (!upper.empty()) {
    if (upper.size() < sizeof(counts)) {
      return CorruptSection(path, SectionKind::kUpper, "wrong size");
    }
    std::memcpy(&counts, upper.data(), sizeof(counts));
    // The counts have 32 bits each, so that these sums and products stay far below 64.
    const uint64_t numbers = uint64_t{counts.node_count} * 2 + 1 + uint64_t{counts.list_count} * header.m;
    if (upper.size() - sizeof(counts) != numbers * sizeof(uint32_t)) {
      return CorruptSection(path, SectionKind::kUpper, "wrong size");
    }
    const auto values = ViewAs<uint32_t>(upper.subspan(sizeof(counts)));
    view.upper_nodes = values.first(counts.node_count);
    view.upper_offsets = values.subspan(counts.node_count, size_t{counts.node_count} + 1);
    view.upper_links = values.subspan(size_t{counts.node_count} * 2 + 1);
  }
  if (counts.node_count > header.node_count || counts.list_count < counts.node_count ||
      header.max_level > counts.list_count) {
    return CorruptSection(path, SectionKind::kUpper, "counts do not fit the header");
  }
  if (header.node_count == 0) {
    view.entry_rank = kNoNode;
    return view;
  }
  const bool valid = counts.node_count > 0 ? header.entry_rank < counts.node_count && header.max_level > 0
                                           : header.entry_rank == kNoNode && header.max_level == 0;
  if (!valid) return Corrupt(path, "entry point out of range");
  return view;
}

bool CancelSeen(const std::atomic<bool>* cancel) {
  return cancel != nullptr && cancel->load(std::memory_order_relaxed);
}

// Every list of `length` links: below `limit` up to the sentinel.
bool LinksInRange(std::span<const uint32_t> links, size_t length, uint32_t limit) {
  for (; !links.empty(); links = links.subspan(length)) {
    for (const uint32_t link : links.first(length)) {
      if (link == kNoNode) break;
      if (link >= limit) return false;
    }
  }
  return true;
}

// The same with looks at the cancel flag.
Status CheckLinks(std::span<const uint32_t> links, size_t length, uint32_t limit, const Status& out_of_range,
                  const std::atomic<bool>* cancel) {
  while (!links.empty()) {
    if (CancelSeen(cancel)) return Status::Cancelled();
    const size_t piece = std::min(links.size(), length * kListsAPiece);
    if (!LinksInRange(links.first(piece), length, limit)) return out_of_range;
    links = links.subspan(piece);
  }
  return Status::Ok();
}

// Whether the upper lists of the nodes of ranks `begin` to `end` link only to nodes that have the list's
// level. REQUIRES: offsets and links are in range.
bool LevelsMatch(const GraphView& graph, uint32_t begin, uint32_t end) {
  const auto level_count = [&](uint32_t rank) {
    return graph.upper_offsets[rank + 1] - graph.upper_offsets[rank];
  };
  for (uint32_t rank = begin; rank < end; ++rank) {
    for (uint32_t level = 1; level <= level_count(rank); ++level) {
      const size_t list = graph.upper_offsets[rank] + level - 1;
      for (const uint32_t link : graph.upper_links.subspan(list * graph.m, graph.m)) {
        if (link == kNoNode) break;
        if (level_count(link) < level) return false;
      }
    }
  }
  return true;
}

bool Monotonic(std::span<const uint32_t> offsets, uint64_t last) {
  return offsets.front() == 0 && offsets.back() == last && std::is_sorted(offsets.begin(), offsets.end());
}

template <typename T, typename Less>
bool StrictlyAscending(std::span<const T> values, Less less) {
  return std::adjacent_find(values.begin(), values.end(),
                            [&](const T& a, const T& b) { return !less(a, b); }) == values.end();
}

}  // namespace

Result<std::shared_ptr<const Segment>> Segment::Open(const std::string& path) {
  Result<Mapping> mapping = Mapping::Open(path);
  if (!mapping.ok()) return AsCorruption(path, mapping.status());
  ExpectLookups(mapping->bytes());  // the header alone, not what lies behind it
  const Result<SegmentHeader> header = ReadHeader(mapping->bytes(), path);
  if (!header.ok()) return header.status();
  VECCKPT_RETURN_IF_ERROR(CheckFields(*header, path));
  VECCKPT_RETURN_IF_ERROR(CheckSectionBounds(*header, path));
  VECCKPT_RETURN_IF_ERROR(CheckSectionSizes(*header, path));

  std::shared_ptr<Segment> segment(new Segment());
  segment->path_ = path;
  segment->mapping_ = std::move(*mapping);
  segment->header_ = *header;

  Result<std::unique_ptr<Codec>> codec =
      Codec::Load(static_cast<CodeKind>(header->code_kind), static_cast<Metric>(header->metric), header->dims,
                  segment->section(SectionKind::kCodec));
  if (!codec.ok()) {
    return Status(codec.status().code(), "segment \"" + path + "\": " + codec.status().message());
  }
  if ((*codec)->stride() != header->stride) return Corrupt(path, "stride differs from the codec's");
  segment->codec_ = std::move(*codec);

  if (segment->kind() == SegmentKind::kGraph) {
    Result<GraphView> graph = ViewGraph(*header, segment->section(SectionKind::kLinks0),
                                        segment->section(SectionKind::kUpper), path);
    if (!graph.ok()) return graph.status();
    segment->graph_ = *graph;
  }

  const Bytes entries = segment->section(SectionKind::kEntries);
  segment->entry_offsets_ = ViewAs<uint32_t>(entries).first(size_t{header->node_count} + 1);
  if (segment->kind() == SegmentKind::kGraph) {
    if (header->empty_nodes > 0) segment->graph_.entry_offsets = segment->entry_offsets_;
    segment->graph_.orphans = segment->orphans();
  }
  segment->ordinals_ = ViewAs<uint64_t>(entries.subspan(EntryOffsetsSize(header->node_count)));
  ExpectScans(segment->file());
  VECCKPT_RETURN_IF_ERROR(segment->CheckReadable());
  return std::shared_ptr<const Segment>(std::move(segment));
}

bool Segment::ColdForSearch() const {
  const Bytes links = section(SectionKind::kLinks0);
  const uint32_t number = searches_.fetch_add(1, std::memory_order_relaxed);
  // The whole file: advice for parts of a mapping splits it, and a process may have only so many.
  if (number == 0 && kind() == SegmentKind::kGraph) ExpectLookups(file());
  if (number % kSearchesBetweenLooks == 0 || cold_.load(std::memory_order_relaxed)) {
    const bool missing =
        SomeMissing(codes(), kPagesLookedAt, number) || SomeMissing(links, kPagesLookedAt, number);
    cold_.store(missing, std::memory_order_relaxed);
  }
  return cold_.load(std::memory_order_relaxed);
}

Bytes Segment::section(SectionKind kind) const {
  const SectionRecord& record = header_.sections[static_cast<uint32_t>(kind)];
  return mapping_.bytes().subspan(record.offset, record.size);
}

std::optional<std::span<const uint64_t>> Segment::OrdinalsOf(uint32_t node) const {
  const uint32_t begin = entry_offsets_[node];
  const uint32_t end = entry_offsets_[size_t{node} + 1];
  if (begin > end || end > ordinals_.size()) return std::nullopt;
  return ordinals_.subspan(begin, end - begin);
}

const ExtentRecord* Segment::ExtentOf(uint64_t ordinal) const {
  const std::span<const ExtentRecord> records = extents();
  const uint64_t extent = ordinal / header_.slots_per_extent;
  const auto found =
      std::lower_bound(records.begin(), records.end(), extent,
                       [](const ExtentRecord& record, uint64_t wanted) { return record.extent < wanted; });
  return found != records.end() && found->extent == extent ? &*found : nullptr;
}

Status Segment::Verify(Depth depth, const std::atomic<bool>* cancel) const {
  for (uint32_t i = 0; i < kSectionCount; ++i) {
    const SectionKind kind = static_cast<SectionKind>(i);
    const bool indexed =
        kind == SectionKind::kCodec || kind == SectionKind::kEntries || kind == SectionKind::kExtents;
    if (indexed || depth == Depth::kAll) VECCKPT_RETURN_IF_ERROR(VerifySection(kind, cancel));
  }
  return VerifyContents(depth, cancel);
}

// A file that has lost its name (the segments of temporary tables) is read through the mapping.
Status Segment::VerifySection(SectionKind kind, const std::atomic<bool>* cancel) const {
  VECCKPT_RETURN_IF_ERROR(CheckReadable());
  const Result<File> file = File::OpenRead(path_);
  if (!file.ok() && file.status().code() != StatusCode::kNotFound) return AsCorruption(path_, file.status());
  const Bytes whole = section(kind);
  std::vector<std::byte> read(file.ok() ? std::min(whole.size(), kVerifyPiece) : 0);
  StreamingChecksum checksum;
  for (size_t at = 0; at < whole.size();) {
    if (CancelSeen(cancel)) return Status::Cancelled();
    Bytes piece = whole.subspan(at, std::min(whole.size() - at, kVerifyPiece));
    if (file.ok()) {
      const uint64_t offset = header_.sections[static_cast<uint32_t>(kind)].offset + at;
      const Status status = file->ReadAt(offset, read.data(), piece.size());
      if (!status.ok()) return AsCorruption(path_, status);
      piece = Bytes(read).first(piece.size());
    }
    checksum.Update(piece);
    at += piece.size();
  }
  VECCKPT_RETURN_IF_ERROR(CheckReadable());
  if (checksum.Digest() != header_.sections[static_cast<uint32_t>(kind)].checksum) {
    return CorruptSection(path_, kind, "checksum mismatch");
  }
  return Status::Ok();
}

Status Segment::VerifyContents(Depth depth, const std::atomic<bool>* cancel) const {
  Status status = VerifyIndexed(cancel);
  if (status.ok() && depth == Depth::kAll) status = VerifyRest(cancel);
  // What was found in zeros says nothing.
  const Status readable = CheckReadable();
  return readable.ok() ? status : readable;
}

Status Segment::CheckReadable() const {
  return damaged() ? Corrupt(path_, "a page of it cannot be read") : Status::Ok();
}

Status Segment::VerifyIndexed(const std::atomic<bool>* cancel) const {
  const auto by_extent = [](const ExtentRecord& a, const ExtentRecord& b) { return a.extent < b.extent; };
  if (!StrictlyAscending(extents(), by_extent)) {
    return CorruptSection(path_, SectionKind::kExtents, "out of order");
  }
  if (!Monotonic(entry_offsets_, entry_count())) {
    return CorruptSection(path_, SectionKind::kEntries, "offsets out of order");
  }
  // Neighbouring ordinals mostly share an extent: look it up only when it changes.
  const ExtentRecord* record = nullptr;
  for (const uint64_t ordinal : ordinals_) {
    if (record != nullptr && ordinal / header_.slots_per_extent == record->extent) continue;
    if (CancelSeen(cancel)) return Status::Cancelled();
    record = ExtentOf(ordinal);
    if (record == nullptr) {
      return CorruptSection(path_, SectionKind::kEntries,
                            "ordinal " + std::to_string(ordinal) + " lies in no extent of the segment");
    }
  }
  return Status::Ok();
}

// What kAll adds: orphans, gaps and every link.
Status Segment::VerifyRest(const std::atomic<bool>* cancel) const {
  if (!StrictlyAscending(orphans(), std::less<uint32_t>()) ||
      (!orphans().empty() && orphans().back() >= node_count())) {
    return CorruptSection(path_, SectionKind::kOrphans, "out of order or range");
  }
  uint64_t end = kSegmentHeaderSize;
  for (const SectionRecord& record : header_.sections) {
    const Bytes gap = mapping_.bytes().subspan(end, record.offset - end);
    if (!std::all_of(gap.begin(), gap.end(), [](std::byte byte) { return byte == std::byte{0}; })) {
      return Corrupt(path_, "bytes between its sections");
    }
    end = record.offset + record.size;
  }
  if (kind() != SegmentKind::kGraph) return Status::Ok();

  VECCKPT_RETURN_IF_ERROR(CheckLinks(graph_.links0, size_t{graph_.m} * 2, node_count(),
                                     CorruptSection(path_, SectionKind::kLinks0, "link out of range"),
                                     cancel));
  if (graph_.upper_offsets.empty()) return Status::Ok();
  const uint32_t rank_count = static_cast<uint32_t>(graph_.upper_nodes.size());
  if (!Monotonic(graph_.upper_offsets, graph_.upper_links.size() / graph_.m)) {
    return CorruptSection(path_, SectionKind::kUpper, "offsets out of order");
  }
  const Status out_of_range = CorruptSection(path_, SectionKind::kUpper, "link out of range");
  if (std::any_of(graph_.upper_nodes.begin(), graph_.upper_nodes.end(),
                  [&](uint32_t node) { return node >= node_count(); })) {
    return out_of_range;
  }
  VECCKPT_RETURN_IF_ERROR(CheckLinks(graph_.upper_links, graph_.m, rank_count, out_of_range, cancel));
  for (uint32_t begin = 0; begin < rank_count;) {
    if (CancelSeen(cancel)) return Status::Cancelled();
    const uint32_t until = begin + std::min<uint32_t>(kListsAPiece, rank_count - begin);
    if (!LevelsMatch(graph_, begin, until)) {
      return CorruptSection(path_, SectionKind::kUpper, "link to a node without that level");
    }
    begin = until;
  }
  if (rank_count > 0 &&
      (graph_.upper_nodes[graph_.entry_rank] != graph_.entry_node ||
       graph_.upper_offsets[graph_.entry_rank + 1] - graph_.upper_offsets[graph_.entry_rank] !=
           graph_.max_level)) {
    return CorruptSection(path_, SectionKind::kUpper, "does not hold the entry point");
  }
  return Status::Ok();
}

}  // namespace vecckpt
