// See job_inputs.hpp.

#include "index/job_inputs.hpp"

#include <algorithm>
#include <string>

namespace vecckpt {

namespace {

constexpr uint32_t kSuitSample = 64;
// Transcoding between codecs that suit alike adds an error as large as the one there is.
constexpr double kMaxErrorGrowth = 3;

// Up to `most` nodes, evenly spread.
std::vector<uint32_t> SampleNodes(const Segment& segment, uint32_t most) {
  const uint64_t count = std::min(segment.node_count(), most);
  std::vector<uint32_t> nodes;
  for (uint64_t i = 0; i < count; ++i) {
    nodes.push_back(static_cast<uint32_t>(i * segment.node_count() / count));
  }
  return nodes;
}

// About kTrainingSample vectors as their codes say, from each segment as many as its share.
std::vector<float> SampleVectors(const Segments& segments, uint32_t dims) {
  uint64_t total = 0;
  for (const auto& segment : segments) total += segment->node_count();
  std::vector<float> sample;
  for (const auto& segment : segments) {
    const uint64_t share =
        (kTrainingSample * segment->node_count() + total - 1) / std::max<uint64_t>(total, 1);
    for (const uint32_t node : SampleNodes(*segment, static_cast<uint32_t>(share))) {
      sample.resize(sample.size() + dims);
      segment->codec().Decode(segment->code(node), sample.data() + sample.size() - dims);
    }
  }
  return sample;
}

Result<bool> HoldsAndSuitsAll(const Codec& codec, const Segments& segments, const std::atomic<bool>& cancel) {
  for (const auto& segment : segments) {
    const Result<bool> holds = HoldsAll(codec, *segment, cancel);
    if (!holds.ok() || !*holds) return holds;
    if (!SuitsCodes(codec, *segment)) return false;
  }
  return true;
}

}  // namespace

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

Status VerifyInputs(const Segments& segments, const std::atomic<bool>& cancel) {
  for (const std::shared_ptr<const Segment>& segment : segments) {
    for (uint32_t kind = 0; kind < kSectionCount; ++kind) {
      VECCKPT_RETURN_IF_ERROR(segment->VerifySection(static_cast<SectionKind>(kind), &cancel));
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

bool SuitsCodes(const Codec& codec, const Segment& segment) {
  if (codec.SameAs(segment.codec())) return true;
  CodeBuffer code(codec.stride());
  double before = 0, after = 0;
  for (const uint32_t node : SampleNodes(segment, kSuitSample)) {
    codec.Transcode(segment.codec(), segment.code(node), code.data());
    before += segment.codec().CodeError(segment.code(node));
    after += codec.CodeError(code.data());
  }
  return after <= kMaxErrorGrowth * before;
}

Result<std::unique_ptr<Codec>> ChooseCodec(const Segments& segments, const Geometry& geometry,
                                           const ExtentTable& extents, const Liveness* liveness,
                                           const std::atomic<bool>& cancel) {
  const Codec& first = segments.front()->codec();
  const bool shared = std::all_of(segments.begin(), segments.end(),
                                  [&](const auto& segment) { return first.SameAs(segment->codec()); });
  if (shared) return CopyCodec(first);
  if (geometry.code_kind != CodeKind::kNone) {
    const auto largest = std::max_element(segments.begin(), segments.end(), [](const auto& a, const auto& b) {
      return a->entry_count() < b->entry_count();
    });
    const Result<bool> suits = HoldsAndSuitsAll((*largest)->codec(), segments, cancel);
    if (!suits.ok()) return suits.status();
    if (*suits) return CopyCodec((*largest)->codec());
  }

  VectorStatistics statistics;
  std::vector<float> sample;
  for (const std::shared_ptr<const Segment>& segment : segments) {
    LiveEntries live(*segment, extents, liveness);
    for (uint32_t node = 0; node < segment->node_count(); ++node) {
      VECCKPT_RETURN_IF_ERROR(PollCancel(cancel));
      std::span<const uint64_t> ordinals;
      VECCKPT_RETURN_IF_ERROR(live.Of(node, &ordinals));
      if (!ordinals.empty()) statistics.Merge(segment->codec().StatisticsOf(segment->code(node)));
    }
  }
  if (geometry.code_kind != CodeKind::kNone) sample = SampleVectors(segments, geometry.dims);
  return Codec::Train(geometry.code_kind, geometry.metric, geometry.dims, statistics, sample);
}

}  // namespace vecckpt
