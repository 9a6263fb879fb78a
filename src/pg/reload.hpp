// Reload: at postmaster start, before WAL replay, durable manifests become entries in shared memory.

#pragma once

namespace vecckpt {

// Reads every manifest in the files directory and registers its index. Skips what is strange with a LOG line
// and never raises. Its cost follows the number of files, not of vectors: segments are not opened.
void ReloadManifests();

}  // namespace vecckpt
