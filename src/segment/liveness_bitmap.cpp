// See liveness_bitmap.hpp.

#include "segment/liveness_bitmap.hpp"

#include <cstring>
#include <utility>

#include "os/file.hpp"

namespace vecckpt {

Result<std::shared_ptr<const LivenessBitmap>> LivenessBitmap::Open(const std::string& path,
                                                                   uint64_t segment_id, uint32_t node_count,
                                                                   uint64_t entry_count) {
  Result<Mapping> mapping = Mapping::Open(path);
  if (!mapping.ok()) return mapping.status();
  const Bytes bytes = mapping->bytes();
  const uint64_t size = sizeof(LivenessHeader) + (uint64_t{node_count} + 63) / 64 * sizeof(uint64_t);
  if (bytes.size() < sizeof(LivenessHeader)) {
    return Status::Corruption("liveness bitmap \"" + path + "\" is shorter than its header");
  }
  LivenessHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.magic != kLivenessMagic || header.version != kLivenessVersion) {
    return Status::Unsupported("liveness bitmap \"" + path + "\" has an unknown format");
  }
  if (header.segment_id != segment_id || header.node_count != node_count || bytes.size() != size ||
      header.live_entries > entry_count) {
    return Status::Corruption("liveness bitmap \"" + path + "\" is not that of its segment");
  }
  std::shared_ptr<LivenessBitmap> bitmap(new LivenessBitmap);
  bitmap->live_entries_ = header.live_entries;
  bitmap->dead_nodes_ = ViewAs<uint64_t>(bytes.subspan(sizeof(header)));
  bitmap->mapping_ = std::move(*mapping);
  return std::shared_ptr<const LivenessBitmap>(std::move(bitmap));
}

Status LivenessBitmap::Write(const std::string& path, mode_t mode, uint64_t segment_id, uint32_t node_count,
                             uint64_t live_entries, std::span<const uint64_t> dead_nodes) {
  const LivenessHeader header{kLivenessMagic, kLivenessVersion, node_count,
                              segment_id,     live_entries,     {0, 0, 0, 0}};
  const Bytes head = AsBytes(header), words = AsBytes(dead_nodes);
  std::vector<std::byte> bytes(head.begin(), head.end());
  bytes.insert(bytes.end(), words.begin(), words.end());
  return WriteFileByRename(path, bytes, mode);
}

}  // namespace vecckpt
