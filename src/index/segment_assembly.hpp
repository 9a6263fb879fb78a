// A segment that a job is writing: the writer, the codec, the nodes gathered so far and the extents they
// refer to. Destroyed before Finish, it leaves no file.
//
// Order: Create (codec section written, codes section begun), nodes, FinishCodes on the nodes, for a graph
// segment its links0 and upper sections through writer(), Finish.
//
// Thread safety: one thread at a time.

#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "index/job_inputs.hpp"
#include "index/jobs.hpp"
#include "index/node_table.hpp"
#include "segment/segment_writer.hpp"

namespace vecckpt {

class SegmentAssembly {
 public:
  static Result<std::unique_ptr<SegmentAssembly>> Create(const JobOutput& output,
                                                         std::unique_ptr<Codec> codec, ExtentTable extents);

  // Takes in the live nodes of `segment`, or with `all_nodes` every node, as a new one each. Counts the nodes
  // it went through.
  Status AddSegment(const Segment& segment, const Liveness* liveness, bool all_nodes, JobContext& context);

  const Codec& codec() const { return *codec_; }
  SegmentWriter& writer() { return writer_; }
  NodeTable& nodes() { return nodes_; }
  ExtentTable& extents() { return extents_; }

  // Writes entries, orphans and extents, completes `header` (whose graph fields the caller has filled) and
  // the file. `cancel` may be null.
  Result<SegmentHeader> Finish(SegmentKind kind, const JobOutput& output, std::span<const uint32_t> orphans,
                               SegmentHeader header, const std::atomic<bool>* cancel);

 private:
  SegmentAssembly(SegmentWriter writer, std::unique_ptr<Codec> codec, ExtentTable extents);

  SegmentWriter writer_;
  std::unique_ptr<Codec> codec_;
  ExtentTable extents_;
  NodeTable nodes_;
};

// A header whose graph fields say that there is no graph.
SegmentHeader HeaderWithoutGraph();

}  // namespace vecckpt
