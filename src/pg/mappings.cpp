// See mappings.hpp.

#include "pg/mappings.hpp"

#include <map>

namespace vecckpt {
namespace {

// Enough for a session that walks many partitions; beyond it the cache starts anew.
constexpr size_t kMaxCachedMappings = 256;
constexpr int kMapAttempts = 5;

using Cache = std::map<IndexKey, std::shared_ptr<const IndexMapping>>;

Cache& MappingCache() {
  static Cache* cache = new Cache;  // never destroyed: nothing runs at process exit
  return *cache;
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

void ForgetMapping(const IndexKey& key) {
  MappingCache().erase(key);
}

namespace {

void PruneMappings(XactEvent event, void* argument) {
  (void)argument;
  if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT) return;
  static uint64 seen = 0;
  uint64 published = pg_atomic_read_u64(&shared->published);
  if (published == seen) return;
  seen = published;
  Guard([] {
    std::erase_if(MappingCache(), [](const auto& cached) {
      IndexFields fields;
      return !SnapshotEntry(cached.first, &fields) ||
             !SameGeneration(fields.current, cached.second->generation);
    });
    return Status::Ok();
  });
}

}  // namespace

void InstallMappingPruning() {
  RegisterXactCallback(PruneMappings, nullptr);
}

}  // namespace vecckpt
