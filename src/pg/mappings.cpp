// See mappings.hpp.

#include "pg/mappings.hpp"

#include "pg/mapping_holders.hpp"

#include <algorithm>
#include <map>

namespace vecckpt {
namespace {

// Enough for a session that walks many partitions; beyond it what has not been used for longest goes. A
// segment is one mapping and mostly a second for its liveness bitmap, of the 65,530 that the kernel allows a
// process by default.
#ifdef VECCKPT_FAULT_POINTS
constexpr size_t kMostCachedIndexes = 16;  // so that tests pass it with few
#else
constexpr size_t kMostCachedIndexes = 4096;
#endif
constexpr size_t kMostCachedSegments = 16384;
constexpr int kMapAttempts = 5;

struct Cached {
  std::shared_ptr<const IndexMapping> mapping;
  uint64 used = 0;  // when last: a number that grows with each use
};
using Cache = std::map<IndexKey, Cached>;

Cache& MappingCache() {
  static Cache* cache = new Cache;  // never destroyed: nothing runs at process exit
  return *cache;
}

uint64 NextUse() {
  static uint64 uses = 0;
  return ++uses;
}

size_t SegmentsIn(const Cache& cache) {
  size_t count = 0;
  for (const auto& [key, cached] : cache) count += cached.mapping->segments.size();
  return count;
}

// Forgets what has not been used for longest until at most so many remain.
void Shrink(Cache* cache, size_t most_indexes, size_t most_segments) {
  size_t segments = SegmentsIn(*cache);
  while (!cache->empty() && (cache->size() > most_indexes || segments > most_segments)) {
    const auto oldest = std::min_element(cache->begin(), cache->end(), [](const auto& a, const auto& b) {
      return a.second.used < b.second.used;
    });
    segments -= oldest->second.mapping->segments.size();
    cache->erase(oldest);
  }
}

std::shared_ptr<const Segment> FindMapped(const IndexMapping* mapping, uint64_t id) {
  if (mapping == nullptr) return nullptr;
  for (const auto& segment : mapping->segments)
    if (segment->id() == id) return segment;
  return nullptr;
}

// The liveness bitmap that is listed with a segment; null if there is none that could be used.
std::shared_ptr<const LivenessBitmap> OpenLiveness(const Manifest& manifest, const ManifestSegment& listed,
                                                   const IndexMapping* before) {
  if (listed.liveness_id == 0) return nullptr;
  if (before != nullptr)
    for (size_t i = 0; i < before->segments.size(); i++)
      if (before->manifest.segments[i].liveness_id == listed.liveness_id) return before->liveness[i];
  auto opened = LivenessBitmap::Open(PathOf(LivenessBitmapName(manifest.key, listed.liveness_id)), listed.id,
                                     listed.node_count, listed.entry_count);
  return opened.ok() ? *opened : nullptr;
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
    VECCKPT_RETURN_IF_ERROR(MatchManifest(*segment, listed, manifest));
    mapping->segments.push_back(std::move(segment));
    mapping->liveness.push_back(OpenLiveness(manifest, listed, before));
  }
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

Status MatchManifest(const Segment& segment, const ManifestSegment& listed, const Manifest& manifest) {
  const SegmentHeader& h = segment.header();
  const Geometry& g = manifest.geometry;
  ManifestSegment described = Describe(h);
  described.liveness_id = listed.liveness_id;  // of which the segment knows nothing
  if (!(described == listed) || h.identity != manifest.identity || h.dims != g.dims ||
      h.slots_per_extent != g.slots_per_extent || h.metric != static_cast<uint8_t>(g.metric) ||
      h.code_kind != static_cast<uint8_t>(g.code_kind) ||
      (segment.kind() == SegmentKind::kGraph && h.m != g.m))
    return Status::Corruption("segment \"" + segment.path() + "\" is not the one its manifest lists");
  return Status::Ok();
}

Status MapIndex(const IndexKey& key, uint64 identity, const Geometry& geometry,
                std::shared_ptr<const IndexMapping>* mapping, bool* validated, Notices* notices) {
  Cache& cache = MappingCache();
  uint64 published = PublishedNow();
  mapping->reset();
  *validated = true;
  Generation failed_generation = {0, 0};
  for (int attempt = 0; attempt < kMapAttempts; attempt++) {
    IndexFields fields;
    if (!SnapshotEntry(key, &fields)) return Status::Ok();
    auto cached = cache.find(key);
    // Kept alive, whatever leaves the cache.
    const std::shared_ptr<const IndexMapping> before =
        cached == cache.end() ? nullptr : cached->second.mapping;
    *validated = fields.validated;
    if (before != nullptr && before->identity == identity &&
        SameGeneration(before->generation, fields.current) && fields.identity == identity) {
      cached->second.used = NextUse();
      *mapping = before;
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
      if (status.ok()) status = OpenSegments(*manifest, before.get(), next.get(), &failed);
      if (!status.ok()) {
        if (status.code() == StatusCode::kOutOfMemory) {  // not the files' fault
          if (cache.empty()) return status;
          Shrink(&cache, cache.size() / 2, kMostCachedSegments);
          attempt = Min(attempt, kMapAttempts - 2);
          continue;
        }
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
    cache[key] = {next, NextUse()};
    BecomeHolder(key, published);
    Shrink(&cache, kMostCachedIndexes, kMostCachedSegments);
    *mapping = std::move(next);
    return Status::Ok();
  }
  return Status::Ok();
}

void ForgetMapping(const IndexKey& key) {
  MappingCache().erase(key);
}

namespace {

void PruneMappings(XactEvent event, void* argument) {
  (void)argument;
  if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT) return;
  static uint64 seen = 0;
  uint64 published = PublishedNow();
  if (published == seen) return;
  seen = published;
  uint64 bits = 0;
  Failure failure = Guard([&bits] {
    std::erase_if(MappingCache(), [](const auto& cached) {
      IndexFields fields;
      return !SnapshotEntry(cached.first, &fields) ||
             !SameGeneration(fields.current, cached.second.mapping->generation);
    });
    for (const auto& cached : MappingCache()) bits |= HolderBit(cached.first);
    return Status::Ok();
  });
  if (!failure.failed()) NoteHolderPruned(published, bits);
}

}  // namespace

void InstallMappingPruning() {
  RegisterXactCallback(PruneMappings, nullptr);
}

}  // namespace vecckpt
