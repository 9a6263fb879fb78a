// Generations as files: loading, publishing and setting aside. C++ side of the wall (see wall.hpp).
//
// A generation is published by writing its manifest under its own random id and then making it current in
// shared memory, if nobody was faster. Segment files are complete, under their own names, before that.

#pragma once

#include "pg/shared_state.hpp"
#include "pg/wall.hpp"

#include <string>
#include <vector>

#include "segment/manifest.hpp"

namespace vecckpt {

// Relative to the data directory, which is every process's working directory.
constexpr char kFilesDirectory[] = "vector-ckpt";

std::string PathOf(const std::string& file_name);

// File and folder permissions: the cluster's own.
mode_t FileMode();
mode_t FolderMode();

inline bool SameGeneration(const Generation& a, const Generation& b) {
  return a.number == b.number && a.manifest_id == b.manifest_id;
}

// Makes sure that the folder is there, which may be deleted at any time, and no other server's.
Status EnsureFolder();

// The manifest of a generation, from its own file or, if a checkpoint has renamed that, the durable one.
// kNotFound if it is neither.
Result<Manifest> LoadGeneration(const IndexKey& key, const Generation& generation);

// Publishes `next` as the successor of `base`. Fills its manifest_id and generation. True if it is current
// now, false if another generation came first (nothing is left behind then). A manifest without segments
// needs no file.
Result<bool> PublishGeneration(Manifest* next, const Generation& base, bool validated, bool verified);

// Publishes `manifest`'s generation without the given segments (all of them if `ids` is empty), so that their
// positions are tail again, and adds a notice for each. Losing a race against another generation is no error.
Status SetAside(const Manifest& manifest, const Generation& base, const std::vector<uint64_t>& ids,
                const std::string& reason, Notices* notices);

// The same where not even the manifest can be read.
void SetAsideAll(const IndexKey& key, uint64 identity, const Generation& base, const std::string& reason,
                 Notices* notices);

}  // namespace vecckpt
