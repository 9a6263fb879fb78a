// File names: written and read back, and nothing else accepted.

#include "segment/names.hpp"

#include <gtest/gtest.h>

#include <random>

namespace vecckpt {
namespace {

void ExpectRoundTrip(const std::string& name, const IndexKey& key, FileKind kind, uint64_t id) {
  for (const bool temporary : {false, true}) {
    const auto parsed = ParseFileName(temporary ? name + ".tmp" : name);
    ASSERT_TRUE(parsed.has_value()) << name;
    EXPECT_EQ(parsed->key, key);
    EXPECT_EQ(parsed->kind, kind);
    EXPECT_EQ(parsed->id, id);
    EXPECT_EQ(parsed->temporary, temporary);
  }
}

TEST(Names, AreAsDocumented) {
  const IndexKey key = {5, 1663, 16384};
  EXPECT_EQ(DurableManifestName(key), "5_1663_16384.ckpt");
  EXPECT_EQ(GenerationManifestName(key, 0xABC), "5_1663_16384.0000000000000abc.gen");
  EXPECT_EQ(SegmentName(key, ~uint64_t{0}), "5_1663_16384.ffffffffffffffff.seg");
}

TEST(Names, RoundTrip) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 1000; ++i) {
    // Shifts give numbers of every length.
    const auto number = [&] { return static_cast<uint32_t>(random()) >> (random() % 33 % 32); };
    const IndexKey key = i == 0   ? IndexKey{0, 0, 0}
                         : i == 1 ? IndexKey{4294967295u, 4294967295u, 4294967295u}
                                  : IndexKey{number(), number(), number()};
    const uint64_t id = random() >> (random() % 64);
    ExpectRoundTrip(DurableManifestName(key), key, FileKind::kDurableManifest, 0);
    ExpectRoundTrip(GenerationManifestName(key, id), key, FileKind::kGenerationManifest, id);
    ExpectRoundTrip(SegmentName(key, id), key, FileKind::kSegment, id);
    ExpectRoundTrip(LivenessBitmapName(key, id), key, FileKind::kLivenessBitmap, id);
    ExpectRoundTrip(TriesName(key, id), key, FileKind::kTries, id);
  }
}

TEST(Names, FitTheirLimit) {
  const IndexKey key = {4294967295u, 4294967295u, 4294967295u};
  EXPECT_LT(("vector-ckpt/" + TriesName(key, ~uint64_t{0}) + ".tmp").size(), 100u);
}

TEST(Names, StrangeNamesAreRefused) {
  for (const char* name : {
           "",
           ".",
           "..",
           ".tmp",
           ".ckpt",
           "1_2_3",
           "1_2_3.",
           "1_2_3.tmp",
           "1_2_3.CKPT",
           "1_2_3.ckpt ",
           " 1_2_3.ckpt",
           "1_2_3.ckpt.tmp.tmp",
           "1_2_3.ckpt.bak",
           "1_2_3.0123456789abcdef.ckpt",
           "1_2.ckpt",
           "1_2_.ckpt",
           "_2_3.ckpt",
           "1__3.ckpt",
           "1_2_3_4.ckpt",
           "01_2_3.ckpt",
           "1_00_3.ckpt",
           "1_2_03.ckpt",
           "+1_2_3.ckpt",
           "-1_2_3.ckpt",
           "1_2_3x.ckpt",
           "1_2_4294967296.ckpt",
           "1_99999999999999999999_3.ckpt",
           "1_2_3.gen",
           "1_2_3.seg",
           "1_2_3.live",
           "1_2_3..seg",
           "1_2_30123456789abcdef.seg",
           "1_2_3.0123456789abcde.seg",
           "1_2_3.0123456789abcdef0.seg",
           "1_2_3.0123456789ABCDEF.seg",
           "1_2_3.0x23456789abcdef.seg",
           "1_2_3.-123456789abcdef.seg",
           "1_2_3. 123456789abcdef.gen",
           "1_2_3.0123456789abcdef.sega",
           "1_2_3.0123456789abcdefseg",
           "1_2_3/0123456789abcdef.seg",
           "../1_2_3.ckpt",
       }) {
    EXPECT_FALSE(ParseFileName(name).has_value()) << name;
  }
  EXPECT_FALSE(ParseFileName(std::string_view("1_2_3.ckpt\0", 11)).has_value());
  EXPECT_FALSE(ParseFileName(std::string_view("1_2_3\0.ckpt", 11)).has_value());
}

TEST(Names, WhatIsAcceptedIsCanonical) {
  // Names with one byte changed: either refused, or exactly what the parsed parts are written as.
  const std::string original = SegmentName({10, 1663, 200}, 0x0123456789abcdef) + ".tmp";
  for (size_t at = 0; at < original.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string name = original;
      name[at] = static_cast<char>(byte);
      const auto parsed = ParseFileName(name);
      if (!parsed) continue;
      EXPECT_EQ(SegmentName(parsed->key, parsed->id) + ".tmp", name);
    }
  }
}

}  // namespace
}  // namespace vecckpt
