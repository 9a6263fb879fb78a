// One step at a time: close streams, then either re-rank the candidate of the smallest bound or emit the
// nearest resolved row. See merged_search.hpp for the rules.

#include "index/merged_search.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <string>
#include <utility>

#include "base/open_set.hpp"
#include "index/segment_source.hpp"

namespace vecckpt {

namespace {

constexpr uint32_t kTail = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();
constexpr size_t kLeastHeld = 100;     // entries of the tail
constexpr size_t kExpectedFound = 32;  // entries

}  // namespace

struct MergedSearch::State {
  SearchOptions options;
  std::vector<float> query;
  std::vector<SegmentSource> all_sources;  // the first source_count are in use
  size_t source_count = 0;
  WaitingCandidates waiting;
  MergeHeap<ResolvedRow> resolved;
  std::vector<ResolvedRow> late;
  bool late_sorted = false;
  OpenSet<uint64_t, kUnlimited> found;  // positions of segments' entries that the log has confirmed
  uint64_t slots_per_extent = 0;
  uint64_t tail_entries = 0;
  size_t most_held = 0;               // of the tail's entries
  std::optional<RowKey> exact_floor;  // of those that are not held

  bool started = false;
  bool first_closing_done = false;
  bool limit_reached = false;
  uint64_t max_seen = kUnlimited;    // by all streams together
  uint64_t max_memory = kUnlimited;  // bytes

  bool expects_resolution = false;      // the caller has to call Resolve or ResolveGone
  ResolvedRow current{};                // what was asked for or emitted last
  std::optional<ResolvedRow> repeated;  // found a second time
  double last_distance = -std::numeric_limits<double>::infinity();

  uint64_t corrupt_segment = 0;
  SearchCounters counters;

  std::span<SegmentSource> sources() { return {all_sources.data(), source_count}; }
  std::span<const SegmentSource> sources() const { return {all_sources.data(), source_count}; }
  SegmentSource& source(uint32_t index) { return all_sources[index]; }

  void Clear();
  uint64_t SeenCount() const;
  size_t MemoryBytes() const;
  SegmentSource* LowestFloor();
  bool NothingIsNearer(double distance, const SegmentSource* lowest);
  bool HasMore() const;
  bool MayBeBeyondExactFloor(double distance) const;
  uint64_t PositionOf(uint64_t ordinal, uint64_t sequence) const;
  void HoldNearest();
  void GiveUp();
  Status CloseStreams();
  Status CheckReadable();
  Status AdvanceStream(uint32_t source);
  Result<bool> BeginRerank(Step* step);
  bool EmitNearest(Step* step);
  bool EmitLate(Step* step);
  void Emit(const ResolvedRow& row, Step* step);
  Step Ending();
  void SkipOrdinal();
  void CountOut(const ResolvedRow& row);
  Status Corrupt(const Segment& segment, const std::string& what);
};

void MergedSearch::State::Clear() {
  for (SegmentSource& source : sources()) source.Clear();
  source_count = 0;
  waiting.Clear();
  resolved.Clear();
  late.clear();
  late_sorted = false;
  found.Clear();
  repeated.reset();
  exact_floor.reset();
  tail_entries = 0;
  slots_per_extent = 0;
  started = first_closing_done = limit_reached = false;
  max_seen = max_memory = kUnlimited;
  expects_resolution = false;
  last_distance = -std::numeric_limits<double>::infinity();
  corrupt_segment = 0;
  counters = {};
}

uint64_t MergedSearch::State::SeenCount() const {
  uint64_t count = 0;
  for (const SegmentSource& source : sources()) count += source.seen_count();
  return count;
}

size_t MergedSearch::State::MemoryBytes() const {
  size_t bytes = waiting.memory_bytes() + resolved.memory_bytes() + found.memory_bytes() +
                 late.size() * sizeof(ResolvedRow) + query.size() * sizeof(float);
  for (const SegmentSource& source : sources()) bytes += sizeof(source) + source.memory_bytes();
  return bytes;
}

Status MergedSearch::State::Corrupt(const Segment& segment, const std::string& what) {
  corrupt_segment = segment.id();
  return Status::Corruption("segment \"" + segment.path() + "\" is corrupt: " + what);
}

// Of the sources where nodes wait, the one where they may be nearest; null if there is none.
SegmentSource* MergedSearch::State::LowestFloor() {
  SegmentSource* lowest = nullptr;
  for (SegmentSource& source : sources()) {
    if (source.waits() && (lowest == nullptr || source.floor() < lowest->floor())) lowest = &source;
  }
  return lowest;
}

// True if nothing that waits can be nearer than `distance`.
bool MergedSearch::State::NothingIsNearer(double distance, const SegmentSource* lowest) {
  return (waiting.empty() || distance <= waiting.top().bound) &&
         (lowest == nullptr || distance <= lowest->floor());
}

// True unless every row has been emitted.
bool MergedSearch::State::HasMore() const {
  return !waiting.empty() || !resolved.empty() || exact_floor.has_value() ||
         std::any_of(sources().begin(), sources().end(),
                     [](const SegmentSource& source) { return source.waits() || !source.Exhausted(); });
}

// True if an entry of the tail that is not held may come before a row of this distance.
bool MergedSearch::State::MayBeBeyondExactFloor(double distance) const {
  return exact_floor.has_value() && !DistanceAfter(exact_floor->distance, distance);
}

uint64_t MergedSearch::State::PositionOf(uint64_t ordinal, uint64_t sequence) const {
  return sequence * slots_per_extent + ordinal % slots_per_extent;
}

// Lets go of the tail's farthest entries. REQUIRES: not started, more than most_held.
void MergedSearch::State::HoldNearest() {
  const RowKey first_gone = KeyOfRow(resolved.KeepFirst(most_held));
  if (!exact_floor || After(*exact_floor, first_gone)) exact_floor = first_gone;
}

// Stops looking at what has been seen. What was found by then is not lost: it counts as late.
void MergedSearch::State::GiveUp() {
  limit_reached = true;
  for (SegmentSource& source : sources()) source.GiveUp();
  waiting.Clear();
  const std::vector<ResolvedRow> rows = resolved.TakeAll();
  late.insert(late.end(), rows.begin(), rows.end());
}

Status MergedSearch::State::AdvanceStream(uint32_t index) {
  SegmentSource& source = this->source(index);
  uint64_t own_max = kUnlimited;
  if (max_seen != kUnlimited) {
    const uint64_t seen = SeenCount();
    if (seen >= max_seen || MemoryBytes() >= max_memory) {
      limit_reached = true;
      return Status::Ok();
    }
    own_max = source.seen_count() + (max_seen - seen);
  }
  Status status = source.Advance(own_max, &waiting);
  if (status.code() == StatusCode::kCorruption) corrupt_segment = source.segment().id();
  return status;
}

// Whatever was read of a segment is believed only if all of it could be read.
Status MergedSearch::State::CheckReadable() {
  for (const SegmentSource& source : sources()) {
    if (source.segment().damaged()) return Corrupt(source.segment(), "a page of it cannot be read");
  }
  return Status::Ok();
}

// Closes every stream at the width it needs now.
Status MergedSearch::State::CloseStreams() {
  VECCKPT_RETURN_IF_ERROR(CheckReadable());
  if (first_closing_done && options.iterative == IterativeScan::kOff) return Status::Ok();
  for (uint32_t i = 0; i < source_count; ++i) {
    while (!limit_reached && !source(i).Closed()) VECCKPT_RETURN_IF_ERROR(AdvanceStream(i));
  }
  VECCKPT_RETURN_IF_ERROR(CheckReadable());
  if (!first_closing_done) {
    first_closing_done = true;
    const auto plus = [](uint64_t a, uint64_t b) { return a > kUnlimited - b ? kUnlimited : a + b; };
    max_seen = plus(SeenCount(), std::min(options.max_scan_tuples, kUnlimited - 1));
    max_memory = plus(MemoryBytes(), options.memory_limit);
  }
  return Status::Ok();
}

// A node's entry cannot become a row: its node does not count towards the width of its stream.
void MergedSearch::State::CountOut(const ResolvedRow& row) {
  if (row.source != kTail && row.node != kNoNode) source(row.source).CountUseless(row.node);
}

// Asks for the next ordinal of the candidate on top. False if that candidate had none left.
Result<bool> MergedSearch::State::BeginRerank(Step* step) {
  Candidate& candidate = waiting.mutable_top();
  const Segment& segment = source(candidate.source).segment();
  const std::optional<std::span<const uint64_t>> ordinals = segment.OrdinalsOf(candidate.node);
  if (!ordinals) return Corrupt(segment, "entries of node " + std::to_string(candidate.node));
  if (candidate.next >= ordinals->size()) {
    waiting.Pop();
    return false;
  }
  const uint64_t ordinal = (*ordinals)[candidate.next];
  const ExtentRecord* record = segment.ExtentOf(ordinal);
  if (record == nullptr) return Corrupt(segment, "ordinal " + std::to_string(ordinal) + " has no extent");
  const uint64_t position = PositionOf(ordinal, record->sequence);
  if (position < segment.range().begin || position >= segment.range().end) {
    return Corrupt(segment, "ordinal " + std::to_string(ordinal) + " lies out of its range");
  }

  const bool first = candidate.next == 0;
  current = {0, ordinal, record->sequence, 0, candidate.source, first ? candidate.node : kNoNode};
  expects_resolution = true;
  step->action = Action::kRerank;
  step->ordinal = ordinal;
  step->sequence = record->sequence;
  step->segment_id = segment.id();
  for (size_t i = 0; i < std::size(step->next_ordinals); ++i) {
    step->next_ordinals[i] = kNoOrdinal;
    const Candidate* next = waiting.Follower(1 + i);
    if (next == nullptr) continue;
    const auto following = source(next->source).segment().OrdinalsOf(next->node);
    if (following && next->next < following->size()) step->next_ordinals[i] = (*following)[next->next];
  }
  return true;
}

// Moves past the ordinal that has just been resolved or found gone. The candidate keeps its place.
void MergedSearch::State::SkipOrdinal() {
  Candidate& candidate = waiting.mutable_top();
  const auto ordinals = source(candidate.source).segment().OrdinalsOf(candidate.node);
  if (++candidate.next >= ordinals->size()) waiting.Pop();
  ++counters.reranked;
  expects_resolution = false;
}

void MergedSearch::State::Emit(const ResolvedRow& row, Step* step) {
  ++counters.emitted;
  step->action = Action::kEmit;
  step->ordinal = row.ordinal;
  step->sequence = row.sequence;
  step->distance = row.distance;
  step->locator = row.locator;
  step->segment_id = row.source == kTail ? 0 : source(row.source).segment().id();
}

// Emits the nearest resolved row. False if it is late and cannot come now.
bool MergedSearch::State::EmitNearest(Step* step) {
  current = resolved.top();
  resolved.Pop();
  if (options.iterative == IterativeScan::kStrictOrder && DistanceAfter(last_distance, current.distance)) {
    ++counters.late;
    CountOut(current);
    if (options.late_rows_come) late.push_back(current);
    return false;
  }
  last_distance = current.distance;
  if (current.source != kTail && current.node != kNoNode) source(current.source).CountReturned();
  Emit(current, step);
  return true;
}

// Emits the nearest late row; false if there is none.
bool MergedSearch::State::EmitLate(Step* step) {
  if (late.empty()) return false;
  if (!late_sorted) {
    std::sort(late.begin(), late.end(), [](const auto& a, const auto& b) { return After(a, b); });
    late_sorted = true;
  }
  current = late.back();
  late.pop_back();
  Emit(current, step);
  return true;
}

// What is left to say when nothing waits and nothing is resolved.
MergedSearch::Step MergedSearch::State::Ending() {
  Step step;
  if (limit_reached) {
    step.action = Action::kLimit;
  } else if (exact_floor) {
    step.action = Action::kMoreExact;
  } else if (!EmitLate(&step)) {
    step.action = HasMore() ? Action::kLimit : Action::kDone;
  }
  return step;
}

MergedSearch::MergedSearch() : state_(std::make_unique<State>()) {}
MergedSearch::MergedSearch(const SearchOptions& options, const float* query) : MergedSearch() {
  Restart(options, query);
}
MergedSearch::~MergedSearch() = default;

void MergedSearch::Restart(const SearchOptions& options, const float* query) {
  state_->Clear();
  state_->options = options;
  state_->query.assign(query, query + options.dims);
  state_->found.Reset(kExpectedFound);
  state_->most_held = std::max<size_t>(options.memory_limit / (4 * sizeof(ResolvedRow)), kLeastHeld);
}

void MergedSearch::Clear() {
  state_->Clear();
}

Status MergedSearch::AddSegment(std::shared_ptr<const Segment> segment,
                                std::shared_ptr<const LivenessBitmap> liveness) {
  State& state = *state_;
  if (state.started) return Status::Internal("a segment was added to a search that has started");
  const SegmentHeader& header = segment->header();
  if (header.dims != state.options.dims || header.metric != static_cast<uint8_t>(state.options.metric)) {
    return Status::InvalidArgument("segment \"" + segment->path() + "\" has other dimensions or metric");
  }
  if (segment->node_count() == 0) return Status::Ok();
  state.slots_per_extent = header.slots_per_extent;
  const uint32_t index = static_cast<uint32_t>(state.source_count);
  if (index == state.all_sources.size()) state.all_sources.emplace_back();
  ++state.source_count;
  SegmentSource& source = state.source(index);
  source.Restart(std::move(segment), std::move(liveness), index, state.query.data());
  Status status = source.ScoreWhole();
  if (status.code() == StatusCode::kCorruption) state.corrupt_segment = source.segment().id();
  return status;
}

void MergedSearch::AddExact(uint64_t ordinal, uint64_t sequence, double distance, uint64_t locator) {
  State& state = *state_;
  const ResolvedRow row = {distance, ordinal, sequence, locator, kTail, kNoNode};
  if (state.started) return state.resolved.Push(row);
  ++state.tail_entries;
  state.resolved.Append(row);
  if (state.resolved.size() == 2 * state.most_held) state.HoldNearest();
}

void MergedSearch::Start() {
  State& state = *state_;
  uint64_t entries = state.tail_entries;
  for (const SegmentSource& source : state.sources()) entries += source.live_entries();
  for (SegmentSource& source : state.sources()) {
    const double own = static_cast<double>(source.live_entries());
    source.SetShare(entries == 0 ? 0 : own / static_cast<double>(entries), state.options.ef_search);
  }
  if (state.resolved.size() > state.most_held) state.HoldNearest();
  state.resolved.Heapify();
  state.started = true;
}

std::optional<RowKey> MergedSearch::exact_floor() const {
  return state_->exact_floor;
}

void MergedSearch::SetExactFloor(std::optional<RowKey> floor) {
  state_->exact_floor = floor;
}

Result<MergedSearch::Step> MergedSearch::Next() {
  State& state = *state_;
  if (!state.started) return Status::Internal("a search was asked for rows before it started");
  if (state.expects_resolution) {
    return Status::Internal("a search was asked for more before a candidate was resolved");
  }
  if (state.repeated) {
    return state.Corrupt(state.source(state.repeated->source).segment(),
                         "ordinal " + std::to_string(state.repeated->ordinal) + " stands in it twice");
  }
  Step step;
  for (;;) {
    if (state.options.iterative == IterativeScan::kOff && state.counters.emitted >= state.options.ef_search) {
      step.action = state.HasMore() ? Action::kLimit : Action::kDone;
      return step;
    }
    if (state.found.memory_bytes() >= state.max_memory) state.GiveUp();
    VECCKPT_RETURN_IF_ERROR(state.CloseStreams());
    SegmentSource* lowest = state.LowestFloor();
    if (!state.resolved.empty() && state.NothingIsNearer(state.resolved.top().distance, lowest)) {
      if (state.MayBeBeyondExactFloor(state.resolved.top().distance)) {
        step.action = Action::kMoreExact;
        return step;
      }
      if (state.EmitNearest(&step)) return step;
    } else if (lowest != nullptr && (state.waiting.empty() || lowest->floor() < state.waiting.top().bound)) {
      lowest->HandOver(&state.waiting);
    } else if (!state.waiting.empty()) {
      const Result<bool> asked = state.BeginRerank(&step);
      if (!asked.ok()) return asked.status();
      if (*asked) return step;
    } else {
      return state.Ending();
    }
  }
}

void MergedSearch::Resolve(double exact_distance, uint64_t locator) {
  State& state = *state_;
  if (!state.expects_resolution) return;
  ResolvedRow row = state.current;
  row.distance = exact_distance;
  row.locator = locator;
  state.SkipOrdinal();
  if (state.found.Insert(state.PositionOf(row.ordinal, row.sequence))) {
    state.resolved.Push(row);
  } else {
    state.repeated = row;
  }
}

void MergedSearch::ResolveGone() {
  State& state = *state_;
  if (!state.expects_resolution) return;
  state.CountOut(state.current);
  state.SkipOrdinal();
}

bool MergedSearch::WasFound(uint64_t ordinal, uint64_t sequence) const {
  const State& state = *state_;
  return state.slots_per_extent != 0 && state.found.Has(state.PositionOf(ordinal, sequence));
}

std::span<const ResolvedRow> MergedSearch::TakeLateRows() {
  state_->GiveUp();
  return state_->late;
}

double MergedSearch::last_distance() const {
  return state_->last_distance;
}

uint64_t MergedSearch::corrupt_segment() const {
  return state_->corrupt_segment;
}

const SearchCounters& MergedSearch::counters() const {
  state_->counters.distances = 0;
  for (const SegmentSource& source : state_->sources()) state_->counters.distances += source.distance_count();
  return state_->counters;
}

size_t MergedSearch::memory_bytes() const {
  return state_->MemoryBytes();
}

}  // namespace vecckpt
