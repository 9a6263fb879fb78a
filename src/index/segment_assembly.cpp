// See segment_assembly.hpp.

#include "index/segment_assembly.hpp"

#include <utility>

#include "base/fault_point.hpp"

namespace vecckpt {

SegmentAssembly::SegmentAssembly(SegmentWriter writer, std::unique_ptr<Codec> codec, ExtentTable extents)
    : writer_(std::move(writer)),
      codec_(std::move(codec)),
      extents_(std::move(extents)),
      nodes_(&writer_, codec_->stride()) {}

Result<std::unique_ptr<SegmentAssembly>> SegmentAssembly::Create(const JobOutput& output,
                                                                 std::unique_ptr<Codec> codec,
                                                                 ExtentTable extents) {
  Result<SegmentWriter> writer = SegmentWriter::Create(output.path, output.mode);
  if (!writer.ok()) return writer.status();
  VECCKPT_RETURN_IF_ERROR(writer->WriteSection(SectionKind::kCodec, codec->Parameters()));
  VECCKPT_RETURN_IF_ERROR(writer->BeginSection(SectionKind::kCodes));
  return std::unique_ptr<SegmentAssembly>(
      new SegmentAssembly(std::move(*writer), std::move(codec), std::move(extents)));
}

Status SegmentAssembly::AddSegment(const Segment& segment, const Liveness* liveness, bool all_nodes,
                                   JobContext& context) {
  const bool same = codec_->SameAs(segment.codec());
  CodeBuffer buffer(codec_->stride());
  LiveEntries live(segment, extents_, liveness);
  for (uint32_t from = 0; from < segment.node_count(); ++from) {
    VECCKPT_RETURN_IF_ERROR(PollCancel(context.cancel));
    context.done.fetch_add(1, std::memory_order_relaxed);
    std::span<const uint64_t> ordinals;
    VECCKPT_RETURN_IF_ERROR(live.Of(from, &ordinals));
    if (ordinals.empty() && !all_nodes) continue;

    const std::byte* code = segment.code(from);
    if (!same) {
      codec_->Transcode(segment.codec(), code, buffer.data());
      code = buffer.data();
    }
    const Result<uint32_t> node = all_nodes ? nodes_.Add(code) : nodes_.FindOrAdd(code);
    if (!node.ok()) return node.status();
    for (uint64_t ordinal : ordinals) VECCKPT_RETURN_IF_ERROR(nodes_.AddOrdinal(*node, ordinal));
  }
  return Status::Ok();
}

Result<SegmentHeader> SegmentAssembly::Finish(SegmentKind kind, const JobOutput& output,
                                              std::span<const uint32_t> orphans, SegmentHeader header,
                                              const std::atomic<bool>* cancel) {
  VECCKPT_RETURN_IF_ERROR(nodes_.WriteEntries(cancel));
  VECCKPT_RETURN_IF_ERROR(writer_.WriteSection(SectionKind::kOrphans, AsBytes(orphans)));
  const std::vector<ExtentRecord> records = extents_.Sorted();
  VECCKPT_RETURN_IF_ERROR(writer_.WriteSection(SectionKind::kExtents, AsBytes<ExtentRecord>(records)));

  const Geometry& geometry = output.geometry;
  header.identity = output.identity;
  header.segment_id = output.segment_id;
  header.range = output.range;
  header.end_hash = output.end_hash;
  header.max_lsn = output.max_lsn;
  header.entry_count = nodes_.entry_count();
  header.kind = static_cast<uint32_t>(kind);
  header.dims = geometry.dims;
  header.m = geometry.m;
  header.ef_construction = geometry.ef_construction;
  header.slots_per_extent = geometry.slots_per_extent;
  header.node_count = nodes_.node_count();
  header.empty_nodes = nodes_.CountEmpty();
  header.stride = static_cast<uint32_t>(codec_->stride());
  header.metric = static_cast<uint8_t>(geometry.metric);
  header.element_type = static_cast<uint8_t>(geometry.element_type);
  header.code_kind = static_cast<uint8_t>(codec_->kind());
  Result<SegmentHeader> finished = writer_.Finish(header);
  VECCKPT_FAULT_POINT(JobDone, output.path);
  return finished;
}

SegmentHeader HeaderWithoutGraph() {
  SegmentHeader header{};
  header.entry_node = kNoNode;
  header.entry_rank = kNoNode;
  return header;
}

}  // namespace vecckpt
