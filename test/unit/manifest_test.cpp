// Manifests: written and read back, and every damaged form refused.

#include "segment/manifest.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <random>

#include "base/checksum.hpp"
#include "os/file.hpp"
#include "temporary_directory.hpp"

namespace vecckpt {
namespace {

ManifestSegment SegmentOf(uint64_t id, uint64_t begin, uint64_t end) {
  return {.id = id,
          .range = {begin, end},
          .file_size = 8192 + id,
          .header_checksum = id * 3,
          .entry_count = end - begin,
          .max_lsn = 1000 - id,
          .end_hash = id * 7,
          .node_count = 50,
          .kind = id % 2 == 0 ? SegmentKind::kFlat : SegmentKind::kGraph,
          .orphan_count = 2,
          .repaired = 3,
          .stride = 128};
}

Manifest Sample() {
  Manifest manifest;
  manifest.key = {5, 1663, 16384};
  manifest.identity = 0x1122334455667788;
  manifest.manifest_id = 99;
  manifest.generation = 12;
  manifest.index_oid = 16390;
  manifest.persistence = 'u';
  manifest.geometry = {
      .dims = 20, .m = 16, .ef_construction = 64, .slots_per_extent = 100, .metric = Metric::kCosine};
  manifest.segments = {SegmentOf(1, 0, 100), SegmentOf(2, 100, 200), SegmentOf(3, 250, 251)};
  return manifest;
}

bool SameSegment(const ManifestSegment& a, const ManifestSegment& b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}

// The code ParseManifest gives for the bytes.
StatusCode CodeOf(Bytes bytes) {
  return ParseManifest(bytes, "m").status().code();
}

// The same for a manifest changed before it is serialized, so that the checksum fits.
StatusCode CodeOfChanged(const std::function<void(Manifest&)>& change) {
  Manifest manifest = Sample();
  change(manifest);
  return CodeOf(SerializeManifest(manifest));
}

TEST(Manifest, RoundTrip) {
  const Manifest manifest = Sample();
  const Result<Manifest> parsed = ParseManifest(SerializeManifest(manifest), "m");
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(parsed->key, manifest.key);
  EXPECT_EQ(parsed->identity, manifest.identity);
  EXPECT_EQ(parsed->manifest_id, manifest.manifest_id);
  EXPECT_EQ(parsed->generation, manifest.generation);
  EXPECT_EQ(parsed->index_oid, manifest.index_oid);
  EXPECT_EQ(parsed->persistence, manifest.persistence);
  EXPECT_EQ(parsed->geometry, manifest.geometry);
  ASSERT_EQ(parsed->segments.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(SameSegment(parsed->segments[i], manifest.segments[i])) << i;
}

TEST(Manifest, SummaryOfItsSegments) {
  const Manifest manifest = Sample();
  EXPECT_EQ(manifest.coverage_end(), 251u);
  EXPECT_EQ(manifest.coverage_hash(), 21u);
  EXPECT_EQ(manifest.max_lsn(), 999u);
  EXPECT_EQ(Manifest().coverage_end(), 0u);
  EXPECT_EQ(Manifest().coverage_hash(), 0u);
  EXPECT_EQ(Manifest().max_lsn(), 0u);
}

TEST(Manifest, WithoutSegmentsOrDimensions) {
  Manifest manifest = Sample();
  manifest.segments.clear();
  manifest.geometry.dims = 0;
  manifest.geometry.slots_per_extent = 0;
  const Result<Manifest> parsed = ParseManifest(SerializeManifest(manifest), "m");
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_TRUE(parsed->segments.empty());
}

TEST(Manifest, EveryFlippedBitIsSeen) {
  std::vector<std::byte> bytes = SerializeManifest(Sample());
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      bytes[i] ^= std::byte{1} << bit;
      const Status status = ParseManifest(bytes, "name").status();
      // Magic and version, the first twelve bytes, tell another format.
      EXPECT_EQ(status.code(), i < 12 ? StatusCode::kUnsupported : StatusCode::kCorruption) << i;
      EXPECT_NE(status.message().find("\"name\""), std::string::npos);
      bytes[i] ^= std::byte{1} << bit;
    }
  }
  EXPECT_EQ(CodeOf(bytes), StatusCode::kOk);
}

TEST(Manifest, EveryOtherLengthIsRefused) {
  std::vector<std::byte> bytes = SerializeManifest(Sample());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(CodeOf(Bytes(bytes).first(size)), StatusCode::kCorruption) << size;
  }
  bytes.push_back(std::byte{0});
  EXPECT_EQ(CodeOf(bytes), StatusCode::kCorruption);
  bytes.resize(kMaxManifestSize + 1);
  EXPECT_EQ(CodeOf(bytes), StatusCode::kCorruption);
}

TEST(Manifest, WrongCountsAreRefusedEvenWithAGoodChecksum) {
  constexpr size_t kCountOffset = 76;
  for (const uint32_t count : {0u, 2u, 4u, kMaxManifestSegments + 1, 0xFFFFFFFFu}) {
    std::vector<std::byte> bytes = SerializeManifest(Sample());
    std::memcpy(bytes.data() + kCountOffset, &count, sizeof(count));
    const size_t covered = bytes.size() - sizeof(uint64_t);
    const uint64_t checksum = Checksum(Bytes(bytes).first(covered));
    std::memcpy(bytes.data() + covered, &checksum, sizeof(checksum));
    EXPECT_EQ(CodeOf(bytes), StatusCode::kCorruption) << count;
  }
}

TEST(Manifest, RandomBytesAreRefused) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 2000; ++i) {
    std::vector<std::byte> bytes(random() % 600);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    EXPECT_NE(CodeOf(bytes), StatusCode::kOk);
    // The same behind a good magic and version.
    if (bytes.size() < 12) continue;
    std::memcpy(bytes.data(), &kManifestMagic, 8);
    std::memcpy(bytes.data() + 8, &kManifestVersion, 4);
    EXPECT_EQ(CodeOf(bytes), StatusCode::kCorruption);
  }
}

TEST(Manifest, FieldsAreChecked) {
  const StatusCode corrupt = StatusCode::kCorruption;
  const StatusCode unsupported = StatusCode::kUnsupported;
  EXPECT_EQ(CodeOfChanged([](Manifest&) {}), StatusCode::kOk);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.persistence = 't'; }), corrupt);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.geometry.dims = 0; }), corrupt);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.geometry.dims = kMaxDims + 1; }), corrupt);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.geometry.m = 1; }), corrupt);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.geometry.m = 101; }), corrupt);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.geometry.slots_per_extent = 0; }), corrupt);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.geometry.metric = Metric{0}; }), unsupported);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.geometry.metric = Metric{5}; }), unsupported);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.geometry.element_type = ElementType{0}; }), unsupported);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.geometry.element_type = ElementType{3}; }), unsupported);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.geometry.element_type = ElementType::kFloat16; }),
            StatusCode::kOk);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.geometry.code_kind = CodeKind{0}; }), unsupported);
}

TEST(Manifest, SegmentsAreChecked) {
  const StatusCode corrupt = StatusCode::kCorruption;
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.segments[0].range = {10, 9}; }), corrupt);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.segments[0].range.end = 101; }), corrupt);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { std::swap(m.segments[0], m.segments[1]); }), corrupt);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.segments[2].id = 1; }), corrupt);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.segments[2].file_size = 4095; }), corrupt);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.segments[2].stride = 0; }), corrupt);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.segments[2].stride = 96; }), corrupt);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.segments[2].orphan_count = 51; }), corrupt);
  EXPECT_EQ(CodeOfChanged([](Manifest& m) { m.segments[2].kind = SegmentKind{3}; }),
            StatusCode::kUnsupported);
}

TEST(Manifest, ReadsFiles) {
  const TemporaryDirectory directory;
  const std::string path = directory.File("m");
  EXPECT_EQ(ReadManifest(path).status().code(), StatusCode::kNotFound);
  ASSERT_TRUE(WriteFileByRename(path, SerializeManifest(Sample()), 0600).ok());
  const Result<Manifest> manifest = ReadManifest(path);
  ASSERT_TRUE(manifest.ok());
  EXPECT_EQ(manifest->identity, Sample().identity);
  ASSERT_TRUE(WriteFileByRename(path, AsBytes(kManifestMagic), 0600).ok());
  const Status torn = ReadManifest(path).status();
  EXPECT_EQ(torn.code(), StatusCode::kCorruption);
  EXPECT_NE(torn.message().find(path), std::string::npos);
}

TEST(Manifest, DescribesAHeader) {
  SegmentHeader header{};
  header.segment_id = 4;
  header.range = {10, 20};
  header.file_size = 5000;
  header.checksum = 77;
  header.entry_count = 9;
  header.max_lsn = 1234;
  header.end_hash = 4321;
  header.node_count = 8;
  header.kind = static_cast<uint32_t>(SegmentKind::kGraph);
  header.sections[static_cast<uint32_t>(SectionKind::kOrphans)].size = 12;
  header.repaired = 5;
  header.stride = 64;
  const ManifestSegment expected = {.id = 4,
                                    .range = {10, 20},
                                    .file_size = 5000,
                                    .header_checksum = 77,
                                    .entry_count = 9,
                                    .max_lsn = 1234,
                                    .end_hash = 4321,
                                    .node_count = 8,
                                    .kind = SegmentKind::kGraph,
                                    .orphan_count = 3,
                                    .repaired = 5,
                                    .stride = 64};
  EXPECT_TRUE(SameSegment(Describe(header), expected));
}

}  // namespace
}  // namespace vecckpt
