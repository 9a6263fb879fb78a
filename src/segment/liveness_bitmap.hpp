// The liveness bitmap of a segment: which of its nodes have only dead entries, as of one look at the log, as
// a file beside the segment.
//
//   | LivenessHeader, 64 bytes | one bit a node, set where it is dead, whole 64-bit words |
//
// It is advice: searches let dead nodes lead them on without counting them towards their width, and share
// ef_search between segments by what lives. Whatever the bits say, the directory page decides whether a row
// is returned. So nothing is verified but what keeps accesses within the file: a bitmap that is missing, cut
// off or another segment's is done without, and one that a crash tore only misleads.
//
// Thread safety: immutable.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.hpp"
#include "os/mapping.hpp"

namespace vecckpt {

constexpr uint64_t kLivenessMagic = 0x3154'4956'4C43'4556;  // "VECLVIT1" in memory, little-endian
constexpr uint32_t kLivenessVersion = 1;

struct LivenessHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t node_count;
  uint64_t segment_id;
  uint64_t live_entries;
  uint64_t reserved[4];
};
static_assert(sizeof(LivenessHeader) == 64);

class LivenessBitmap {
 public:
  // Of the segment with these numbers. kNotFound, kCorruption (not that of this segment), kUnsupported.
  static Result<std::shared_ptr<const LivenessBitmap>> Open(const std::string& path, uint64_t segment_id,
                                                            uint32_t node_count, uint64_t entry_count);
  // `dead_nodes`: node_count bits, lowest first.
  static Status Write(const std::string& path, mode_t mode, uint64_t segment_id, uint32_t node_count,
                      uint64_t live_entries, std::span<const uint64_t> dead_nodes);

  uint64_t live_entries() const { return live_entries_; }
  // At least node_count bits.
  std::span<const uint64_t> dead_nodes() const { return dead_nodes_; }

 private:
  LivenessBitmap() = default;

  Mapping mapping_;
  uint64_t live_entries_ = 0;
  std::span<const uint64_t> dead_nodes_;
};

}  // namespace vecckpt
