// Read-only shared mappings through mmap.

#include "os/mapping.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

#include "os/file.hpp"

namespace vecckpt {

Result<Mapping> Mapping::Open(const std::string& path) {
  Result<File> file = File::OpenRead(path);
  if (!file.ok()) return file.status();
  const Result<uint64_t> size = file->Size();
  if (!size.ok()) return size.status();

  Mapping mapping;
  if (*size == 0) return mapping;
  void* address = mmap(nullptr, *size, PROT_READ, MAP_SHARED, file->descriptor(), 0);
  if (address == MAP_FAILED) return Status::FromErrno(errno, "map", path);
  mapping.address_ = address;
  mapping.size_ = *size;
  // The mapping keeps the file alive by itself.
  VECCKPT_RETURN_IF_ERROR(file->Close());
  return mapping;
}

Mapping::Mapping(Mapping&& other) noexcept
    : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    if (address_ != nullptr) munmap(address_, size_);
    address_ = std::exchange(other.address_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Mapping::~Mapping() {
  if (address_ != nullptr) munmap(address_, size_);
}

}  // namespace vecckpt
