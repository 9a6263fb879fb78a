// A segment file of any bytes: Open and Verify give a Status, and a segment that opens can be searched
// without reading outside it. The header's checksum is made right, so that mutations reach what lies behind
// it.

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "hnsw/graph_search.hpp"
#include "segment/segment.hpp"

namespace {

constexpr size_t kWidth = 20;
constexpr size_t kMaxSeen = 1000;

void Search(const vecckpt::Segment& segment) {
  const std::vector<float> query(segment.header().dims, 1.0f);
  const auto scorer = segment.codec().Prepare(query.data());
  vecckpt::GraphStream stream(segment.graph(), segment.codes(), segment.header().stride, *scorer);
  std::vector<vecckpt::SeenNode> seen;
  if (!stream.Advance(kWidth, kMaxSeen, &seen).ok()) return;
  for (const vecckpt::SeenNode& one : seen)
    if (const auto ordinals = segment.OrdinalsOf(one.node))
      for (const uint64_t ordinal : *ordinals) (void)segment.ExtentOf(ordinal);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::byte> bytes(reinterpret_cast<const std::byte*>(data),
                               reinterpret_cast<const std::byte*>(data) + size);
  if (size >= vecckpt::kSegmentHeaderSize) {
    const uint64_t checksum =
        vecckpt::HeaderPageChecksum(vecckpt::Bytes(bytes).first(vecckpt::kSegmentHeaderSize));
    std::memcpy(bytes.data() + offsetof(vecckpt::SegmentHeader, checksum), &checksum, sizeof(checksum));
  }
  const int fd = memfd_create("segment", 0);
  if (fd < 0 || write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) return 0;
  const auto segment = vecckpt::Segment::Open("/proc/self/fd/" + std::to_string(fd));
  close(fd);
  if (!segment.ok()) return 0;
  (void)(*segment)->Verify(vecckpt::Segment::Depth::kAll).ok();
  if ((*segment)->kind() == vecckpt::SegmentKind::kGraph) Search(**segment);
  return 0;
}
