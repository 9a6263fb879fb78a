// See sweep.hpp.
//
// A file may be removed if, in this order: it was listed; it was no writer's when the writers were copied
// after that; and neither the current nor the durable manifest of its key, read after that, refers to it. A
// writer is registered before it creates its first file and gives its place up after publishing, so a file in
// use always fails one of the tests.

#include "pg/sweep.hpp"

#include "pg/folder_owner.hpp"
#include "pg/generation.hpp"
#include "pg/writers.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>

#include "os/file.hpp"

namespace vecckpt {
namespace {

// A dropped relation leaves an empty file until the next checkpoint, then none.
bool RelationIsGone(const char* path) {
  struct stat file;
  if (stat(path, &file) != 0) return errno == ENOENT || errno == ENOTDIR;
  return file.st_size == 0;
}

// What a key's files may be: referred to by its current or durable generation.
struct References {
  bool known = false;  // false: nothing may be removed now
  std::set<uint64_t> ids;
  bool durable = false;  // the durable manifest is wanted
  std::string lost;      // why the current manifest cannot be read, if so
  IndexFields fields;
  Manifest current;
};

void ReferTo(const Manifest& manifest, std::set<uint64_t>* ids) {
  for (const ManifestSegment& segment : manifest.segments) {
    ids->insert(segment.id);
    if (segment.liveness_id != 0) ids->insert(segment.liveness_id);
  }
}

References FindReferences(const IndexKey& key) {
  References found;
  if (!SnapshotEntry(key, &found.fields)) {
    found.known = true;
    return found;
  }
  // A durable manifest that cannot be read is of no use to the next start either; it goes. It may be the
  // current one already, of a checkpoint that failed behind the rename.
  auto durable = ReadManifest(PathOf(DurableManifestName(key)));
  found.durable = durable.ok() && (durable->manifest_id == found.fields.durable.manifest_id ||
                                   durable->manifest_id == found.fields.current.manifest_id);
  if (found.durable) ReferTo(*durable, &found.ids);
  if (found.fields.current.manifest_id != 0) {
    auto current = LoadGeneration(key, found.fields.current);
    IndexFields again;
    bool same = SnapshotEntry(key, &again) && again.current.manifest_id == found.fields.current.manifest_id;
    if (!same) return found;  // published meanwhile: next time
    if (!current.ok()) {
      found.known = current.status().code() == StatusCode::kNotFound ||
                    current.status().code() == StatusCode::kCorruption;
      found.lost = current.status().message();
      return found;
    }
    found.current = std::move(*current);
    found.ids.insert(found.fields.current.manifest_id);
    ReferTo(found.current, &found.ids);
  }
  found.known = true;
  return found;
}

using FilesByKey = std::map<IndexKey, std::vector<std::pair<std::string, FileName>>>;

Status SweepKey(const IndexKey& key, const std::vector<std::pair<std::string, FileName>>& files,
                const std::vector<uint32>& writers, Notices* notices) {
  References references = FindReferences(key);
  if (!references.known) return Status::Ok();
  if (!references.lost.empty())
    SetAsideAll(key, references.fields.identity, references.fields.current, references.lost, notices);
  Status first_failure;
  std::set<uint64_t> there;
  for (const auto& [name, parsed] : files) {
    if (!parsed.temporary && parsed.kind == FileKind::kSegment) there.insert(parsed.id);
    if (std::binary_search(writers.begin(), writers.end(), FamilyOf(parsed.id))) continue;
    bool wanted =
        parsed.kind == FileKind::kDurableManifest ? references.durable : references.ids.count(parsed.id) != 0;
    if (wanted && !parsed.temporary) continue;
    struct stat file;
    std::string path = PathOf(name);
    if (lstat(path.c_str(), &file) != 0 || !S_ISREG(file.st_mode)) continue;  // not one of ours after all
    VECCKPT_FAULT_POINT(SweepFile, path);
    Status removed = RemoveFile(path);
    if (first_failure.ok()) first_failure = removed;
  }
  // Listed before the references were read, so a file that is missing here may only be new.
  std::vector<uint64_t> missing;
  for (const ManifestSegment& segment : references.current.segments) {
    if (there.count(segment.id) != 0) continue;
    struct stat file;
    if (stat(PathOf(SegmentName(key, segment.id)).c_str(), &file) != 0 && errno == ENOENT)
      missing.push_back(segment.id);
  }
  if (missing.empty()) return first_failure;
  return SetAside(references.current, references.fields.current, missing, "it is no longer there", notices);
}

Status SweepAll(const IndexKey* keys, const bool* gone, int count, Notices* notices) {
  VECCKPT_FAULT_POINT(SweepStart);
  VECCKPT_RETURN_IF_ERROR(EnsureFolder());
  auto names = ListDirectory(kFilesDirectory);
  if (!names.ok()) return names.status();
  std::vector<uint32> writers = WriterFamilies();
  FilesByKey files;
  for (const std::string& name : *names)
    if (auto parsed = ParseFileName(name)) files[parsed->key].emplace_back(name, *parsed);
  for (int i = 0; i < count; i++)
    if (!gone[i]) files[keys[i]];  // an entry whose files are all gone is looked at too
  Status first_failure;
  for (const auto& [key, list] : files) {
    Status swept = SweepKey(key, list, writers, notices);
    if (first_failure.ok()) first_failure = swept;
  }
  VECCKPT_FAULT_POINT(SweepDone);
  return first_failure;
}

}  // namespace

void SweepFiles() {
  IndexKey* keys;
  int count = ListEntries(InvalidOid, &keys);
  bool* gone = static_cast<bool*>(palloc0(sizeof(bool) * (count + 1)));
  for (int i = 0; i < count; i++) {
    char path[MAXPGPATH];
    RelationPath(keys[i], path, sizeof(path));
    gone[i] = RelationIsGone(path);
  }
  for (int i = 0; i < count; i++)
    if (gone[i]) ForgetEntry(keys[i]);
  KeepFolder();
  Notices notices;
  Failure failure;
  if (FolderIsOurs()) failure = Guard([&] { return SweepAll(keys, gone, count, &notices); });
  notices.Emit();
  if (failure.failed()) ereport(LOG, (errmsg("vecckpt: could not sweep files: %s", failure.message)));
  pfree(gone);
  pfree(keys);
}

}  // namespace vecckpt
