// See segment_source.hpp.

#include "index/segment_source.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

namespace vecckpt {

namespace {

constexpr size_t kFlatChunk = 256;
constexpr double kMinWidth = 10;

}  // namespace

SegmentSource::SegmentSource(std::shared_ptr<const Segment> segment, const float* query)
    : segment_(std::move(segment)), scorer_(segment_->codec().Prepare(query)) {
  if (segment_->kind() == SegmentKind::kGraph) {
    stream_.emplace(segment_->graph(), segment_->codes(), segment_->header().stride, *scorer_);
  }
}

void SegmentSource::Append(uint32_t node, float distance, std::vector<BoundedNode>* nodes) const {
  const double bound = scorer_->LowerBound(distance, segment_->code(node));
  nodes->push_back({node, std::isnan(bound) ? -std::numeric_limits<double>::infinity() : bound});
}

Status SegmentSource::ScoreWhole(std::vector<BoundedNode>* nodes) {
  if (!stream_) {
    const uint32_t count = segment_->node_count();
    nodes->reserve(nodes->size() + count);
    std::array<float, kFlatChunk> distances;
    for (uint32_t begin = 0; begin < count; begin += kFlatChunk) {
      const uint32_t chunk = std::min<uint32_t>(kFlatChunk, count - begin);
      scorer_->Distances(segment_->code(begin), chunk, distances.data());
      for (uint32_t i = 0; i < chunk; ++i) Append(begin + i, distances[i], nodes);
    }
    scored_ += count;
    return Status::Ok();
  }
  for (uint32_t node : segment_->orphans()) {
    if (node >= segment_->node_count()) {
      return Status::Corruption("segment \"" + segment_->path() + "\" is corrupt: orphan out of range");
    }
    Append(node, scorer_->Distance(segment_->code(node)), nodes);
    ++scored_;
  }
  return Status::Ok();
}

void SegmentSource::SetShare(double share, uint32_t ef_search) {
  const double expected = ef_search * share;
  const double width = std::ceil(expected + 3 * std::sqrt(expected * (1 - share)));
  first_width_ = static_cast<uint64_t>(std::min<double>(std::max(width, kMinWidth), ef_search));
}

uint64_t SegmentSource::NeededWidth() const {
  const uint64_t width = returned_ <= first_width_ / 4 ? first_width_ : returned_ + first_width_;
  return width + useless_;
}

bool SegmentSource::Closed() const {
  return !stream_ || stream_->exhausted() || width_ >= NeededWidth();
}

Status SegmentSource::Advance(uint64_t max_seen, std::vector<BoundedNode>* nodes) {
  if (!stream_) return Status::Ok();
  const uint64_t width = NeededWidth();
  seen_.clear();
  Status status = stream_->Advance(width, max_seen, &seen_);
  if (status.code() == StatusCode::kCorruption) {
    return Status::Corruption("segment \"" + segment_->path() + "\" is corrupt: " + status.message());
  }
  VECCKPT_RETURN_IF_ERROR(status);
  if (stream_->seen_count() < max_seen) width_ = width;

  const std::span<const uint32_t> orphans = segment_->orphans();
  for (const SeenNode& seen : seen_) {
    // Orphans have been scored already, should one be reached after all.
    if (!orphans.empty() && std::binary_search(orphans.begin(), orphans.end(), seen.node)) {
      CountUseless();
    } else {
      Append(seen.node, seen.distance, nodes);
    }
  }
  return Status::Ok();
}

size_t SegmentSource::memory_bytes() const {
  return seen_.capacity() * sizeof(SeenNode) + (stream_ ? stream_->memory_bytes() : 0);
}

}  // namespace vecckpt
