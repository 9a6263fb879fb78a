// See mappings.hpp.

#include "pg/mappings.hpp"

#include <map>

namespace vecckpt {
namespace {

// Enough for a session that walks many partitions; beyond it the cache starts anew.
constexpr size_t kMaxCachedMappings = 256;
constexpr int kMapAttempts = 5;
// A file up to this size is verified wholly before its first use: a few milliseconds.
constexpr uint64_t kVerifyAtOnce = 16 << 20;

using Cache = std::map<IndexKey, std::shared_ptr<const IndexMapping>>;

Cache& MappingCache() {
  static Cache* cache = new Cache;  // never destroyed: nothing runs at process exit
  return *cache;
}

Status CheckSegment(const Segment& segment, const ManifestSegment& listed, const Manifest& manifest) {
  const SegmentHeader& h = segment.header();
  const Geometry& g = manifest.geometry;
  if (h.segment_id != listed.id || h.checksum != listed.header_checksum || h.file_size != listed.file_size ||
      h.identity != manifest.identity || !(h.range == listed.range) || h.dims != g.dims ||
      h.slots_per_extent != g.slots_per_extent || h.metric != static_cast<uint8_t>(g.metric) ||
      h.code_kind != static_cast<uint8_t>(g.code_kind) ||
      (segment.kind() == SegmentKind::kGraph && h.m != g.m))
    return Status::Corruption("segment \"" + segment.path() + "\" is not the one its manifest lists");
  return Status::Ok();
}

std::shared_ptr<const Segment> FindMapped(const IndexMapping* mapping, uint64_t id) {
  if (mapping == nullptr) return nullptr;
  for (const auto& segment : mapping->segments)
    if (segment->id() == id) return segment;
  return nullptr;
}

// Opens what `manifest` lists into `mapping`. On failure *failed names the segment.
Status OpenSegments(const Manifest& manifest, const IndexMapping* before, IndexMapping* mapping,
                    uint64_t* failed) {
  for (const ManifestSegment& listed : manifest.segments) {
    *failed = listed.id;
    std::shared_ptr<const Segment> segment = FindMapped(before, listed.id);
    if (segment == nullptr) {
      auto opened = Segment::Open(PathOf(SegmentName(manifest.key, listed.id)));
      if (!opened.ok()) return opened.status();
      segment = *opened;
    }
    VECCKPT_RETURN_IF_ERROR(CheckSegment(*segment, listed, manifest));
    mapping->segments.push_back(std::move(segment));
  }
  return Status::Ok();
}

bool SameGeneration(const Generation& a, const Generation& b) {
  return a.number == b.number && a.manifest_id == b.manifest_id;
}

// C++ side. The current generation, mapped. An empty mapping (no segments) where there is none or what there
// was had to be set aside; null if the index has no entry. *validated: it has been compared with the log.
Status MapIndex(const IndexKey& key, uint64 identity, const Geometry& geometry,
                std::shared_ptr<const IndexMapping>* mapping, bool* validated, Notices* notices) {
  Cache& cache = MappingCache();
  mapping->reset();
  *validated = true;
  Generation failed_generation = {0, 0};
  for (int attempt = 0; attempt < kMapAttempts; attempt++) {
    IndexFields fields;
    if (!SnapshotEntry(key, &fields)) return Status::Ok();
    auto cached = cache.find(key);
    const IndexMapping* before = cached == cache.end() ? nullptr : cached->second.get();
    *validated = fields.validated;
    if (before != nullptr && before->identity == identity &&
        SameGeneration(before->generation, fields.current) && fields.identity == identity) {
      *mapping = cached->second;
      return Status::Ok();
    }

    auto next = std::make_shared<IndexMapping>();
    next->identity = identity;
    next->generation = fields.current;
    if (fields.identity == identity && fields.current.manifest_id != 0) {
      Result<Manifest> manifest = LoadGeneration(key, fields.current);
      Status status = manifest.status();
      uint64_t failed = 0;
      if (status.ok() && (manifest->identity != identity || !(manifest->geometry == geometry)))
        status = Status::Corruption("manifest of index does not fit its log");
      bool manifest_good = status.ok();
      if (status.ok()) status = OpenSegments(*manifest, before, next.get(), &failed);
      if (!status.ok()) {
        bool transient = status.code() == StatusCode::kOutOfMemory || status.code() == StatusCode::kIoError;
        if (transient) return status;
        // A file that vanished between look and open: look again. Gone for the same generation: set aside.
        if (status.code() == StatusCode::kNotFound && !SameGeneration(failed_generation, fields.current)) {
          failed_generation = fields.current;
          continue;
        }
        if (manifest_good)
          VECCKPT_RETURN_IF_ERROR(SetAside(*manifest, fields.current, {failed}, status.message(), notices));
        else
          SetAsideAll(key, identity, fields.current, status.message(), notices);
        attempt = Min(attempt, kMapAttempts - 2);  // one more look at least; each pass sets one file aside
        continue;
      }
      next->manifest = std::move(*manifest);
    }
    if (cache.size() >= kMaxCachedMappings) cache.clear();
    cache[key] = next;
    *mapping = std::move(next);
    return Status::Ok();
  }
  return Status::Ok();
}

// PostgreSQL side.
Coverage CheckCoverage(LogReader* reader, const IndexMapping& mapping) {
  uint64 end = mapping.manifest.coverage_end();
  if (end == 0) return Coverage::kValid;
  if (end > LogEnd(reader)) return RecoveryInProgress() ? Coverage::kDeferred : Coverage::kInvalid;

  uint32 slots = reader->meta->slots_per_extent;
  ExtentCopy* copy = static_cast<ExtentCopy*>(palloc(sizeof(ExtentCopy)));
  Coverage verdict =
      Coverage::kValid;  // if no covered extent lives, nothing of the segments is ever returned
  if (ReadDirectory(reader, (end - 1) / slots, copy)) {
    uint32 count = static_cast<uint32>((end - 1) % slots + 1);
    if (copy->header.used < count ||
        RunningHash(copy->header.running_hash, copy->slots, count) != mapping.manifest.coverage_hash())
      verdict = Coverage::kInvalid;
  } else {
    uint64 best = 0;
    bool found = false;
    for (size_t i = mapping.segments.size(); i-- > 0 && !found;) {
      for (const ExtentRecord& record : mapping.segments[i]->extents()) {
        if (found && record.sequence < best) continue;
        if (!ReadDirectoryOf(reader, record.extent, record.sequence, copy)) continue;
        found = true;
        best = record.sequence;
        verdict = copy->header.running_hash == record.running_hash ? Coverage::kValid : Coverage::kInvalid;
      }
    }
  }
  pfree(copy);
  return verdict;
}

// C++ side, after CheckCoverage said kValid: checks the small sections of every segment (small files wholly),
// sets aside what fails, and marks the generation as validated if all was well. *changed: map again.
Status FinishValidation(const IndexKey& key, const IndexMapping& mapping, bool* changed, Notices* notices) {
  *changed = false;
  bool all = true;
  for (const auto& segment : mapping.segments) {
    bool whole = segment->file_size() <= kVerifyAtOnce;
    all = all && whole;
    Status status = segment->Verify(whole ? Segment::Depth::kAll : Segment::Depth::kIndexed);
    if (status.ok()) continue;
    if (status.code() != StatusCode::kCorruption) return status;
    *changed = true;
    return SetAside(mapping.manifest, mapping.generation, {segment->id()}, status.message(), notices);
  }
  ChangeEntry(key, [&](IndexFields& f) {
    if (!SameGeneration(f.current, mapping.generation)) return;
    f.validated = true;
    if (all) f.verified = true;
  });
  return Status::Ok();
}

}  // namespace

Geometry GeometryOf(const MetaPage& meta) {
  Geometry geometry;
  geometry.dims = meta.dims;
  geometry.m = meta.m;
  geometry.ef_construction = meta.ef_construction;
  geometry.slots_per_extent = meta.slots_per_extent;
  geometry.metric = static_cast<Metric>(meta.metric);
  geometry.element_type = static_cast<ElementType>(meta.element_type);
  geometry.code_kind = static_cast<CodeKind>(meta.code_kind);
  return geometry;
}

Coverage MapValidated(Relation index, LogReader* reader, std::shared_ptr<const IndexMapping>* mapping) {
  IndexKey key = KeyOf(index);
  const MetaPage* meta = reader->meta;
  if (!EnsureEntry(key, meta->identity, RelationGetRelid(index), index->rd_rel->relpersistence))
    return Coverage::kValid;
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    bool validated = false;
    bool again = false;
    Notices notices;
    Failure failure = Guard(
        [&] { return MapIndex(key, meta->identity, GeometryOf(*meta), mapping, &validated, &notices); });
    notices.Emit();
    ThrowIfFailed(failure);
    if (validated || *mapping == nullptr) return Coverage::kValid;
    Coverage coverage = CheckCoverage(reader, **mapping);
    failure = Guard([&] {
      switch (coverage) {
        case Coverage::kValid:
          return FinishValidation(key, **mapping, &again, &notices);
        case Coverage::kDeferred:
          mapping->reset();
          return Status::Ok();
        case Coverage::kInvalid:
          again = true;
          return SetAside((*mapping)->manifest, (*mapping)->generation, {},
                          "it does not match the index's log", &notices);
      }
      return Status::Internal("unknown coverage");
    });
    notices.Emit();
    ThrowIfFailed(failure);
    if (!again) return coverage;
  }
}

void ForgetMapping(const IndexKey& key) {
  MappingCache().erase(key);
}

}  // namespace vecckpt
