// See folder_owner.hpp.

#include "pg/folder_owner.hpp"

#include "pg/generation.hpp"

extern "C" {
#include "access/xlog.h"
}

#include <algorithm>

#include "os/file.hpp"
#include "os/file_lock.hpp"

namespace vecckpt {
namespace {

constexpr char kOwnerFile[] = "owner";
constexpr size_t kMaxMark = 4096;

// Lines for people: nothing is decided by them, so that those of a copied file mislead nobody.
std::string Mark() {
  std::string mark = std::string(DataDir) + "\n";
  mark += "process " + std::to_string(MyProcPid) + "\n";
  mark += "system identifier " + std::to_string(GetSystemIdentifier()) + "\n";
  return mark + "started " + timestamptz_to_str(GetCurrentTimestamp()) + "\n";
}

// The data directory that the owner has left in the file.
std::string OwnerDirectory() {
  auto mark = ReadFile(PathOf(kOwnerFile), kMaxMark);
  if (!mark.ok() || mark->empty()) return "unknown";
  const char* text = reinterpret_cast<const char*>(mark->data());
  return std::string(text, std::find(text, text + mark->size(), '\n'));
}

Status TryClaim(bool* taken, char* owner, size_t owner_size) {
  VECCKPT_RETURN_IF_ERROR(EnsureFolder());
  Result<bool> locked = TryLockFile(PathOf(kOwnerFile), FileMode(), Mark());
  if (!locked.ok()) return locked.status();
  *taken = !*locked;
  if (*taken) strlcpy(owner, OwnerDirectory().c_str(), owner_size);
  return Status::Ok();
}

Failure Claim() {
  bool taken = false;
  char owner[MAXPGPATH];
  Failure failure = Guard([&] { return TryClaim(&taken, owner, sizeof(owner)); });
  shared->folder_taken = taken;
  if (taken)
    ereport(LOG, (errmsg("vecckpt: folder \"%s\" is in use by another server, of data directory \"%s\"",
                         kFilesDirectory, owner),
                  errdetail("No segments are loaded or built; searches are exact and slow."), FolderHint()));
  return failure;
}

}  // namespace

void ClaimFolder() {
  Failure failure = Claim();
  if (failure.failed())
    ereport(LOG, (errmsg("vecckpt: could not claim folder \"%s\": %s", kFilesDirectory, failure.message),
                  errdetail("It is used, though another server may use it too.")));
}

void KeepFolder() {
  if (FolderIsOurs()) Claim();
}

bool FolderIsOurs() {
  return shared == nullptr || !shared->folder_taken;
}

int FolderHint() {
  return errhint("Put a folder in place of the symbolic link \"%s\", or stop the other server, and restart.",
                 kFilesDirectory);
}

}  // namespace vecckpt
