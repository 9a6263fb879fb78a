// The seeds of the fuzzers (test/fuzz/seeds) that are meant to be right are accepted: after a change of a
// format they would lead nowhere. Those that were found by fuzzing are named damaged_*.

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "os/file.hpp"
#include "segment/liveness_bitmap.hpp"
#include "segment/manifest.hpp"
#include "segment/segment.hpp"

namespace vecckpt {
namespace {

std::vector<std::string> Seeds(const std::string& format) {
  std::vector<std::string> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(VECCKPT_TEST_DATA "/../fuzz/seeds/" + format)) {
    if (!entry.path().filename().string().starts_with("damaged_")) paths.push_back(entry.path().string());
  }
  EXPECT_FALSE(paths.empty()) << format;
  return paths;
}

TEST(FuzzSeedsTest, Segments) {
  std::set<uint32_t> code_kinds, kinds;
  for (const std::string& path : Seeds("segment")) {
    const auto segment = Segment::Open(path);
    ASSERT_TRUE(segment.ok()) << segment.status().message();
    const Status status = (*segment)->Verify(Segment::Depth::kAll);
    EXPECT_TRUE(status.ok()) << status.message();
    code_kinds.insert((*segment)->header().code_kind);
    kinds.insert((*segment)->header().kind);
  }
  EXPECT_EQ(code_kinds.size(), 3u) << "code kinds none, sq8, sq4";
  EXPECT_EQ(kinds.size(), 2u) << "flat and graph segments";
}

TEST(FuzzSeedsTest, Manifests) {
  bool has_bitmap = false;
  for (const std::string& path : Seeds("manifest")) {
    const auto manifest = ReadManifest(path);
    ASSERT_TRUE(manifest.ok()) << manifest.status().message();
    for (const ManifestSegment& segment : manifest->segments) has_bitmap |= segment.liveness_id != 0;
  }
  EXPECT_TRUE(has_bitmap);
}

TEST(FuzzSeedsTest, LivenessBitmaps) {
  for (const std::string& path : Seeds("liveness")) {
    const auto bytes = ReadFile(path, 1 << 20);
    ASSERT_TRUE(bytes.ok() && bytes->size() >= sizeof(LivenessHeader)) << path;
    LivenessHeader header;
    std::memcpy(&header, bytes->data(), sizeof(header));
    const auto bitmap = LivenessBitmap::Open(path, header.segment_id, header.node_count,
                                             std::numeric_limits<uint64_t>::max());
    EXPECT_TRUE(bitmap.ok()) << bitmap.status().message();
  }
}

}  // namespace
}  // namespace vecckpt
