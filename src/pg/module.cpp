// Loading of the library: settings always; shared memory, reload, launcher and hooks where it is preloaded.

#include "pg/pg.hpp"

#include "pg/folder_owner.hpp"
#include "pg/launcher.hpp"
#include "pg/mappings.hpp"
#include "pg/options.hpp"
#include "pg/private_segments.hpp"
#include "pg/reload.hpp"
#include "pg/shared_state.hpp"
#include "pg/utility_hook.hpp"

namespace vecckpt {
namespace {

shmem_request_hook_type previous_request_hook = nullptr;
shmem_startup_hook_type previous_startup_hook = nullptr;

void OnShmemRequest() {
  if (previous_request_hook != nullptr) previous_request_hook();
  RequestSharedMemory();
}

// Also runs after a backend crash, with new memory in the same postmaster.
void OnShmemStartup() {
  if (previous_startup_hook != nullptr) previous_startup_hook();
  bool is_new = AttachSharedMemory();
  if (!is_new || IsUnderPostmaster) return;
  ClaimFolder();
  if (FolderIsOurs()) ReloadManifests();
}

}  // namespace
}  // namespace vecckpt

extern "C" {

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void) {
  using namespace vecckpt;
  DefineOptions(process_shared_preload_libraries_in_progress);
  if (!process_shared_preload_libraries_in_progress) return;
  previous_request_hook = shmem_request_hook;
  shmem_request_hook = OnShmemRequest;
  previous_startup_hook = shmem_startup_hook;
  shmem_startup_hook = OnShmemStartup;
  // pg_upgrade copies and drops databases, and wants nobody else in them.
  if (!IsBinaryUpgrade) RegisterLauncher();
  InstallUtilityHook();
  InstallMappingPruning();
  InstallPrivatePruning();
}
}
