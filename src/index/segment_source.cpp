// See segment_source.hpp.

#include "index/segment_source.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

namespace vecckpt {

namespace {

constexpr uint32_t kFlatChunk = 256;
constexpr double kMinWidth = 10;
constexpr size_t kFirstCount = 32;
constexpr size_t kMostCount = size_t{1} << 20;  // a count that doubled on would come to 0

}  // namespace

void SegmentSource::Restart(std::shared_ptr<const Segment> segment,
                            std::shared_ptr<const LivenessBitmap> liveness, uint32_t index,
                            const float* query) {
  Clear();
  segment_ = std::move(segment);
  liveness_ = std::move(liveness);
  index_ = index;
  scorer_ = segment_->codec().Prepare(query);
  is_graph_ = segment_->kind() == SegmentKind::kGraph;
  const bool cold = segment_->ColdForSearch();
  if (!is_graph_) {
    if (cold) PrefetchMapped(segment_->codes());
    return;
  }
  GraphView graph = segment_->graph();
  graph.cold = cold;
  if (liveness_ != nullptr) graph.dead = liveness_->dead_nodes();
  stream_.Restart(graph, segment_->codes(), segment_->header().stride, *scorer_);
}

void SegmentSource::Clear() {
  taken_ = handed_over_ = false;
  next_count_ = kFirstCount;
  waiting_.clear();
  stream_floor_ = whole_floor_ = kInfinity;
  extremes_ = {};
  scored_ = first_width_ = width_ = returned_ = useless_ = 0;
  is_graph_ = given_up_ = false;
  scorer_.reset();
  segment_.reset();
  liveness_.reset();
}

// Scores the nodes begin + nodes[0], begin + nodes[1], ..., for the search.
void SegmentSource::Score(uint32_t begin, const std::vector<uint32_t>& nodes) {
  const std::byte* codes = segment_->code(begin);
  distances_.resize(nodes.size());
  scorer_->DistancesOf(codes, nodes, distances_.data(), {});
  scorer_->AddExtremes(codes, nodes, distances_.data(), &extremes_);
  for (size_t i = 0; i < nodes.size(); ++i) waiting_.push_back({begin + nodes[i], distances_[i]});
  scored_ += nodes.size();
}

Status SegmentSource::ScoreWhole() {
  if (is_graph_) {
    const std::span<const uint32_t> orphans = segment_->orphans();
    for (const uint32_t node : orphans) {
      if (node >= segment_->node_count()) {
        return Status::Corruption("segment \"" + segment_->path() + "\" is corrupt: orphan out of range");
      }
    }
    if (!orphans.empty()) Score(0, {orphans.begin(), orphans.end()});
  } else {
    const uint32_t count = segment_->node_count();
    waiting_.reserve(count);
    std::vector<uint32_t> nodes(std::min(kFlatChunk, count));
    std::iota(nodes.begin(), nodes.end(), 0u);
    for (uint32_t begin = 0; begin < count; begin += kFlatChunk) {
      nodes.resize(std::min(kFlatChunk, count - begin));
      Score(begin, nodes);
    }
  }
  // Where nothing has been handed over yet, nothing is known of what waits.
  if (!waiting_.empty()) whole_floor_ = -kInfinity;
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
  return given_up_ || Exhausted() || width_ >= NeededWidth();
}

Status SegmentSource::Advance(uint64_t max_seen, WaitingCandidates* candidates) {
  if (!is_graph_) return Status::Ok();
  const uint64_t width = NeededWidth();
  taken_nodes_.clear();
  Status status = stream_.Advance(width, max_seen, &taken_nodes_);
  if (status.code() == StatusCode::kCorruption) {
    return Status::Corruption("segment \"" + segment_->path() + "\" is corrupt: " + status.message());
  }
  VECCKPT_RETURN_IF_ERROR(status);
  if (stream_.seen_count() < max_seen) width_ = width;
  for (const SeenNode& node : taken_nodes_) PushCandidate(node, candidates);
  FindStreamFloor();
  return Status::Ok();
}

void SegmentSource::PushCandidate(const SeenNode& node, WaitingCandidates* candidates) const {
  const auto ordinals = segment_->OrdinalsOf(node.node);
  if (ordinals && ordinals->empty())
    return;  // offsets that cannot be right are reported when they are followed
  const double bound = scorer_->LowerBound(node.distance, segment_->code(node.node));
  candidates->Push({std::isnan(bound) ? -kInfinity : bound, index_, node.node, 0});
}

void SegmentSource::FindStreamFloor() {
  stream_floor_ = kInfinity;
  if (!stream_.has_more()) return;
  // What has never been looked at comes first, whatever its bound.
  stream_floor_ = taken_ ? scorer_->BoundBeyond(stream_.distance_of_more(), stream_.extremes()) : -kInfinity;
  if (std::isnan(stream_floor_)) stream_floor_ = -kInfinity;
}

// Where no bound is known of those that wait, all have to get their own.
void SegmentSource::HandOver(WaitingCandidates* candidates) {
  const bool from_stream = waiting_.empty() || (stream_.has_more() && stream_floor_ < whole_floor_);
  from_stream ? HandOverSeen(candidates) : HandOverScored(candidates);
  next_count_ = std::min(2 * next_count_, kMostCount);
}

void SegmentSource::HandOverSeen(WaitingCandidates* candidates) {
  const bool has_floor = !taken_ || stream_floor_ > -kInfinity;
  taken_nodes_.clear();
  stream_.TakeNext(has_floor ? next_count_ : stream_.seen_count(), &taken_nodes_);
  for (const SeenNode& node : taken_nodes_) PushCandidate(node, candidates);
  taken_ = true;
  FindStreamFloor();
}

void SegmentSource::HandOverScored(WaitingCandidates* candidates) {
  const bool has_floor = whole_floor_ > -kInfinity || !handed_over_;
  const size_t count = has_floor ? std::min(next_count_, waiting_.size()) : waiting_.size();
  handed_over_ = true;
  // The nearest come to the end, the farthest of them first.
  const auto begin = waiting_.end() - static_cast<std::ptrdiff_t>(count);
  std::nth_element(waiting_.begin(), begin, waiting_.end(),
                   [](const SeenNode& a, const SeenNode& b) { return a.distance > b.distance; });
  const float reached = begin->distance;
  for (auto node = begin; node != waiting_.end(); ++node) PushCandidate(*node, candidates);
  waiting_.erase(begin, waiting_.end());
  whole_floor_ = waiting_.empty() ? kInfinity : scorer_->BoundBeyond(reached, extremes_);
  if (std::isnan(whole_floor_)) whole_floor_ = -kInfinity;
}

size_t SegmentSource::memory_bytes() const {
  return waiting_.size() * sizeof(SeenNode) + (is_graph_ ? stream_.memory_bytes() : 0);
}

}  // namespace vecckpt
