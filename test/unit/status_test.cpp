// Status, Result, byte helpers and checksums.

#include "base/status.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <numeric>
#include <set>
#include <vector>

#include "base/bytes.hpp"
#include "base/checksum.hpp"

namespace vecckpt {
namespace {

TEST(Status, DefaultIsOk) {
  const Status status;
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.code(), StatusCode::kOk);
  EXPECT_TRUE(status.message().empty());
}

TEST(Status, ErrorsOfTheOperatingSystemHaveCodes) {
  EXPECT_EQ(Status::FromErrno(ENOENT, "open", "f").code(), StatusCode::kNotFound);
  EXPECT_EQ(Status::FromErrno(ENOSPC, "write", "f").code(), StatusCode::kNoSpace);
  EXPECT_EQ(Status::FromErrno(EDQUOT, "write", "f").code(), StatusCode::kNoSpace);
  EXPECT_EQ(Status::FromErrno(ENOMEM, "map", "f").code(), StatusCode::kOutOfMemory);
  EXPECT_EQ(Status::FromErrno(EACCES, "open", "f").code(), StatusCode::kIoError);
}

TEST(Status, MessageNamesActionAndObject) {
  EXPECT_EQ(Status::FromErrno(ENOENT, "open", "a/b").message(),
            "could not open file \"a/b\": No such file or directory");
  EXPECT_EQ(Status::FromErrno(ENOENT, "read", "a", "directory").message(),
            "could not read directory \"a\": No such file or directory");
}

TEST(Result, HoldsValueOrStatus) {
  Result<std::unique_ptr<int>> good(std::make_unique<int>(7));
  ASSERT_TRUE(good.ok());
  EXPECT_EQ(**good, 7);
  const Result<int> bad(Status::Corruption("torn"));
  EXPECT_FALSE(bad.ok());
  EXPECT_EQ(bad.status().code(), StatusCode::kCorruption);
  EXPECT_EQ(bad.status().message(), "torn");
}

Status Forward(Status status) {
  VECCKPT_RETURN_IF_ERROR(status);
  return Status::Internal("reached the end");
}

TEST(Result, ReturnIfErrorLeavesOnErrorsOnly) {
  EXPECT_EQ(Forward(Status::Cancelled()).code(), StatusCode::kCancelled);
  EXPECT_EQ(Forward(Status::Ok()).code(), StatusCode::kInternal);
}

TEST(Bytes, AlignUp) {
  EXPECT_EQ(AlignUp(0, 64), 0u);
  EXPECT_EQ(AlignUp(1, 64), 64u);
  EXPECT_EQ(AlignUp(64, 64), 64u);
  EXPECT_EQ(AlignUp(65, 8), 72u);
}

TEST(Bytes, ViewsThereAndBack) {
  const std::vector<uint32_t> values = {1, 2, 3};
  const Bytes bytes = AsBytes(std::span<const uint32_t>(values));
  EXPECT_EQ(bytes.size(), 12u);
  const auto back = ViewAs<uint32_t>(bytes);
  EXPECT_TRUE(std::equal(back.begin(), back.end(), values.begin(), values.end()));
  EXPECT_EQ(ViewAs<uint64_t>(bytes.first(11)).size(), 1u);
  EXPECT_EQ(AsBytes(uint16_t{1}).size(), 2u);
}

TEST(Checksum, IsXxh3) {
  // The published value of XXH3-64 for no input.
  EXPECT_EQ(Checksum({}), 0x2D06800538D394C2u);
}

TEST(Checksum, SeesEveryByteAndTheSeed) {
  std::vector<std::byte> bytes(1000);
  const uint64_t before = Checksum(bytes);
  EXPECT_NE(Checksum(bytes, 1), before);
  for (std::byte& byte : bytes) {
    byte = std::byte{1};
    EXPECT_NE(Checksum(bytes), before);
    byte = std::byte{0};
  }
  EXPECT_NE(Checksum(Bytes(bytes).first(999)), before);
}

TEST(Checksum, StreamingEqualsOneShotWhateverThePieces) {
  std::vector<uint8_t> values(5000);
  std::iota(values.begin(), values.end(), uint8_t{0});
  const Bytes bytes = AsBytes(std::span<const uint8_t>(values));
  StreamingChecksum streaming;
  for (const size_t piece : {1u, 7u, 255u, 256u, 1024u, 5000u}) {
    streaming.Reset();
    for (size_t at = 0; at < bytes.size(); at += piece) {
      streaming.Update(bytes.subspan(at, std::min(piece, bytes.size() - at)));
      streaming.Update({});
    }
    EXPECT_EQ(streaming.Digest(), Checksum(bytes)) << piece;
  }
  streaming.Reset();
  EXPECT_EQ(streaming.Digest(), Checksum({}));
}

TEST(Checksum, StreamingMoves) {
  StreamingChecksum first;
  first.Update(AsBytes(uint64_t{42}));
  StreamingChecksum second(std::move(first));
  EXPECT_EQ(second.Digest(), Checksum(AsBytes(uint64_t{42})));
}

TEST(RandomId, IsNeitherZeroNorRepeated) {
  std::set<uint64_t> ids;
  for (int i = 0; i < 100; ++i) {
    const Result<uint64_t> id = RandomId();
    ASSERT_TRUE(id.ok());
    EXPECT_NE(*id, 0u);
    ids.insert(*id);
  }
  EXPECT_EQ(ids.size(), 100u);
}

}  // namespace
}  // namespace vecckpt
