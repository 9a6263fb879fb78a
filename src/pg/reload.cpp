// See reload.hpp. Runs in the postmaster: nothing here may raise an error.

#include "pg/reload.hpp"

#include "pg/generation.hpp"

#include <sys/stat.h>

#include "os/file.hpp"

namespace vecckpt {
namespace {

struct Loaded {
  int indexes = 0;
  int64 segments = 0;
  int skipped = 0;
};

void Register(const Manifest& manifest, const std::string& path, Loaded* loaded, Notices* notices) {
  struct stat file;
  TimestampTz time = stat(path.c_str(), &file) == 0 ? time_t_to_timestamptz(file.st_mtime) : 0;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  IndexEntry* entry = CreateEntry(manifest.key);
  if (entry != nullptr) {
    IndexFields& f = entry->f;  // nobody else is there yet
    f.identity = manifest.identity;
    f.index_oid = manifest.index_oid;
    f.persistence = manifest.persistence;
    f.validated = false;
    f.verified = false;
    f.current = f.durable = {manifest.generation, manifest.manifest_id};
    f.durable_time = time;
    f.durable_lsn = manifest.max_lsn();
    loaded->indexes++;
    loaded->segments += static_cast<int64>(manifest.segments.size());
  }
  LWLockRelease(shared->lock);
  if (entry == nullptr) {
    loaded->skipped++;
    notices->Add("vecckpt: no room for manifest \"%s\", vecckpt.max_indexes is too low", path.c_str());
  }
}

Status LoadAll(Loaded* loaded, Notices* notices) {
  VECCKPT_FAULT_POINT(ReloadStart);
  VECCKPT_RETURN_IF_ERROR(EnsureFolder());
  auto names = ListDirectory(kFilesDirectory);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    auto parsed = ParseFileName(name);
    if (!parsed || parsed->temporary || parsed->kind != FileKind::kDurableManifest) continue;
    std::string path = PathOf(name);
    VECCKPT_FAULT_POINT(ReloadManifest, path);
    auto manifest = ReadManifest(path);
    if (manifest.ok() && manifest->key == parsed->key) {
      Register(*manifest, path, loaded, notices);
      continue;
    }
    loaded->skipped++;
    std::string reason = manifest.ok() ? "it is another index's" : manifest.status().message();
    notices->Add("vecckpt: setting aside file \"%s\": %s", path.c_str(), reason.c_str());
  }
  return Status::Ok();
}

}  // namespace

void ReloadManifests() {
  Loaded loaded;
  Notices notices;
  Moment start = Now();
  Failure failure = Guard([&] { return LoadAll(&loaded, &notices); });
  shared->loaded_segments = loaded.segments;
  notices.Emit();
  if (failure.failed())
    ereport(LOG, (errmsg("vecckpt: could not load segments: %s", failure.message),
                  errdetail("They will be built again.")));
  double milliseconds = std::chrono::duration<double, std::milli>(Now() - start).count();
  ereport(LOG, (errmsg("vecckpt: loaded %d indexes with %lld segments in %.1f ms", loaded.indexes,
                       static_cast<long long>(loaded.segments), milliseconds)));
}

}  // namespace vecckpt
