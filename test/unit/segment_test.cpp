// Segments: written, opened, followed; every damage seen by Open or Verify.

#include "segment/segment.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <random>

#include "base/checksum.hpp"
#include "os/file.hpp"
#include "segment_contents.hpp"
#include "temporary_directory.hpp"

namespace vecckpt {
namespace {

class SegmentTest : public ::testing::Test {
 protected:
  std::vector<std::byte> FileOf(const Contents& contents) {
    const Result<SegmentHeader> header = WriteContents(path_, contents);
    EXPECT_TRUE(header.ok()) << header.status().message();
    return ReadFile(path_, 1 << 20).value();
  }
  void Replace(Bytes bytes) {
    const Status status = WriteFileByRename(path_, bytes, 0600);
    EXPECT_TRUE(status.ok()) << status.message();
  }
  // Opens the bytes as a segment; every error must name the file.
  Status OpenBytes(Bytes bytes) {
    Replace(bytes);
    const Status status = Segment::Open(path_).status();
    EXPECT_TRUE(status.ok() || status.message().find(path_) != std::string::npos) << status.message();
    return status;
  }
  StatusCode CodeOfOpen(const Contents& contents) {
    FileOf(contents);
    return Segment::Open(path_).status().code();
  }
  // What Open says of a graph segment whose finished header was changed, with a fitting checksum.
  StatusCode CodeOfHeader(const std::function<void(SegmentHeader&)>& change,
                          SegmentKind kind = SegmentKind::kGraph) {
    std::vector<std::byte> file = FileOf(Contents(kind));
    SegmentHeader header;
    std::memcpy(&header, file.data(), sizeof(header));
    change(header);
    std::memcpy(file.data(), &header, sizeof(header));
    SealHeader(file);
    return OpenBytes(file).code();
  }
  // What Open and Verify say of a graph segment whose contents were changed before it was written.
  StatusCode CodeOfVerify(const std::function<void(Contents&)>& change, Segment::Depth depth) {
    Contents contents(SegmentKind::kGraph);
    change(contents);
    FileOf(contents);
    const auto segment = Segment::Open(path_);
    EXPECT_TRUE(segment.ok()) << segment.status().message();
    return segment.ok() ? segment.value()->Verify(depth).code() : segment.status().code();
  }

  TemporaryDirectory directory_;
  const std::string path_ = directory_.File("s");
};

TEST_F(SegmentTest, GraphRoundTrip) {
  const Contents contents(SegmentKind::kGraph);
  const std::vector<std::byte> file = FileOf(contents);
  const auto opened = Segment::Open(path_);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  const Segment& segment = **opened;
  EXPECT_EQ(segment.path(), path_);
  EXPECT_EQ(segment.kind(), SegmentKind::kGraph);
  EXPECT_EQ(segment.id(), 22u);
  EXPECT_EQ(segment.range(), (PositionRange{50, 90}));
  EXPECT_EQ(segment.node_count(), kNodes);
  EXPECT_EQ(segment.entry_count(), 6u);
  EXPECT_EQ(segment.file_size(), file.size());
  EXPECT_EQ(segment.codec().stride(), contents.header.stride);
  EXPECT_TRUE(std::ranges::equal(segment.codes(), contents.codes));
  EXPECT_EQ(segment.code(3), segment.codes().data() + 3 * contents.header.stride);
  EXPECT_TRUE(std::ranges::equal(segment.orphans(), contents.orphans));

  const GraphView& graph = segment.graph();
  EXPECT_EQ(graph.node_count, kNodes);
  EXPECT_EQ(graph.m, kM);
  EXPECT_EQ(graph.entry_node, 1u);
  EXPECT_EQ(graph.entry_rank, 0u);
  EXPECT_EQ(graph.max_level, 2u);
  EXPECT_TRUE(std::ranges::equal(graph.links0, contents.links0));
  EXPECT_TRUE(std::ranges::equal(graph.upper_nodes, contents.upper_nodes));
  EXPECT_TRUE(std::ranges::equal(graph.upper_offsets, contents.upper_offsets));
  EXPECT_TRUE(std::ranges::equal(graph.upper_links, contents.upper_links));

  EXPECT_TRUE(segment.Verify(Segment::Depth::kIndexed).ok());
  EXPECT_TRUE(segment.Verify(Segment::Depth::kAll).ok());
}

TEST_F(SegmentTest, FlatRoundTrip) {
  FileOf(Contents(SegmentKind::kFlat));
  const auto opened = Segment::Open(path_);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  EXPECT_EQ((*opened)->kind(), SegmentKind::kFlat);
  EXPECT_EQ((*opened)->graph().node_count, 0u);
  EXPECT_TRUE((*opened)->graph().links0.empty());
  EXPECT_TRUE((*opened)->Verify(Segment::Depth::kAll).ok());
}

TEST_F(SegmentTest, EmptySegments) {
  for (const SegmentKind kind : {SegmentKind::kFlat, SegmentKind::kGraph}) {
    Contents contents(kind);
    contents.header.node_count = 0;
    contents.header.entry_count = 0;
    contents.header.range = {50, 50};
    contents.upper_header = {0, 0};
    contents.upper_offsets = {0};
    contents.offsets = {0};
    contents.codes.clear();
    for (auto* part : {&contents.links0, &contents.upper_nodes, &contents.upper_links, &contents.orphans}) {
      part->clear();
    }
    contents.header.max_level = 0;
    contents.ordinals.clear();
    contents.extents.clear();
    FileOf(contents);
    const auto segment = Segment::Open(path_);
    ASSERT_TRUE(segment.ok()) << segment.status().message();
    EXPECT_TRUE((*segment)->Verify(Segment::Depth::kAll).ok());
    EXPECT_EQ((*segment)->graph().entry_node, kNoNode);
    EXPECT_EQ((*segment)->ExtentOf(0), nullptr);
  }
}

TEST_F(SegmentTest, GraphWithoutUpperLevelsMayLeaveThemOut) {
  const Contents contents(SegmentKind::kGraph);
  Result<SegmentWriter> writer = SegmentWriter::Create(path_, 0600);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->WriteSection(SectionKind::kCodec, contents.codec).ok());
  ASSERT_TRUE(writer->WriteSection(SectionKind::kCodes, contents.codes).ok());
  ASSERT_TRUE(writer->WriteSection(SectionKind::kLinks0, BytesOf(contents.links0)).ok());
  ASSERT_TRUE(writer->WriteSection(SectionKind::kEntries, contents.Entries()).ok());
  ASSERT_TRUE(writer->WriteSection(SectionKind::kExtents, BytesOf(contents.extents)).ok());
  SegmentHeader header = contents.header;
  header.entry_rank = kNoNode;
  header.max_level = 0;
  ASSERT_TRUE(writer->Finish(header).ok());
  const auto segment = Segment::Open(path_);
  ASSERT_TRUE(segment.ok()) << segment.status().message();
  EXPECT_TRUE((*segment)->graph().upper_nodes.empty());
  EXPECT_TRUE((*segment)->orphans().empty());
  EXPECT_TRUE((*segment)->Verify(Segment::Depth::kAll).ok());
}

TEST_F(SegmentTest, OrdinalsAndExtentsAreFound) {
  const Contents contents(SegmentKind::kGraph);
  FileOf(contents);
  const auto segment = *Segment::Open(path_);
  for (uint32_t node = 0; node < kNodes; ++node) {
    const auto ordinals = segment->OrdinalsOf(node);
    ASSERT_TRUE(ordinals.has_value());
    const std::vector<uint64_t> expected(contents.ordinals.begin() + contents.offsets[node],
                                         contents.ordinals.begin() + contents.offsets[node + 1]);
    EXPECT_TRUE(std::ranges::equal(*ordinals, expected)) << node;
  }
  for (const uint64_t ordinal : {30u, 39u}) EXPECT_EQ(segment->ExtentOf(ordinal), &segment->extents()[0]);
  for (const uint64_t ordinal : {70u, 79u}) EXPECT_EQ(segment->ExtentOf(ordinal), &segment->extents()[1]);
  for (const uint64_t ordinal : {uint64_t{0}, uint64_t{29}, uint64_t{40}, uint64_t{69}, uint64_t{80},
                                 uint64_t{30} + (uint64_t{kSlots} << 32), ~uint64_t{0}}) {
    EXPECT_EQ(segment->ExtentOf(ordinal), nullptr) << ordinal;
  }
}

TEST_F(SegmentTest, BadEntryOffsetsAreNotFollowed) {
  Contents contents(SegmentKind::kGraph);
  contents.offsets = {0, 4, 3, 7, 0xFFFFFFFF, 6};
  FileOf(contents);
  const auto segment = *Segment::Open(path_);
  EXPECT_TRUE(segment->OrdinalsOf(0).has_value());
  for (uint32_t node = 1; node < kNodes; ++node) EXPECT_FALSE(segment->OrdinalsOf(node).has_value()) << node;
}

TEST_F(SegmentTest, MissingFileIsNotFound) {
  EXPECT_EQ(Segment::Open(path_).status().code(), StatusCode::kNotFound);
}

TEST_F(SegmentTest, EveryFlippedHeaderBitIsSeenByOpen) {
  std::vector<std::byte> file = FileOf(Contents(SegmentKind::kGraph));
  for (size_t i = 0; i < kSegmentHeaderSize; ++i) {
    const std::byte flip = std::byte{1} << (i % 8);
    file[i] ^= flip;
    // Magic and version, the first twelve bytes, tell another format.
    EXPECT_EQ(OpenBytes(file).code(), i < 12 ? StatusCode::kUnsupported : StatusCode::kCorruption) << i;
    file[i] ^= flip;
  }
  EXPECT_TRUE(OpenBytes(file).ok());
}

TEST_F(SegmentTest, EveryFlippedByteBehindTheHeaderIsSeenByVerify) {
  for (const SegmentKind kind : {SegmentKind::kFlat, SegmentKind::kGraph}) {
    std::vector<std::byte> file = FileOf(Contents(kind));
    SegmentHeader header;
    std::memcpy(&header, file.data(), sizeof(header));
    ASSERT_TRUE(RemoveFile(path_).ok());
    for (size_t i = kSegmentHeaderSize; i < file.size(); ++i) {
      file[i] ^= std::byte{0x10};
      Replace(file);
      const auto segment = Segment::Open(path_);
      if (segment.ok()) {
        const Status status = (*segment)->Verify(Segment::Depth::kAll);
        EXPECT_EQ(status.code(), StatusCode::kCorruption) << i;
        EXPECT_NE(status.message().find(path_), std::string::npos);
        const auto within = [&](SectionKind section) {
          const SectionRecord& record = header.sections[static_cast<uint32_t>(section)];
          return i >= record.offset && i < record.offset + record.size;
        };
        const bool indexed =
            within(SectionKind::kCodec) || within(SectionKind::kEntries) || within(SectionKind::kExtents);
        EXPECT_EQ((*segment)->Verify(Segment::Depth::kIndexed).ok(), !indexed) << i;
      } else {
        EXPECT_EQ(segment.status().code(), StatusCode::kCorruption) << i;
      }
      file[i] ^= std::byte{0x10};
    }
  }
}

TEST_F(SegmentTest, EveryOtherLengthIsRefused) {
  std::vector<std::byte> file = FileOf(Contents(SegmentKind::kGraph));
  for (size_t size = 0; size < file.size(); size += size < 4000 ? 97 : 1) {
    EXPECT_EQ(OpenBytes(Bytes(file).first(size)).code(), StatusCode::kCorruption) << size;
  }
  for (const size_t more : {1, 64, 5000}) {
    std::vector<std::byte> longer(file.size() + more);
    std::copy(file.begin(), file.end(), longer.begin());
    EXPECT_EQ(OpenBytes(longer).code(), StatusCode::kCorruption) << more;
    // Even if the header agrees with the length.
    const uint64_t size = longer.size();
    std::memcpy(longer.data() + offsetof(SegmentHeader, file_size), &size, sizeof(size));
    SealHeader(longer);
    EXPECT_EQ(OpenBytes(longer).code(), StatusCode::kCorruption) << more;
  }
}

TEST_F(SegmentTest, RandomBytesAreRefused) {
  std::mt19937_64 random(4);
  for (int i = 0; i < 300; ++i) {
    std::vector<std::byte> file(random() % 20000);
    for (std::byte& byte : file) byte = static_cast<std::byte>(random());
    EXPECT_FALSE(OpenBytes(file).ok());
  }
}

TEST_F(SegmentTest, RandomHeadersNeverLeadAstray) {
  // Random 4-byte changes behind a fitting checksum: whatever Open lets through must be safe to verify and
  // to follow.
  std::mt19937_64 random(5);
  const std::vector<std::byte> good = FileOf(Contents(SegmentKind::kGraph));
  const uint32_t values[] = {0, 1, 2, 63, 64, 4096, 0x7FFFFFFF, 0x80000000, 0xFFFFFFC0, 0xFFFFFFFF};
  for (int i = 0; i < 3000; ++i) {
    std::vector<std::byte> file = good;
    for (uint64_t change = 0; change <= random() % 3; ++change) {
      const size_t words = sizeof(SegmentHeader) / 4;
      const size_t at = (change % 2 == 0 ? random() % words : kSegmentHeaderSize / 4 + random() % 100) * 4;
      const uint32_t value = random() % 4 == 0 ? static_cast<uint32_t>(random()) : values[random() % 10];
      if (at + 4 <= file.size()) std::memcpy(file.data() + at, &value, sizeof(value));
    }
    SealHeader(file);
    Replace(file);
    const auto segment = Segment::Open(path_);
    if (!segment.ok()) continue;
    static_cast<void>((*segment)->Verify(Segment::Depth::kIndexed).ok());
    static_cast<void>((*segment)->Verify(Segment::Depth::kAll).ok());
    for (uint32_t node = 0; node < (*segment)->node_count(); ++node) {
      if (const auto ordinals = (*segment)->OrdinalsOf(node)) {
        for (const uint64_t ordinal : *ordinals) static_cast<void>((*segment)->ExtentOf(ordinal));
      }
    }
  }
}

TEST_F(SegmentTest, OpenChecksHeaderFields) {
  const StatusCode corrupt = StatusCode::kCorruption;
  const StatusCode unsupported = StatusCode::kUnsupported;
  EXPECT_EQ(CodeOfHeader([](SegmentHeader&) {}), StatusCode::kOk);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.magic = __builtin_bswap64(h.magic); }), unsupported);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.version = 2; }), unsupported);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.kind = 0; }), unsupported);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.kind = 3; }), unsupported);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.metric = 0; }), unsupported);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.metric = 5; }), unsupported);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.element_type = 0; }), unsupported);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.element_type = 3; }), unsupported);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.code_kind = 0; }), unsupported);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.header_size = 8192; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.file_size += 64; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.file_size = ~uint64_t{0}; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.range = {2, 1}; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.entry_count = 5; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.entry_count = ~uint64_t{0} / 8 + 7; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.dims = 0; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.dims = kMaxDims + 1; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.dims = 2 * kDims; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.m = 1; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.m = 3; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.m = 101; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.slots_per_extent = 0; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.node_count = 4; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.node_count = kNoNode; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.stride = 0; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.stride = 96; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.stride += 64; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.entry_node = kNodes; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.entry_rank = 2; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.entry_rank = kNoNode; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.max_level = 0; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.max_level = 4; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.kind = 1; }), corrupt);
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { h.kind = 2; }, SegmentKind::kFlat), corrupt);
}

TEST_F(SegmentTest, StrideMustBeTheCodecs) {
  // Sections that agree with a doubled stride, under a codec that does not.
  Contents contents(SegmentKind::kGraph);
  contents.header.stride *= 2;
  contents.codes.resize(contents.codes.size() * 2);
  EXPECT_EQ(CodeOfOpen(contents), StatusCode::kCorruption);
}

TEST_F(SegmentTest, OpenChecksSectionBounds) {
  for (uint32_t i = 0; i < kSectionCount; ++i) {
    for (const uint64_t delta : {uint64_t{1}, uint64_t{64}, ~uint64_t{0}, ~uint64_t{63}, uint64_t{1} << 63}) {
      EXPECT_EQ(CodeOfHeader([&](SegmentHeader& h) { h.sections[i].offset += delta; }),
                StatusCode::kCorruption)
          << i << " " << delta;
      EXPECT_EQ(CodeOfHeader([&](SegmentHeader& h) { h.sections[i].size += delta; }), StatusCode::kCorruption)
          << i << " " << delta;
    }
    EXPECT_EQ(
        CodeOfHeader([&](SegmentHeader& h) { h.sections[i].size = ~uint64_t{0} - h.sections[i].offset; }),
        StatusCode::kCorruption);
  }
  EXPECT_EQ(CodeOfHeader([](SegmentHeader& h) { std::swap(h.sections[4], h.sections[5]); }),
            StatusCode::kCorruption);
}

TEST_F(SegmentTest, OpenChecksSectionSizes) {
  const auto code_of = [&](const std::function<void(Contents&)>& change) {
    Contents contents(SegmentKind::kGraph);
    change(contents);
    return CodeOfOpen(contents);
  };
  const StatusCode corrupt = StatusCode::kCorruption;
  EXPECT_EQ(code_of([](Contents&) {}), StatusCode::kOk);
  EXPECT_EQ(code_of([](Contents& c) { c.codec.push_back(std::byte{0}); }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.codec.clear(); }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.codes.pop_back(); }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.links0.push_back(0); }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.upper_nodes.push_back(0); }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.upper_links.pop_back(); }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.upper_header.list_count = 0xFFFFFFFF; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.upper_header.node_count = 0xFFFFFFFF; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.ordinals.pop_back(); }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.offsets.clear(); }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.orphans = {0, 1, 2, 3, 4, 4}; }), corrupt);
  // More ranks than nodes, with sizes that fit.
  EXPECT_EQ(code_of([](Contents& c) {
              c.upper_header = {6, 6};
              c.upper_nodes.assign(6, 0);
              c.upper_offsets.assign(7, 0);
              c.upper_links.assign(6 * kM, kNone);
            }),
            corrupt);
}

TEST_F(SegmentTest, IndexedVerifyChecksContents) {
  const StatusCode corrupt = StatusCode::kCorruption;
  const auto code_of = [&](const std::function<void(Contents&)>& change) {
    const StatusCode indexed = CodeOfVerify(change, Segment::Depth::kIndexed);
    EXPECT_EQ(CodeOfVerify(change, Segment::Depth::kAll), indexed);
    return indexed;
  };
  EXPECT_EQ(code_of([](Contents&) {}), StatusCode::kOk);
  EXPECT_EQ(code_of([](Contents& c) { c.offsets = {1, 1, 3, 3, 4, 6}; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.offsets = {0, 3, 1, 3, 4, 6}; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.offsets = {0, 1, 3, 3, 4, 5}; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { std::swap(c.extents[0], c.extents[1]); }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.extents[1].extent = 3; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.extents.pop_back(); }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.extents.clear(); }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.ordinals[0] = 29; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.ordinals[5] = 80; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.ordinals[3] = ~uint64_t{0}; }), corrupt);
}

TEST_F(SegmentTest, FullVerifyChecksTheGraph) {
  const StatusCode corrupt = StatusCode::kCorruption;
  const auto code_of = [&](const std::function<void(Contents&)>& change) {
    EXPECT_EQ(CodeOfVerify(change, Segment::Depth::kIndexed), StatusCode::kOk);
    return CodeOfVerify(change, Segment::Depth::kAll);
  };
  EXPECT_EQ(code_of([](Contents& c) { c.links0[0] = kNodes; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.links0[12] = kNoNode - 1; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.links0[3] = kNodes; }), StatusCode::kOk);
  EXPECT_EQ(code_of([](Contents& c) { c.upper_nodes[1] = kNodes; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.upper_nodes[0] = 2; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.upper_offsets = {1, 2, 3}; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.upper_offsets = {0, 4, 3}; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.upper_offsets = {0, 2, 2}; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.upper_offsets = {0, 1, 3}; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.upper_links[0] = 2; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.upper_links[4] = 2; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.upper_links[2] = 1; }), corrupt) << "node 3 has no level 2";
  EXPECT_EQ(code_of([](Contents& c) { c.orphans = {4, 3}; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.orphans = {3, 3}; }), corrupt);
  EXPECT_EQ(code_of([](Contents& c) { c.orphans = {kNodes}; }), corrupt);
}

}  // namespace
}  // namespace vecckpt
