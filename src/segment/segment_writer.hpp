// Writes one segment file: sections in order, then the header. Nothing is synced here; a checkpoint does.
//
// The file is created under its temporary name and renamed to its own by Finish. A writer destroyed before
// Finish removes the file.
//
// After an error the writer gives the same error to every call: what it wrote is not to be used.
//
// Thread safety: one thread at a time.

#pragma once

#include <string>
#include <vector>

#include "base/checksum.hpp"
#include "os/file.hpp"
#include "segment/segment_format.hpp"

namespace vecckpt {

class SegmentWriter {
 public:
  // Creates `path`.tmp with exactly `mode`.
  static Result<SegmentWriter> Create(const std::string& path, mode_t mode);
  SegmentWriter(SegmentWriter&&) noexcept;
  SegmentWriter& operator=(SegmentWriter&&) noexcept;
  ~SegmentWriter();

  // Sections come in the order of SectionKind; one left out is empty.
  Status BeginSection(SectionKind kind);
  // Appends to the section begun last. Small pieces are gathered into large writes.
  Status Append(Bytes bytes);
  Status WriteSection(SectionKind kind, Bytes bytes);

  // Writes out what is gathered, so that the section written so far can be read back through a mapping of
  // temporary_path().
  Status Flush();
  const std::string& temporary_path() const { return temporary_path_; }
  uint64_t section_offset(SectionKind kind) const { return sections_[static_cast<uint32_t>(kind)].offset; }

  // Fills magic, version, sizes, sections, reserved fields and checksum of `header`, writes it, closes the
  // file and renames it to its own name. Returns the finished header.
  Result<SegmentHeader> Finish(SegmentHeader header);

 private:
  SegmentWriter(File file, std::string path);
  uint64_t position() const { return offset_ + buffer_.size(); }
  Status Fail(Status status);
  void EndSection();
  Status AdvanceTo(uint32_t section);
  Status Gather(Bytes bytes);
  Status WriteOut(Bytes bytes);
  Result<SegmentHeader> WriteHeader(SegmentHeader header);

  File file_;
  std::string path_;
  std::string temporary_path_;
  std::vector<std::byte> buffer_;
  uint64_t offset_ = kSegmentHeaderSize;  // where the buffer's first byte goes
  int current_ = -1;                      // the section begun last
  Status status_;                         // the first error
  StreamingChecksum checksum_;
  SectionRecord sections_[kSectionCount] = {};
  bool finished_ = false;
};

}  // namespace vecckpt
