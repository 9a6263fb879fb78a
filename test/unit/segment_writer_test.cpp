// The segment writer: layout, pieces of any size, and nothing left behind on failure.

#include "segment/segment_writer.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "base/checksum.hpp"
#include "os/file.hpp"
#include "os/mapping.hpp"
#include "temporary_directory.hpp"

namespace vecckpt {
namespace {

class SegmentWriterTest : public ::testing::Test {
 protected:
  TemporaryDirectory directory_;
  const std::string path_ = directory_.File("s");
};

TEST_F(SegmentWriterTest, FileIsAsDocumented) {
  Result<SegmentWriter> writer = SegmentWriter::Create(path_, 0600);
  ASSERT_TRUE(writer.ok());
  std::vector<std::byte> content(200, std::byte{0x55});
  ASSERT_TRUE(writer->WriteSection(SectionKind::kCodec, Bytes(content).first(3)).ok());
  ASSERT_TRUE(writer->WriteSection(SectionKind::kCodes, Bytes(content).first(128)).ok());
  ASSERT_TRUE(writer->WriteSection(SectionKind::kEntries, Bytes(content).first(65)).ok());
  SegmentHeader given{};
  given.segment_id = 42;
  given.range = {7, 9};
  given.reserved[2] = 7;
  const Result<SegmentHeader> header = writer->Finish(given);
  ASSERT_TRUE(header.ok());

  const std::vector<std::byte> file = ReadFile(path_, 1 << 20).value();
  EXPECT_EQ(std::memcmp(&*header, file.data(), sizeof(*header)), 0);
  EXPECT_EQ(std::memcmp(file.data(), "VECSEGT1", 8), 0);
  EXPECT_EQ(header->segment_id, 42u);
  EXPECT_EQ(header->range, (PositionRange{7, 9}));
  EXPECT_EQ(header->reserved[2], 0);
  EXPECT_EQ(header->header_size, kSegmentHeaderSize);
  EXPECT_EQ(header->file_size, file.size());
  EXPECT_EQ(header->checksum, HeaderPageChecksum(Bytes(file).first(kSegmentHeaderSize)));
  const uint64_t sizes[kSectionCount] = {3, 128, 0, 0, 65, 0, 0};
  uint64_t end = sizeof(SegmentHeader);
  for (uint32_t i = 0; i < kSectionCount; ++i) {
    const SectionRecord& record = header->sections[i];
    EXPECT_EQ(record.size, sizes[i]) << i;
    EXPECT_EQ(record.offset, i == 0 ? kSegmentHeaderSize : AlignUp(end, kSectionAlignment)) << i;
    ASSERT_LE(record.offset + record.size, file.size());
    for (uint64_t at = end; at < record.offset; ++at) EXPECT_EQ(file[at], std::byte{0}) << at;
    EXPECT_EQ(record.checksum, Checksum(Bytes(file).subspan(record.offset, record.size))) << i;
    end = record.offset + record.size;
  }
  EXPECT_EQ(end, file.size());
}

TEST_F(SegmentWriterTest, PiecesOfAnySizeGiveTheSameFile) {
  std::vector<std::byte> content(3 << 20);
  std::mt19937_64 random(6);
  for (std::byte& byte : content) byte = static_cast<std::byte>(random());
  std::vector<std::byte> expected;
  for (const size_t piece :
       {content.size(), size_t{1} << 20, (size_t{1} << 20) - 1, size_t{4097}, size_t{0}}) {
    Result<SegmentWriter> writer = SegmentWriter::Create(path_, 0600);
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->WriteSection(SectionKind::kCodec, Bytes(content).first(5)).ok());
    ASSERT_TRUE(writer->BeginSection(SectionKind::kCodes).ok());
    for (size_t at = 0; at < content.size();) {
      const size_t size = std::min(piece != 0 ? piece : random() % 3000000, content.size() - at);
      ASSERT_TRUE(writer->Append(Bytes(content).subspan(at, size)).ok());
      if (random() % 4 == 0) {
        ASSERT_TRUE(writer->Flush().ok());
      }
      at += size;
    }
    ASSERT_TRUE(writer->WriteSection(SectionKind::kExtents, Bytes(content).first(77)).ok());
    ASSERT_TRUE(writer->Finish(SegmentHeader{}).ok());
    const std::vector<std::byte> file = ReadFile(path_, 8 << 20).value();
    EXPECT_TRUE(std::equal(content.begin(), content.end(), file.begin() + kSegmentHeaderSize + 64));
    if (expected.empty()) expected = file;
    EXPECT_EQ(file, expected) << piece;
  }
}

TEST_F(SegmentWriterTest, FlushMakesTheSectionReadable) {
  Result<SegmentWriter> writer = SegmentWriter::Create(path_, 0600);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->WriteSection(SectionKind::kCodec, AsBytes(uint64_t{1})).ok());
  ASSERT_TRUE(writer->WriteSection(SectionKind::kCodes, AsBytes(uint64_t{0xABCDEF})).ok());
  ASSERT_TRUE(writer->Flush().ok());
  const uint64_t offset = writer->section_offset(SectionKind::kCodes);
  EXPECT_EQ(offset, kSegmentHeaderSize + kSectionAlignment);
  {
    const Result<Mapping> mapping = Mapping::Open(writer->temporary_path());
    ASSERT_TRUE(mapping.ok());
    ASSERT_EQ(mapping->bytes().size(), offset + 8);
    EXPECT_EQ(ViewAs<uint64_t>(mapping->bytes().subspan(offset))[0], 0xABCDEFu);
  }
  ASSERT_TRUE(writer->Append(AsBytes(uint64_t{0x123456})).ok());
  const Result<SegmentHeader> header = writer->Finish(SegmentHeader{});
  ASSERT_TRUE(header.ok());
  const uint64_t both[] = {0xABCDEF, 0x123456};
  EXPECT_EQ(header->sections[1].size, 16u);
  EXPECT_EQ(header->sections[1].checksum, Checksum(AsBytes(both)));
}

TEST_F(SegmentWriterTest, NothingStaysOfAnUnfinishedSegment) {
  {
    Result<SegmentWriter> writer = SegmentWriter::Create(path_, 0600);
    ASSERT_TRUE(writer.ok());
    EXPECT_EQ(writer->temporary_path(), path_ + ".tmp");
    ASSERT_TRUE(writer->WriteSection(SectionKind::kCodec, AsBytes(uint64_t{1})).ok());
    SegmentWriter moved(std::move(*writer));
    EXPECT_EQ(ListDirectory(directory_.path())->size(), 1u);
    Result<SegmentWriter> other = SegmentWriter::Create(path_ + "2", 0600);
    ASSERT_TRUE(other.ok());
    *other = std::move(moved);
    ASSERT_TRUE(other->Append(AsBytes(uint64_t{2})).ok());
  }
  EXPECT_TRUE(ListDirectory(directory_.path())->empty());
}

TEST_F(SegmentWriterTest, FinishRenamesWithTheModeGiven) {
  Result<SegmentWriter> writer = SegmentWriter::Create(path_, 0640);
  ASSERT_TRUE(writer.ok());
  EXPECT_FALSE(SegmentWriter::Create(path_, 0640).ok());
  ASSERT_TRUE(writer->Finish(SegmentHeader{}).ok());
  EXPECT_EQ(*ListDirectory(directory_.path()), std::vector<std::string>{"s"});
  struct stat info {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640u);
}

TEST_F(SegmentWriterTest, MisuseIsAnError) {
  const auto create = [&] { return SegmentWriter::Create(path_, 0600); };
  EXPECT_EQ(create()->Append(AsBytes(uint64_t{1})).code(), StatusCode::kInternal);
  Result<SegmentWriter> writer = create();
  ASSERT_TRUE(writer->BeginSection(SectionKind::kEntries).ok());
  EXPECT_EQ(writer->BeginSection(SectionKind::kCodes).code(), StatusCode::kInternal);
  EXPECT_EQ(writer->Finish(SegmentHeader{}).status().code(), StatusCode::kInternal);
  *writer = std::move(*SegmentWriter::Create(path_ + "2", 0600));
  ASSERT_TRUE(writer->Finish(SegmentHeader{}).ok());
  EXPECT_EQ(writer->Finish(SegmentHeader{}).status().code(), StatusCode::kInternal);
  EXPECT_EQ(writer->BeginSection(SectionKind::kExtents).code(), StatusCode::kInternal);
  EXPECT_EQ(*ListDirectory(directory_.path()), std::vector<std::string>{"s2"});
}

TEST_F(SegmentWriterTest, AFailedWriteIsReportedFromThenOn) {
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit limit = {1 << 20, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &limit);
  {
    Result<SegmentWriter> writer = SegmentWriter::Create(path_, 0600);
    ASSERT_TRUE(writer.ok());
    const std::vector<std::byte> large(2 << 20);
    EXPECT_EQ(writer->WriteSection(SectionKind::kCodec, large).code(), StatusCode::kIoError);
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_EQ(writer->Append(AsBytes(uint64_t{1})).code(), StatusCode::kIoError);
    EXPECT_EQ(writer->Flush().code(), StatusCode::kIoError);
    EXPECT_EQ(writer->Finish(SegmentHeader{}).status().code(), StatusCode::kIoError);
  }
  signal(SIGXFSZ, handler);
  EXPECT_TRUE(ListDirectory(directory_.path())->empty());
}

}  // namespace
}  // namespace vecckpt
