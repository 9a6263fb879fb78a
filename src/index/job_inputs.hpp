// What jobs have in common on their reading side: which extents and entries of the inputs still count, and
// which codec holds them.
//
// Thread safety: one thread at a time.

#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/status.hpp"
#include "hnsw/codec.hpp"
#include "index/liveness.hpp"
#include "segment/manifest.hpp"
#include "segment/segment.hpp"

namespace vecckpt {

using Segments = std::vector<std::shared_ptr<const Segment>>;

// Room for one code, aligned as codes are in a segment.
class CodeBuffer {
 public:
  explicit CodeBuffer(size_t stride) : lines_(stride / 64) {}
  std::byte* data() { return lines_.data()->data(); }

 private:
  struct alignas(64) Line : std::array<std::byte, 64> {};
  std::vector<Line> lines_;
};

inline Status PollCancel(const std::atomic<bool>& cancel) {
  return cancel.load(std::memory_order_relaxed) ? Status::Cancelled() : Status::Ok();
}

// Extent records of a segment to be written. Of two sequences in one extent the higher counts.
class ExtentTable {
 public:
  // Returns true if an entry of another, lower sequence in this extent is thereby gone.
  bool Add(const ExtentRecord& record);
  const ExtentRecord* Find(uint64_t extent) const;
  bool Holds(uint64_t extent, uint64_t sequence) const;
  // Ascending by extent.
  std::vector<ExtentRecord> Sorted() const;
  size_t memory_bytes() const { return records_.size() * (sizeof(ExtentRecord) + 4 * sizeof(void*)); }

 private:
  std::unordered_map<uint64_t, ExtentRecord> records_;
};

// The entries of one input that are to be kept.
class LiveEntries {
 public:
  // REQUIRES: all outlive this; `extents` holds the records of all inputs and changes no more. `liveness`
  // may be null.
  LiveEntries(const Segment& segment, const ExtentTable& extents, const Liveness* liveness)
      : segment_(segment), extents_(extents), liveness_(liveness) {}

  // The ordinals of a node that are kept, valid until the next call; kCorruption.
  Status Of(uint32_t node, std::span<const uint64_t>* ordinals);

 private:
  const Segment& segment_;
  const ExtentTable& extents_;
  const Liveness* liveness_;
  const ExtentRecord* record_ = nullptr;  // of the extent looked up last
  bool current_ = false;                  // its sequence is the extent's highest
  std::vector<uint64_t> kept_;
};

// kInvalidArgument unless all segments have this geometry (m and ef_construction aside).
Status CheckInputs(const Segments& segments, const Geometry& geometry);

// Recomputes the checksums of all sections, after what a job needs of them has been read: so what was read is
// what was written once, and no damage gets into a new segment, whose checksums would be right.
Status VerifyInputs(const Segments& segments, const std::atomic<bool>& cancel);

ExtentTable GatherExtents(const Segments& segments);

// A codec that gives the same codes.
Result<std::unique_ptr<Codec>> CopyCodec(const Codec& codec);

// True if `codec` can take in every code of `segment`.
Result<bool> HoldsAll(const Codec& codec, const Segment& segment, const std::atomic<bool>& cancel);

// True if `codec` gives vectors codes not much less exact than those they have in `segment`, judged by a
// sample of the nodes.
bool SuitsCodes(const Codec& codec, const Segment& segment);

// The codec for all inputs: the one they share; else that of the one with most entries, if it holds and suits
// all; else one trained for their live nodes.
Result<std::unique_ptr<Codec>> ChooseCodec(const Segments& segments, const Geometry& geometry,
                                           const ExtentTable& extents, const Liveness* liveness,
                                           const std::atomic<bool>& cancel);

}  // namespace vecckpt
