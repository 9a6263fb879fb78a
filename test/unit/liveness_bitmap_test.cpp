// Liveness bitmaps: written and read back, and whatever is not that of its segment refused.

#include "segment/liveness_bitmap.hpp"

#include <gtest/gtest.h>

#include "os/file.hpp"
#include "temporary_directory.hpp"

namespace vecckpt {
namespace {

class LivenessBitmapTest : public ::testing::Test {
 protected:
  StatusCode OpenAgain(uint64_t segment_id, uint32_t node_count) const {
    return LivenessBitmap::Open(path_, segment_id, node_count, kEntries).status().code();
  }
  // Writes the file anew, changed.
  template <typename Change>
  void Damage(Change change) const {
    std::vector<std::byte> bytes = *ReadFile(path_, 1 << 20);
    change(bytes);
    ASSERT_TRUE(WriteFileByRename(path_, bytes, 0600).ok());
  }

  static constexpr uint64_t kEntries = 300;
  TemporaryDirectory directory_;
  std::string path_ = directory_.File("bitmap");
};

TEST_F(LivenessBitmapTest, RoundTrip) {
  for (const uint32_t nodes : {0u, 1u, 63u, 64u, 65u, 1000u}) {
    std::vector<uint64_t> words((nodes + 63) / 64);
    for (size_t i = 0; i < words.size(); ++i) words[i] = 0x9E3779B97F4A7C15u * (i + 1);
    ASSERT_TRUE(LivenessBitmap::Write(path_, 0600, 7, nodes, 5, words).ok());
    const auto bitmap = LivenessBitmap::Open(path_, 7, nodes, kEntries);
    ASSERT_TRUE(bitmap.ok()) << bitmap.status().message();
    EXPECT_EQ((*bitmap)->live_entries(), 5u);
    EXPECT_TRUE(std::equal(words.begin(), words.end(), (*bitmap)->dead_nodes().begin(),
                           (*bitmap)->dead_nodes().end()));
  }
}

TEST_F(LivenessBitmapTest, AnothersAreRefused) {
  EXPECT_EQ(OpenAgain(7, 100), StatusCode::kNotFound);
  ASSERT_TRUE(LivenessBitmap::Write(path_, 0600, 7, 100, 5, std::vector<uint64_t>(2)).ok());
  EXPECT_EQ(OpenAgain(7, 100), StatusCode::kOk);
  EXPECT_EQ(OpenAgain(8, 100), StatusCode::kCorruption);
  EXPECT_EQ(OpenAgain(7, 101), StatusCode::kCorruption);
  EXPECT_EQ(OpenAgain(7, 1000), StatusCode::kCorruption);
}

TEST_F(LivenessBitmapTest, DamagedOnesAreRefused) {
  const auto write = [&] {
    ASSERT_TRUE(LivenessBitmap::Write(path_, 0600, 7, 100, 5, std::vector<uint64_t>(2)).ok());
  };
  for (const size_t size : {0u, 1u, 63u, 64u, 79u, 81u}) {
    write();
    Damage([size](auto& bytes) { bytes.resize(size); });
    EXPECT_EQ(OpenAgain(7, 100), StatusCode::kCorruption) << size;
  }
  for (const size_t byte : {0u, 8u}) {
    write();
    Damage([byte](auto& bytes) { bytes[byte] ^= std::byte{1}; });
    EXPECT_EQ(OpenAgain(7, 100), StatusCode::kUnsupported) << byte;
  }
}

// Shares of ef_search are made of it.
TEST_F(LivenessBitmapTest, NoMoreLiveThanThereAre) {
  for (const uint64_t live : {uint64_t{0}, kEntries, kEntries + 1, UINT64_MAX}) {
    ASSERT_TRUE(LivenessBitmap::Write(path_, 0600, 7, 100, live, std::vector<uint64_t>(2)).ok());
    EXPECT_EQ(OpenAgain(7, 100), live <= kEntries ? StatusCode::kOk : StatusCode::kCorruption) << live;
  }
}

}  // namespace
}  // namespace vecckpt
