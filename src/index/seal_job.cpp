// Entries of the log become a flat segment: at once (RunSeal) or in batches (FlatSegmentBuilder).

#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>

#include "base/fault_point.hpp"
#include "index/jobs.hpp"
#include "index/segment_assembly.hpp"

namespace vecckpt {

namespace {

constexpr size_t kSuitSample = 64;
// A neighbour's codec may be this much less exact than an own one.
constexpr double kMaxErrorGrowth = 1.5;

Status CheckBatch(const EntryBatch& batch, const Geometry& geometry) {
  if (geometry.dims == 0) return Status::InvalidArgument("no dimensions");
  if (geometry.slots_per_extent == 0) return Status::InvalidArgument("no slots in an extent");
  if (batch.vectors.size() / geometry.dims != batch.ordinals.size() ||
      batch.vectors.size() % geometry.dims != 0) {
    return Status::InvalidArgument("a batch has " + std::to_string(batch.vectors.size()) + " values for " +
                                   std::to_string(batch.ordinals.size()) + " entries");
  }
  return Status::Ok();
}

VectorStatistics StatisticsOf(const EntryBatch& batch) {
  VectorStatistics statistics;
  statistics.Add(batch.vectors.data(), batch.vectors.size());
  return statistics;
}

// Takes in the batch's extents. Of entries that earlier batches had in them, those of lower sequences are
// gone.
void AddExtents(const EntryBatch& batch, uint32_t slots_per_extent, SegmentAssembly* assembly) {
  std::unordered_set<uint64_t> reused;
  for (const ExtentRecord& record : batch.extents) {
    if (assembly->extents().Add(record)) reused.insert(record.extent);
  }
  if (reused.empty()) return;
  assembly->nodes().RemoveOrdinals(
      [&](uint64_t ordinal) { return reused.count(ordinal / slots_per_extent) > 0; });
}

Status AddEntries(const EntryBatch& batch, const Geometry& geometry, SegmentAssembly* assembly,
                  JobContext* context) {
  AddExtents(batch, geometry.slots_per_extent, assembly);
  ExtentTable own;
  for (const ExtentRecord& record : batch.extents) own.Add(record);

  const Codec& codec = assembly->codec();
  CodeBuffer code(codec.stride());
  const ExtentRecord* record = nullptr;
  bool current = false;
  for (size_t i = 0; i < batch.ordinals.size(); ++i) {
    if (context != nullptr) {
      VECCKPT_RETURN_IF_ERROR(PollCancel(context->cancel));
      context->done.fetch_add(1, std::memory_order_relaxed);
    }
    const uint64_t extent = batch.ordinals[i] / geometry.slots_per_extent;
    if (record == nullptr || record->extent != extent) {
      record = own.Find(extent);
      if (record == nullptr) {
        return Status::InvalidArgument("a batch lacks the record of extent " + std::to_string(extent));
      }
      current = assembly->extents().Holds(extent, record->sequence);
    }
    if (!current) continue;
    codec.Encode(batch.vectors.data() + i * geometry.dims, code.data());
    const Result<uint32_t> node = assembly->nodes().FindOrAdd(code.data());
    if (!node.ok()) return node.status();
    VECCKPT_RETURN_IF_ERROR(assembly->nodes().AddOrdinal(*node, batch.ordinals[i]));
  }
  return Status::Ok();
}

Result<std::unique_ptr<Codec>> TrainFor(const EntryBatch& batch, const Geometry& geometry,
                                        const VectorStatistics& statistics) {
  const size_t count = std::min(kTrainingSample, batch.ordinals.size());
  return Codec::Train(geometry.code_kind, geometry.metric, geometry.dims, statistics,
                      std::span<const float>(batch.vectors).first(count * geometry.dims));
}

// True if `codec` encodes a batch not much less exactly than `own`, which was trained for it.
bool Suits(const Codec& codec, const Codec& own, const EntryBatch& batch,
           const VectorStatistics& statistics) {
  if (codec.kind() != own.kind() || codec.metric() != own.metric() || codec.dims() != own.dims())
    return false;
  if (!codec.Holds(statistics)) return false;
  CodeBuffer code(own.stride());
  double error = 0, own_error = 0;
  const size_t step = std::max<size_t>(batch.ordinals.size() / kSuitSample, 1);
  for (size_t i = 0; i < batch.ordinals.size(); i += step) {
    const float* vector = batch.vectors.data() + i * own.dims();
    codec.Encode(vector, code.data());
    error += codec.CodeError(code.data());
    own.Encode(vector, code.data());
    own_error += own.CodeError(code.data());
  }
  return error <= kMaxErrorGrowth * own_error;
}

// The neighbour's codec, or one of the batch's own.
Result<std::unique_ptr<Codec>> CodecOf(const SealInput& input) {
  const VectorStatistics statistics = StatisticsOf(input.entries);
  Result<std::unique_ptr<Codec>> own = TrainFor(input.entries, input.output.geometry, statistics);
  if (!own.ok() || input.neighbour == nullptr) return own;
  const Codec& offered = input.neighbour->codec();
  return Suits(offered, **own, input.entries, statistics) ? CopyCodec(offered) : std::move(own);
}

}  // namespace

Result<SegmentHeader> RunSeal(const SealInput& input, JobContext& context) {
  VECCKPT_FAULT_POINT(JobSeal, input.output.path);
  VECCKPT_RETURN_IF_ERROR(PollCancel(context.cancel));
  VECCKPT_RETURN_IF_ERROR(CheckBatch(input.entries, input.output.geometry));
  Result<std::unique_ptr<Codec>> codec = CodecOf(input);
  if (!codec.ok()) return codec.status();
  Result<std::unique_ptr<SegmentAssembly>> assembly =
      SegmentAssembly::Create(input.output, std::move(*codec), ExtentTable());
  if (!assembly.ok()) return assembly.status();
  (*assembly)->nodes().Reserve(input.entries.ordinals.size());
  context.Begin(JobPhase::kEncoding, input.entries.ordinals.size());
  VECCKPT_RETURN_IF_ERROR(AddEntries(input.entries, input.output.geometry, assembly->get(), &context));
  context.Enter(JobPhase::kWriting);
  return (*assembly)->Finish(SegmentKind::kFlat, input.output, {}, HeaderWithoutGraph(), &context.cancel);
}

struct FlatSegmentBuilder::State {
  JobOutput output;
  VectorStatistics statistics;
  std::unique_ptr<SegmentAssembly> assembly;  // null before the first batch

  // REQUIRES: no assembly yet. `batch` is what the codec is trained with.
  Status Begin(const EntryBatch& batch);
};

Status FlatSegmentBuilder::State::Begin(const EntryBatch& batch) {
  Result<std::unique_ptr<Codec>> codec = TrainFor(batch, output.geometry, statistics);
  if (!codec.ok()) return codec.status();
  Result<std::unique_ptr<SegmentAssembly>> created =
      SegmentAssembly::Create(output, std::move(*codec), ExtentTable());
  if (!created.ok()) return created.status();
  assembly = std::move(*created);
  return Status::Ok();
}

FlatSegmentBuilder::FlatSegmentBuilder(std::unique_ptr<State> state) : state_(std::move(state)) {}
FlatSegmentBuilder::~FlatSegmentBuilder() = default;

Result<std::unique_ptr<FlatSegmentBuilder>> FlatSegmentBuilder::Create(const JobOutput& output,
                                                                       const VectorStatistics& statistics) {
  auto state = std::make_unique<State>();
  state->output = output;
  state->statistics = statistics;
  return std::unique_ptr<FlatSegmentBuilder>(new FlatSegmentBuilder(std::move(state)));
}

Status FlatSegmentBuilder::Add(const EntryBatch& batch) {
  VECCKPT_RETURN_IF_ERROR(CheckBatch(batch, state_->output.geometry));
  if (state_->assembly == nullptr) VECCKPT_RETURN_IF_ERROR(state_->Begin(batch));
  if (!state_->assembly->codec().Holds(StatisticsOf(batch))) {
    return Status::InvalidArgument("a batch has vectors that the statistics do not cover");
  }
  return AddEntries(batch, state_->output.geometry, state_->assembly.get(), nullptr);
}

uint64_t FlatSegmentBuilder::entry_count() const {
  return state_->assembly == nullptr ? 0 : state_->assembly->nodes().entry_count();
}

uint64_t FlatSegmentBuilder::memory_bytes() const {
  if (state_->assembly == nullptr) return 0;
  return state_->assembly->nodes().memory_bytes() + state_->assembly->extents().memory_bytes();
}

Result<SegmentHeader> FlatSegmentBuilder::Finish(PositionRange range, uint64_t end_hash, uint64_t max_lsn) {
  if (state_->assembly == nullptr) VECCKPT_RETURN_IF_ERROR(state_->Begin(EntryBatch()));
  JobOutput& output = state_->output;
  output.range = range;
  output.end_hash = end_hash;
  output.max_lsn = max_lsn;
  return state_->assembly->Finish(SegmentKind::kFlat, output, {}, HeaderWithoutGraph(), nullptr);
}

}  // namespace vecckpt
