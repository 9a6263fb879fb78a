// See generation.hpp.

#include "pg/generation.hpp"

#include "pg/folder_owner.hpp"
#include "pg/writers.hpp"

extern "C" {
#include "common/file_perm.h"
}

#include <algorithm>

#include "os/file.hpp"

namespace vecckpt {
namespace {

// What every set-aside does to the entry: the builder has work, and the durable state should follow soon.
void AfterSetAside(const IndexKey& key) {
  ChangeEntry(key, [](IndexFields& f) { f.persist_wanted = true; });
  MarkWork(key);
  AddCounter(key, &IndexCounters::set_aside, 1);
  WakeBuilder(key.database);
  WakeLauncher();
}

Status WriteGeneration(const std::string& path, const Manifest& manifest) {
  VECCKPT_RETURN_IF_ERROR(WriteFileByRename(path, SerializeManifest(manifest), FileMode()));
  VECCKPT_FAULT_POINT(GenerationWritten, path);
  return Status::Ok();
}

}  // namespace

std::string PathOf(const std::string& file_name) {
  return std::string(kFilesDirectory) + "/" + file_name;
}

mode_t FileMode() {
  return static_cast<mode_t>(pg_file_create_mode);
}
mode_t FolderMode() {
  return static_cast<mode_t>(pg_dir_create_mode);
}

Status EnsureFolder() {
  if (!FolderIsOurs())
    return Status::Unsupported(std::string("folder \"") + kFilesDirectory + "\" is in use by another server");
  return CreateDirectory(kFilesDirectory, FolderMode());
}

Result<Manifest> LoadGeneration(const IndexKey& key, const Generation& generation) {
  const std::string own_path = PathOf(GenerationManifestName(key, generation.manifest_id));
  Result<Manifest> own = ReadManifest(own_path);
  if (own.ok() || own.status().code() != StatusCode::kNotFound) {
    if (own.ok() && (own->manifest_id != generation.manifest_id || own->key != key))
      return Status::Corruption("manifest \"" + own_path + "\" belongs to something else");
    return own;
  }
  const std::string durable_path = PathOf(DurableManifestName(key));
  Result<Manifest> durable = ReadManifest(durable_path);
  if (!durable.ok() && durable.status().code() != StatusCode::kNotFound) return durable;
  if (!durable.ok() || durable->manifest_id != generation.manifest_id || durable->key != key)
    return Status::NotFound("manifest \"" + own_path + "\" is missing, and \"" + durable_path +
                            "\" is not it");
  return durable;
}

Result<bool> PublishGeneration(Manifest* next, const Generation& base, bool validated, bool verified) {
  VECCKPT_FAULT_POINT(GenerationPublish);
  next->generation = base.number + 1;
  if (next->segments.empty()) {
    next->manifest_id = 0;
    return BumpGeneration(next->key, next->identity, base, {next->generation, 0}, true, true);
  }
  VECCKPT_RETURN_IF_ERROR(EnsureFolder());
  auto writer = Writer::Register();
  if (!writer.ok()) return writer.status();
  next->manifest_id = (*writer)->NewId();
  std::string path = PathOf(GenerationManifestName(next->key, next->manifest_id));
  Status written = WriteGeneration(path, *next);
  bool current = false;
  if (written.ok())
    current = BumpGeneration(next->key, next->identity, base, {next->generation, next->manifest_id},
                             validated, verified);
  if (!written.ok()) return written;
  if (!current) VECCKPT_RETURN_IF_ERROR(RemoveFile(path));
  VECCKPT_FAULT_POINT(GenerationPublished, path);
  return current;
}

Status SetAside(const Manifest& manifest, const Generation& base, const std::vector<uint64_t>& ids,
                const std::string& reason, Notices* notices) {
  VECCKPT_FAULT_POINT(GenerationSetAside, reason);
  Manifest next = manifest;
  std::erase_if(next.segments, [&ids](const ManifestSegment& segment) {
    return ids.empty() || std::find(ids.begin(), ids.end(), segment.id) != ids.end();
  });
  IndexFields fields;
  bool known = SnapshotEntry(manifest.key, &fields);
  Result<bool> published =
      PublishGeneration(&next, base, known && fields.validated, known && fields.verified);
  if (!published.ok()) {
    // No room for a manifest: give up the whole generation, which needs none.
    SetAsideAll(manifest.key, manifest.identity, base, reason, notices);
    return Status::Ok();
  }
  if (!*published) return Status::Ok();
  for (const ManifestSegment& segment : manifest.segments)
    if (ids.empty() || std::find(ids.begin(), ids.end(), segment.id) != ids.end())
      notices->Add("vecckpt: setting aside file \"%s\": %s",
                   PathOf(SegmentName(manifest.key, segment.id)).c_str(), reason.c_str());
  AfterSetAside(manifest.key);
  return Status::Ok();
}

void SetAsideAll(const IndexKey& key, uint64 identity, const Generation& base, const std::string& reason,
                 Notices* notices) {
  if (!BumpGeneration(key, identity, base, {base.number + 1, 0}, true, true)) return;
  notices->Add("vecckpt: setting aside the segments of index %u/%u/%u: %s", key.database, key.tablespace,
               key.relation, reason.c_str());
  AfterSetAside(key);
}

}  // namespace vecckpt
