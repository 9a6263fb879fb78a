// See job_inputs.hpp.

#include "index/job_inputs.hpp"

#include <algorithm>
#include <string>

namespace vecckpt {

bool ExtentTable::Add(const ExtentRecord& record) {
  auto [found, added] = records_.try_emplace(record.extent, record);
  if (added || found->second.sequence >= record.sequence) return false;
  found->second = record;
  return true;
}

const ExtentRecord* ExtentTable::Find(uint64_t extent) const {
  auto found = records_.find(extent);
  return found == records_.end() ? nullptr : &found->second;
}

bool ExtentTable::Holds(uint64_t extent, uint64_t sequence) const {
  const ExtentRecord* record = Find(extent);
  return record != nullptr && record->sequence == sequence;
}

std::vector<ExtentRecord> ExtentTable::Sorted() const {
  std::vector<ExtentRecord> sorted;
  sorted.reserve(records_.size());
  for (const auto& [extent, record] : records_) sorted.push_back(record);
  std::sort(sorted.begin(), sorted.end(),
            [](const ExtentRecord& a, const ExtentRecord& b) { return a.extent < b.extent; });
  return sorted;
}

Status LiveEntries::Of(uint32_t node, std::span<const uint64_t>* ordinals) {
  const auto corrupt = [&] {
    return Status::Corruption("segment \"" + segment_.path() + "\" is corrupt: entries of node " +
                              std::to_string(node));
  };
  const std::optional<std::span<const uint64_t>> all = segment_.OrdinalsOf(node);
  if (!all) return corrupt();
  kept_.clear();
  for (uint64_t ordinal : *all) {
    const uint64_t extent = ordinal / segment_.header().slots_per_extent;
    if (record_ == nullptr || record_->extent != extent) {
      record_ = segment_.ExtentOf(ordinal);
      if (record_ == nullptr) return corrupt();
      current_ = extents_.Holds(extent, record_->sequence);
    }
    if (!current_) continue;
    if (liveness_ != nullptr && !liveness_->Alive(ordinal, record_->sequence)) continue;
    kept_.push_back(ordinal);
  }
  *ordinals = kept_;
  return Status::Ok();
}

Status CheckInputs(const Segments& segments, const Geometry& geometry) {
  if (segments.empty()) return Status::InvalidArgument("a job needs segments to read");
  for (const std::shared_ptr<const Segment>& segment : segments) {
    const SegmentHeader& header = segment->header();
    if (header.dims != geometry.dims || header.metric != static_cast<uint8_t>(geometry.metric) ||
        header.element_type != static_cast<uint8_t>(geometry.element_type) ||
        header.code_kind != static_cast<uint8_t>(geometry.code_kind) ||
        header.slots_per_extent != geometry.slots_per_extent) {
      return Status::InvalidArgument("segment \"" + segment->path() + "\" has another geometry");
    }
  }
  return Status::Ok();
}

ExtentTable GatherExtents(const Segments& segments) {
  ExtentTable extents;
  for (const std::shared_ptr<const Segment>& segment : segments) {
    for (const ExtentRecord& record : segment->extents()) extents.Add(record);
  }
  return extents;
}

Result<std::unique_ptr<Codec>> CopyCodec(const Codec& codec) {
  return Codec::Load(codec.kind(), codec.metric(), codec.dims(), codec.Parameters());
}

Result<bool> HoldsAll(const Codec& codec, const Segment& segment, const std::atomic<bool>& cancel) {
  if (codec.SameAs(segment.codec())) return true;
  VectorStatistics statistics;
  for (uint32_t node = 0; node < segment.node_count(); ++node) {
    VECCKPT_RETURN_IF_ERROR(PollCancel(cancel));
    statistics.Merge(segment.codec().StatisticsOf(segment.code(node)));
  }
  return codec.Holds(statistics);
}

Result<std::unique_ptr<Codec>> ChooseCodec(const Segments& segments, const Geometry& geometry,
                                           const ExtentTable& extents, const Liveness* liveness,
                                           const std::atomic<bool>& cancel) {
  const Codec& first = segments.front()->codec();
  const bool shared = std::all_of(segments.begin(), segments.end(),
                                  [&](const auto& segment) { return first.SameAs(segment->codec()); });
  if (shared) return CopyCodec(first);

  VectorStatistics statistics;
  for (const std::shared_ptr<const Segment>& segment : segments) {
    LiveEntries live(*segment, extents, liveness);
    for (uint32_t node = 0; node < segment->node_count(); ++node) {
      VECCKPT_RETURN_IF_ERROR(PollCancel(cancel));
      std::span<const uint64_t> ordinals;
      VECCKPT_RETURN_IF_ERROR(live.Of(node, &ordinals));
      if (!ordinals.empty()) statistics.Merge(segment->codec().StatisticsOf(segment->code(node)));
    }
  }
  return Codec::Train(geometry.code_kind, geometry.metric, geometry.dims, statistics);
}

}  // namespace vecckpt
