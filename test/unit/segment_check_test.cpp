// Whole segments: what jobs write has no defects; each kind of defect is named, one message each.

#include "segment/segment_check.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "fake_log.hpp"
#include "os/file.hpp"
#include "segment_contents.hpp"
#include "temporary_directory.hpp"

namespace vecckpt {
namespace {

SegmentDefects DefectsOf(const Segment& segment) {
  SegmentDefects defects;
  const Status status = FindDefects(segment, nullptr, &defects);
  EXPECT_TRUE(status.ok()) << status.message();
  return defects;
}

// The messages, each ended by ";".
std::string Messages(const SegmentDefects& defects) {
  std::string messages;
  for (const std::string& message : defects.messages) messages += message + ";";
  return messages;
}

class SegmentCheckTest : public ::testing::Test {
 protected:
  std::shared_ptr<const Segment> Open() {
    auto segment = Segment::Open(path_);
    EXPECT_TRUE(segment.ok()) << segment.status().message();
    return segment.ok() ? *segment : nullptr;
  }
  // What is found in a graph segment whose contents were changed before it was written.
  std::string Found(const std::function<void(Contents&)>& change) {
    Contents contents(SegmentKind::kGraph);
    change(contents);
    EXPECT_TRUE(WriteContents(path_, contents).ok());
    const auto segment = Open();
    return segment == nullptr ? "not opened" : Messages(DefectsOf(*segment));
  }

  TemporaryDirectory directory_;
  const std::string path_ = directory_.File("s");
};

TEST_F(SegmentCheckTest, SoundSegments) {
  EXPECT_EQ(Found([](Contents&) {}), "");
  Contents flat(SegmentKind::kFlat);
  ASSERT_TRUE(WriteContents(path_, flat).ok());
  EXPECT_EQ(Messages(DefectsOf(*Open())), "");
}

TEST_F(SegmentCheckTest, WhatJobsWriteIsSound) {
  for (const CodeKind kind : {CodeKind::kNone, CodeKind::kSq8, CodeKind::kSq4}) {
    FakeLog log(Metric::kL2, 12, kind);
    log.AddRandom(1500, 3);
    const auto flat = log.Seal(3, 700);
    EXPECT_EQ(Messages(DefectsOf(*flat)), "");
    const auto graph = log.Graph(log.ToGraph({flat, log.Seal(700, 1000)}));
    EXPECT_EQ(Messages(DefectsOf(*graph)), "");
    const auto merged = log.Merge({log.Seal(1000, 1200), log.Seal(1200, 1500)});
    EXPECT_EQ(Messages(DefectsOf(*merged)), "");
    GraphInput absorb = log.ToGraph({graph, merged});
    absorb.keep_base_graph = true;
    EXPECT_EQ(Messages(DefectsOf(*log.Graph(absorb))), "");
  }
}

TEST_F(SegmentCheckTest, SlotsAreThoseOfTheEntries) {
  FakeLog log(Metric::kL2, 4);
  log.AddRandom(100, 4);
  const auto segment = log.Seal(5, 83);
  const SegmentDefects defects = DefectsOf(*segment);
  for (size_t extent = 0; extent < segment->extents().size(); ++extent) {
    const uint64_t sequence = segment->extents()[extent].sequence;
    for (uint32_t slot = 0; slot < FakeLog::kSlots; ++slot) {
      const uint64_t position = sequence * FakeLog::kSlots + slot;
      EXPECT_EQ(defects.slots.Has(extent, slot), position >= 5 && position < 83) << position;
    }
  }
}

TEST_F(SegmentCheckTest, EveryDamagedSectionIsNamed) {
  const Contents contents(SegmentKind::kGraph);
  ASSERT_TRUE(WriteContents(path_, contents).ok());
  const SegmentHeader header = Open()->header();
  std::vector<std::byte> file = ReadFile(path_, 1 << 20).value();
  const SectionRecord& codes = header.sections[static_cast<uint32_t>(SectionKind::kCodes)];
  const SectionRecord& orphans = header.sections[static_cast<uint32_t>(SectionKind::kOrphans)];
  file[codes.offset] ^= std::byte{1};
  file[orphans.offset + orphans.size - 1] ^= std::byte{0x80};
  ASSERT_TRUE(WriteFileByRename(path_, file, 0600).ok());
  EXPECT_EQ(Messages(DefectsOf(*Open())),
            "is corrupt: codes section: checksum mismatch;is corrupt: orphans section: checksum mismatch;");
}

TEST_F(SegmentCheckTest, ContentsOutOfRange) {
  EXPECT_EQ(Found([](Contents& c) { c.links0[1] = kNodes; }),
            "is corrupt: links0 section: link out of range;");
  EXPECT_EQ(Found([](Contents& c) {
              c.orphans = {4, 3};
            }),
            "is corrupt: orphans section: out of order or range;");
}

TEST_F(SegmentCheckTest, EntriesTwice) {
  EXPECT_EQ(Found([](Contents& c) { c.ordinals[1] = c.ordinals[0]; }), "holds entries twice: 1;");
  EXPECT_EQ(Found([](Contents& c) { c.ordinals = {30, 30, 30, 39, 75, 75}; }), "holds entries twice: 3;");
}

TEST_F(SegmentCheckTest, EntriesOutsideThePositions) {
  EXPECT_EQ(Found([](Contents& c) { c.header.range = {51, 89}; }), "holds entries outside its positions: 2;");
}

TEST_F(SegmentCheckTest, NodesThatNoSearchFinds) {
  EXPECT_EQ(Found([](Contents& c) {
              c.links0[6] = kNone;  // node 1 leads to 0 and 2 only
              c.orphans = {4};
            }),
            "has nodes that no search finds: 1 of 5, the first is node 3;");
  EXPECT_EQ(Found([](Contents& c) { c.links0[6] = kNone; }), "");  // the orphans list both
}

TEST_F(SegmentCheckTest, LinksOfTheWrongLevel) {
  EXPECT_EQ(Found([](Contents& c) { c.upper_links[2] = 1; }),
            "is corrupt: upper section: link to a node without that level;");
}

TEST_F(SegmentCheckTest, SeveralDefectsAtOnce) {
  EXPECT_EQ(Found([](Contents& c) {
              c.ordinals[1] = c.ordinals[0];
              c.links0[6] = kNone;
              c.orphans = {3};
            }),
            "holds entries twice: 1;has nodes that no search finds: 1 of 5, the first is node 4;");
}

TEST_F(SegmentCheckTest, CancelIsNoDefect) {
  Contents contents(SegmentKind::kGraph);
  ASSERT_TRUE(WriteContents(path_, contents).ok());
  const std::atomic<bool> cancel{true};
  SegmentDefects defects;
  EXPECT_EQ(FindDefects(*Open(), &cancel, &defects).code(), StatusCode::kCancelled);
  EXPECT_EQ(Messages(defects), "");
}

}  // namespace
}  // namespace vecckpt
