// Names of the files in $PGDATA/vector-ckpt. All that this project creates there matches one of:
//
//   <db>_<tablespace>_<relation>.ckpt             the durable manifest of an index
//   <db>_<tablespace>_<relation>.<16 hex>.gen     the manifest of a generation, by manifest id
//   <db>_<tablespace>_<relation>.<16 hex>.seg     a segment, by segment id
//   <db>_<tablespace>_<relation>.<16 hex>.live    a liveness bitmap, by an id of its own
//   <db>_<tablespace>_<relation>.<16 hex>.tries   how often verifying a segment was begun, by segment id
//   any of these with .tmp behind it              being written
//   owner                                         which server's folder it is (pg/folder_owner)
//
// Numbers are decimal without leading zeros, hex is lower case. Anything else is a strange name and left
// alone.

#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vecckpt {

// Which index: database, tablespace and relfilenumber.
struct IndexKey {
  uint32_t database = 0;
  uint32_t tablespace = 0;
  uint32_t relation = 0;
  auto operator<=>(const IndexKey&) const = default;
};

enum class FileKind { kDurableManifest, kGenerationManifest, kSegment, kLivenessBitmap, kTries };

struct FileName {
  IndexKey key;
  FileKind kind = FileKind::kSegment;
  uint64_t id = 0;  // 0 for a durable manifest
  bool temporary = false;
};

std::string DurableManifestName(const IndexKey& key);
std::string GenerationManifestName(const IndexKey& key, uint64_t manifest_id);
std::string SegmentName(const IndexKey& key, uint64_t segment_id);
std::string LivenessBitmapName(const IndexKey& key, uint64_t bitmap_id);
std::string TriesName(const IndexKey& key, uint64_t segment_id);

std::optional<FileName> ParseFileName(std::string_view name);

}  // namespace vecckpt
