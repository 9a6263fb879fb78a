// A log in memory for tests of jobs and searches: vectors in extents, and jobs run over ranges of it.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "hnsw/exact.hpp"
#include "index/jobs.hpp"
#include "temporary_directory.hpp"

namespace vecckpt {

class FakeLog {
 public:
  static constexpr uint32_t kSlots = 16;
  // Extents lie in another order than their sequences.
  static uint32_t ExtentOfSequence(uint64_t sequence) { return static_cast<uint32_t>(sequence ^ 5); }

  FakeLog(Metric metric, uint32_t dims, CodeKind kind = CodeKind::kNone) {
    geometry_.dims = dims;
    geometry_.m = 8;
    geometry_.ef_construction = 40;
    geometry_.slots_per_extent = kSlots;
    geometry_.metric = metric;
    geometry_.code_kind = kind;
  }

  void Add(std::span<const float> vector) { values_.insert(values_.end(), vector.begin(), vector.end()); }

  // Gaussian values, a little off the origin.
  void AddRandom(size_t count, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> value(0.1f, 1.0f);
    for (size_t i = 0; i < count * geometry_.dims; ++i) values_.push_back(value(random));
  }

  size_t size() const { return values_.size() / geometry_.dims; }
  const Geometry& geometry() const { return geometry_; }
  Geometry& geometry() { return geometry_; }
  const float* Vector(size_t position) const { return values_.data() + position * geometry_.dims; }

  static uint64_t SequenceAt(size_t position) { return position / kSlots; }
  static uint64_t OrdinalAt(size_t position) {
    return uint64_t{ExtentOfSequence(SequenceAt(position))} * kSlots + position % kSlots;
  }
  static size_t PositionOf(uint64_t ordinal) { return (ordinal / kSlots ^ 5) * kSlots + ordinal % kSlots; }

  EntryBatch Read(size_t begin, size_t end) const {
    EntryBatch batch;
    batch.vectors.assign(Vector(begin), Vector(begin) + (end - begin) * geometry_.dims);
    for (size_t position = begin; position < end; ++position) {
      batch.ordinals.push_back(OrdinalAt(position));
      const uint64_t sequence = SequenceAt(position);
      if (batch.extents.empty() || batch.extents.back().sequence != sequence) {
        batch.extents.push_back({sequence, sequence * 1000, ExtentOfSequence(sequence), 0});
      }
    }
    return batch;
  }

  JobOutput Output(size_t begin, size_t end) {
    JobOutput output;
    output.segment_id = ++last_id_;
    output.path = directory_.File("segment" + std::to_string(last_id_));
    output.identity = 77;
    output.geometry = geometry_;
    output.range = {begin, end};
    output.end_hash = end * 3;
    output.max_lsn = end * 5;
    return output;
  }

  std::shared_ptr<const Segment> Seal(size_t begin, size_t end,
                                      std::shared_ptr<const Segment> neighbour = nullptr) {
    JobContext context;
    return Open(RunSeal({Output(begin, end), Read(begin, end), std::move(neighbour)}, context));
  }

  std::shared_ptr<const Segment> Merge(std::vector<std::shared_ptr<const Segment>> inputs,
                                       std::shared_ptr<const Liveness> liveness = nullptr) {
    MergeInput input;
    input.output = Output(inputs.front()->range().begin, inputs.back()->range().end);
    input.segments = std::move(inputs);
    input.liveness = std::move(liveness);
    JobContext context;
    return Open(RunMerge(input, context));
  }

  GraphInput ToGraph(std::vector<std::shared_ptr<const Segment>> inputs) {
    GraphInput input;
    input.output = Output(inputs.front()->range().begin, inputs.back()->range().end);
    input.segments = std::move(inputs);
    return input;
  }

  std::shared_ptr<const Segment> Graph(const GraphInput& input) {
    JobContext context;
    return Open(RunGraph(input, context));
  }
  std::shared_ptr<const Segment> Graph(size_t begin, size_t end) {
    return Graph(ToGraph({Seal(begin, end)}));
  }

  // Opens what a job has written, after verifying all of it.
  std::shared_ptr<const Segment> Open(const Result<SegmentHeader>& header) {
    if (!header.ok()) {
      ADD_FAILURE() << header.status().message();
      return nullptr;
    }
    auto segment = Segment::Open(directory_.File("segment" + std::to_string(header->segment_id)));
    EXPECT_TRUE(segment.ok()) << segment.status().message();
    if (!segment.ok()) return nullptr;
    const Status verified = (*segment)->Verify(Segment::Depth::kAll);
    EXPECT_TRUE(verified.ok()) << verified.message();
    return *segment;
  }

  static std::span<const uint64_t> Ordinals(const Segment& segment, uint32_t node) {
    const std::optional<std::span<const uint64_t>> ordinals = segment.OrdinalsOf(node);
    EXPECT_TRUE(ordinals.has_value());
    return ordinals.value_or(std::span<const uint64_t>());
  }

  // Positions of all entries of a segment, ascending.
  static std::vector<size_t> Positions(const Segment& segment) {
    std::vector<size_t> positions;
    for (uint32_t node = 0; node < segment.node_count(); ++node) {
      for (uint64_t ordinal : Ordinals(segment, node)) positions.push_back(PositionOf(ordinal));
    }
    std::sort(positions.begin(), positions.end());
    return positions;
  }

  const TemporaryDirectory& directory() const { return directory_; }

 private:
  TemporaryDirectory directory_;
  Geometry geometry_;
  std::vector<float> values_;
  uint64_t last_id_ = 0;
};

}  // namespace vecckpt
