// Read-only shared mappings through mmap.

#include "os/mapping.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "os/file.hpp"

namespace vecckpt {

namespace {

constexpr size_t kPrefetchPiece = 128 << 10;
constexpr uint32_t kGoldenRatio = 0x9E3779B9;  // of 2^32

size_t PageSize() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

// The pages that a part of a mapping lies on, as addresses.
struct Pages {
  uintptr_t begin;
  uintptr_t end;
};

Pages PagesOf(Bytes part) {
  if (part.empty()) return {0, 0};
  const uintptr_t begin = reinterpret_cast<uintptr_t>(part.data());
  const uintptr_t last = begin + part.size() - 1;
  return {begin / PageSize() * PageSize(), (last / PageSize() + 1) * PageSize()};
}

void Advise(Pages pages, int advice) {
  (void)madvise(reinterpret_cast<void*>(pages.begin), pages.end - pages.begin, advice);
}

}  // namespace

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
  mapping.place_ = GuardMapping(address, *size);
  // The mapping keeps the file alive by itself.
  VECCKPT_RETURN_IF_ERROR(file->Close());
  return mapping;
}

Mapping::Mapping(Mapping&& other) noexcept
    : address_(std::exchange(other.address_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      place_(std::exchange(other.place_, kUnguarded)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    Unmap();
    address_ = std::exchange(other.address_, nullptr);
    size_ = std::exchange(other.size_, 0);
    place_ = std::exchange(other.place_, kUnguarded);
  }
  return *this;
}

Mapping::~Mapping() {
  Unmap();
}

void Mapping::Unmap() {
  if (address_ == nullptr) return;
  ReleaseMapping(place_);
  munmap(address_, size_);
}

void LoadMapped(Bytes part) {
  PrefetchMapped(part);
  const Pages pages = PagesOf(part);
  for (uintptr_t at = pages.begin; at < pages.end; at += PageSize()) {
    (void)*reinterpret_cast<const volatile std::byte*>(at);
  }
}

// The kernel takes as much of one request as the device reads at once, and forgets about the rest.
void PrefetchMapped(Bytes part) {
  const Pages pages = PagesOf(part);
  for (uintptr_t at = pages.begin; at < pages.end; at += std::min(pages.end - at, kPrefetchPiece)) {
    Advise({at, at + std::min(pages.end - at, kPrefetchPiece)}, MADV_WILLNEED);
  }
}

void ExpectLookups(Bytes part) {
  const Pages pages = PagesOf(part);
  if (pages.begin < pages.end) Advise(pages, MADV_RANDOM);
}

void ExpectScans(Bytes part) {
  const Pages pages = PagesOf(part);
  if (pages.begin < pages.end) Advise(pages, MADV_NORMAL);
}

bool SomeMissing(Bytes part, uint32_t samples, uint32_t seed) {
  const Pages pages = PagesOf(part);
  const uint64_t count = (pages.end - pages.begin) / PageSize();
  for (uint32_t i = 0; i < samples && count > 0; ++i) {
    // Multiples of the golden ratio lie evenly, modulo 1 (here 2^32).
    const uint32_t place = (seed * samples + i) * kGoldenRatio;
    unsigned char state = 1;
    void* page = reinterpret_cast<void*>(pages.begin + (place * count >> 32) * PageSize());
    if (mincore(page, 1, &state) == 0 && (state & 1) == 0) return true;
  }
  return false;
}

}  // namespace vecckpt
