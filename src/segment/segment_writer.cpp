// Gathers sections into large writes behind a hole for the header page, which Finish fills last.

#include "segment/segment_writer.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace vecckpt {

namespace {

constexpr size_t kBufferSize = size_t{1} << 20;

}  // namespace

Result<SegmentWriter> SegmentWriter::Create(const std::string& path, mode_t mode) {
  Result<File> file = File::Create(path + ".tmp", mode);
  if (!file.ok()) return file.status();
  return SegmentWriter(std::move(*file), path);
}

SegmentWriter::SegmentWriter(File file, std::string path)
    : file_(std::move(file)), path_(std::move(path)), temporary_path_(path_ + ".tmp") {
  buffer_.reserve(kBufferSize);
}

SegmentWriter::SegmentWriter(SegmentWriter&& other) noexcept
    : file_(std::move(other.file_)),
      path_(std::move(other.path_)),
      temporary_path_(std::move(other.temporary_path_)),
      buffer_(std::move(other.buffer_)),
      offset_(other.offset_),
      current_(other.current_),
      status_(std::move(other.status_)),
      checksum_(std::move(other.checksum_)),
      finished_(std::exchange(other.finished_, true)) {
  std::copy(std::begin(other.sections_), std::end(other.sections_), sections_);
}

SegmentWriter& SegmentWriter::operator=(SegmentWriter&& other) noexcept {
  // Swapped, so that the destructor of `other` removes the file this writer had.
  std::swap(file_, other.file_);
  std::swap(path_, other.path_);
  std::swap(temporary_path_, other.temporary_path_);
  std::swap(buffer_, other.buffer_);
  std::swap(offset_, other.offset_);
  std::swap(current_, other.current_);
  std::swap(status_, other.status_);
  std::swap(checksum_, other.checksum_);
  std::swap(sections_, other.sections_);
  std::swap(finished_, other.finished_);
  return *this;
}

SegmentWriter::~SegmentWriter() {
  // Nothing can be done about a failure here; the sweep finds what stays.
  if (!finished_) static_cast<void>(RemoveFile(temporary_path_).ok());
}

Status SegmentWriter::BeginSection(SectionKind kind) {
  if (!status_.ok()) return status_;
  const uint32_t section = static_cast<uint32_t>(kind);
  if (finished_ || section >= kSectionCount || static_cast<int>(section) <= current_) {
    return Fail(Status::Internal("section " + std::to_string(section) + " of segment \"" + path_ +
                                 "\" begun out of order"));
  }
  return AdvanceTo(section);
}

Status SegmentWriter::Append(Bytes bytes) {
  if (!status_.ok()) return status_;
  if (finished_ || current_ < 0) {
    return Fail(Status::Internal("bytes outside of a section of segment \"" + path_ + "\""));
  }
  checksum_.Update(bytes);
  return Gather(bytes);
}

Status SegmentWriter::WriteSection(SectionKind kind, Bytes bytes) {
  VECCKPT_RETURN_IF_ERROR(BeginSection(kind));
  return Append(bytes);
}

Status SegmentWriter::Flush() {
  if (!status_.ok()) return status_;
  VECCKPT_RETURN_IF_ERROR(WriteOut(buffer_));
  buffer_.clear();
  return Status::Ok();
}

Result<SegmentHeader> SegmentWriter::Finish(SegmentHeader header) {
  if (!status_.ok()) return status_;
  if (finished_) return Fail(Status::Internal("segment \"" + path_ + "\" finished twice"));
  VECCKPT_RETURN_IF_ERROR(AdvanceTo(kSectionCount));
  VECCKPT_RETURN_IF_ERROR(Flush());
  Result<SegmentHeader> written = WriteHeader(header);
  if (!written.ok()) return Fail(written.status());
  finished_ = true;
  return written;
}

Status SegmentWriter::Fail(Status status) {
  status_ = status;
  return status;
}

void SegmentWriter::EndSection() {
  SectionRecord& record = sections_[current_];
  record.size = position() - record.offset;
  record.checksum = checksum_.Digest();
}

// Ends the current section and all that are left out before `section`, and begins that one. With
// kSectionCount every section is ended.
Status SegmentWriter::AdvanceTo(uint32_t section) {
  static constexpr std::array<std::byte, kSectionAlignment> kZeros{};
  while (current_ < static_cast<int>(section)) {
    if (current_ >= 0) EndSection();
    ++current_;
    if (current_ == static_cast<int>(kSectionCount)) break;
    VECCKPT_RETURN_IF_ERROR(Gather(Bytes(kZeros).first(AlignUp(position(), kSectionAlignment) - position())));
    sections_[current_].offset = position();
    checksum_.Reset();
  }
  return Status::Ok();
}

Status SegmentWriter::Gather(Bytes bytes) {
  if (bytes.size() > kBufferSize - buffer_.size()) VECCKPT_RETURN_IF_ERROR(Flush());
  if (bytes.size() >= kBufferSize) return WriteOut(bytes);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  return Status::Ok();
}

Status SegmentWriter::WriteOut(Bytes bytes) {
  Status status = file_.WriteAt(offset_, bytes);
  if (!status.ok()) return Fail(std::move(status));
  offset_ += bytes.size();
  return Status::Ok();
}

Result<SegmentHeader> SegmentWriter::WriteHeader(SegmentHeader header) {
  header.magic = kSegmentMagic;
  header.version = kSegmentVersion;
  header.header_size = kSegmentHeaderSize;
  header.checksum = 0;
  header.file_size = offset_;
  std::fill(std::begin(header.reserved), std::end(header.reserved), uint8_t{0});
  std::copy(std::begin(sections_), std::end(sections_), header.sections);

  std::array<std::byte, kSegmentHeaderSize> page{};
  std::memcpy(page.data(), &header, sizeof(header));
  header.checksum = HeaderPageChecksum(page);
  std::memcpy(page.data(), &header, sizeof(header));

  VECCKPT_RETURN_IF_ERROR(file_.WriteAt(0, page));
  VECCKPT_RETURN_IF_ERROR(file_.Close());
  VECCKPT_RETURN_IF_ERROR(RenameFile(temporary_path_, path_));
  return header;
}

}  // namespace vecckpt
