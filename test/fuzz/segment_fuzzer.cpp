// A segment file of any bytes: Open and Verify give a Status; a segment that opens can be searched without
// reading outside it, and one that verifies is searched without meeting corruption. Checksums are made right,
// those of the sections in a second try, so that mutations reach what lies behind them.

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "base/checksum.hpp"
#include "fuzzing.hpp"
#include "index/segment_source.hpp"
#include "segment/segment.hpp"

namespace vecckpt {
namespace {

constexpr uint32_t kWidth = 20;
constexpr size_t kMaxSeen = 1000;

void Search(const std::shared_ptr<const Segment>& segment, bool verified) {
  const std::vector<float> query(segment->header().dims, 1.0f);
  SegmentSource source;
  source.Restart(segment, nullptr, 0, query.data());
  source.SetShare(1, kWidth);
  WaitingCandidates candidates;
  Status status = source.ScoreWhole();
  if (status.ok()) status = source.Advance(kMaxSeen, &candidates);
  EXPECT(!verified || status.ok());
  while (source.waits()) source.HandOver(&candidates);
  for (uint32_t node = 0; node < segment->node_count(); ++node) {
    const auto ordinals = segment->OrdinalsOf(node);
    EXPECT(!verified || ordinals);
    if (!ordinals) continue;
    for (const uint64_t ordinal : *ordinals) {
      const ExtentRecord* extent = segment->ExtentOf(ordinal);
      EXPECT(!verified || extent != nullptr);
    }
  }
}

void Try(Bytes bytes) {
  const auto segment = Segment::Open(MemoryFile(bytes).path());
  if (!segment.ok()) return;
  const bool indexed = (*segment)->Verify(Segment::Depth::kIndexed).ok();
  const bool verified = (*segment)->Verify(Segment::Depth::kAll).ok();
  EXPECT(!verified || indexed);
  Search(*segment, verified);
}

void SealHeader(std::vector<std::byte>* bytes) {
  const uint64_t checksum = HeaderPageChecksum(Bytes(*bytes).first(kSegmentHeaderSize));
  std::memcpy(bytes->data() + offsetof(SegmentHeader, checksum), &checksum, sizeof(checksum));
}

void SealSections(std::vector<std::byte>* bytes) {
  SegmentHeader header;
  std::memcpy(&header, bytes->data(), sizeof(header));
  for (SectionRecord& section : header.sections) {
    if (section.offset > bytes->size() || section.size > bytes->size() - section.offset) continue;
    section.checksum = Checksum(Bytes(*bytes).subspan(section.offset, section.size));
  }
  std::memcpy(bytes->data(), &header, sizeof(header));
}

}  // namespace
}  // namespace vecckpt

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::byte> bytes(reinterpret_cast<const std::byte*>(data),
                               reinterpret_cast<const std::byte*>(data) + size);
  if (size >= vecckpt::kSegmentHeaderSize) vecckpt::SealHeader(&bytes);
  vecckpt::Try(bytes);
  if (size < vecckpt::kSegmentHeaderSize) return 0;
  vecckpt::SealSections(&bytes);
  vecckpt::SealHeader(&bytes);
  vecckpt::Try(bytes);
  return 0;
}
