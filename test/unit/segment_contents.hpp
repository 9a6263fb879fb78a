// A small segment's contents, to be changed in one part and written with checksums that fit.

#pragma once

#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "segment/segment.hpp"
#include "segment/segment_writer.hpp"

namespace vecckpt {

constexpr uint32_t kDims = 20;
constexpr uint32_t kNodes = 5;
constexpr uint32_t kM = 2;
constexpr uint32_t kSlots = 10;
constexpr uint32_t kNone = kNoNode;

template <typename T>
Bytes BytesOf(const std::vector<T>& values) {
  return AsBytes(std::span<const T>(values));
}

// The contents of a small segment; tests change one part and see what becomes of it.
struct Contents {
  SegmentHeader header{};
  std::vector<std::byte> codec;
  std::vector<std::byte> codes;
  std::vector<uint32_t> links0 = {1,     2,     kNone, kNone,   // node 0
                                  0,     2,     3,     4,       // node 1
                                  0,     1,     kNone, 9,       // node 2; nothing counts behind the sentinel
                                  1,     kNone, kNone, kNone,   // node 3
                                  kNone, kNone, kNone, kNone};  // node 4
  UpperHeader upper_header = {2, 3};
  std::vector<uint32_t> upper_nodes = {1, 3};
  std::vector<uint32_t> upper_offsets = {0, 2, 3};
  std::vector<uint32_t> upper_links = {1, kNone, kNone, kNone, 0, kNone};
  std::vector<uint32_t> offsets = {0, 1, 3, 3, 4, 6};
  std::vector<uint64_t> ordinals = {30, 31, 70, 39, 75, 79};
  std::vector<uint32_t> orphans = {3, 4};
  std::vector<ExtentRecord> extents = {{8, 800, 3, 0}, {5, 500, 7, 0}};

  explicit Contents(SegmentKind kind) {
    auto trained = Codec::Train(CodeKind::kNone, Metric::kL2, kDims, VectorStatistics{1.0f});
    const auto& trained_codec = *trained.value();
    codec = trained_codec.Parameters();
    header.identity = 11;
    header.segment_id = 22;
    header.range = {50, 90};
    header.end_hash = 33;
    header.max_lsn = 44;
    header.entry_count = 6;
    header.kind = static_cast<uint32_t>(kind);
    header.dims = kDims;
    header.m = kM;
    header.ef_construction = 64;
    header.slots_per_extent = kSlots;
    header.node_count = kNodes;
    header.stride = static_cast<uint32_t>(trained_codec.stride());
    header.entry_node = 1;
    header.entry_rank = 0;
    header.max_level = 2;
    header.metric = static_cast<uint8_t>(Metric::kL2);
    header.element_type = static_cast<uint8_t>(ElementType::kFloat32);
    header.code_kind = static_cast<uint8_t>(CodeKind::kNone);
    header.repaired = 1;
    codes.resize(size_t{kNodes} * header.stride);
    std::vector<float> vector(kDims);
    for (uint32_t node = 0; node < kNodes; ++node) {
      for (uint32_t i = 0; i < kDims; ++i)
        vector[i] = static_cast<float>(node + 1) / static_cast<float>(i + 2);
      trained_codec.Encode(vector.data(), codes.data() + size_t{node} * header.stride);
    }
    if (kind == SegmentKind::kFlat) orphans.clear();
  }

  std::vector<std::byte> Entries() const {
    std::vector<std::byte> bytes(AlignUp(offsets.size() * sizeof(uint32_t), 8) + ordinals.size() * 8);
    std::memcpy(bytes.data(), offsets.data(), offsets.size() * sizeof(uint32_t));
    std::memcpy(bytes.data() + bytes.size() - ordinals.size() * 8, ordinals.data(), ordinals.size() * 8);
    return bytes;
  }
};

inline Result<SegmentHeader> WriteContents(const std::string& path, const Contents& contents) {
  Result<SegmentWriter> writer = SegmentWriter::Create(path, 0600);
  if (!writer.ok()) return writer.status();
  VECCKPT_RETURN_IF_ERROR(writer->WriteSection(SectionKind::kCodec, contents.codec));
  VECCKPT_RETURN_IF_ERROR(writer->WriteSection(SectionKind::kCodes, contents.codes));
  if (contents.header.kind == static_cast<uint32_t>(SegmentKind::kGraph)) {
    VECCKPT_RETURN_IF_ERROR(writer->WriteSection(SectionKind::kLinks0, BytesOf(contents.links0)));
    VECCKPT_RETURN_IF_ERROR(writer->WriteSection(SectionKind::kUpper, AsBytes(contents.upper_header)));
    for (const auto* part : {&contents.upper_nodes, &contents.upper_offsets, &contents.upper_links}) {
      VECCKPT_RETURN_IF_ERROR(writer->Append(BytesOf(*part)));
    }
  }
  VECCKPT_RETURN_IF_ERROR(writer->WriteSection(SectionKind::kEntries, contents.Entries()));
  VECCKPT_RETURN_IF_ERROR(writer->WriteSection(SectionKind::kOrphans, BytesOf(contents.orphans)));
  VECCKPT_RETURN_IF_ERROR(writer->WriteSection(SectionKind::kExtents, BytesOf(contents.extents)));
  return writer->Finish(contents.header);
}

// Gives a file's header page a checksum that fits what it holds now.
inline void SealHeader(std::vector<std::byte>& file) {
  const uint64_t checksum = HeaderPageChecksum(Bytes(file).first(kSegmentHeaderSize));
  std::memcpy(file.data() + offsetof(SegmentHeader, checksum), &checksum, sizeof(checksum));
}

}  // namespace vecckpt
