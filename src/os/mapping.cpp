// Read-only shared mappings through mmap.

#include "os/mapping.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
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

void LoadMapped(Bytes part) {
  if (part.empty()) return;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(part.data()) & ~(page - 1);
  const uintptr_t end = reinterpret_cast<uintptr_t>(part.data()) + part.size();
  // One large read instead of one for each page. Only advice: touching the pages is what counts.
  (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_WILLNEED);
  for (uintptr_t at = begin; at < end; at += page) {
    (void)*reinterpret_cast<const volatile std::byte*>(at);
  }
}

}  // namespace vecckpt
