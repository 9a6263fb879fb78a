// See counted_try.hpp.

#include "os/counted_try.hpp"

#include <charconv>
#include <utility>
#include <vector>

#include "os/file.hpp"

namespace vecckpt {

namespace {

constexpr size_t kMostDigits = 10;

uint32_t ReadCount(const std::string& path) {
  const Result<std::vector<std::byte>> bytes = ReadFile(path, kMostDigits);
  uint32_t count = 0;
  if (!bytes.ok()) return count;
  const char* text = reinterpret_cast<const char*>(bytes->data());
  std::from_chars(text, text + bytes->size(), count);
  return count;
}

}  // namespace

CountedTry::CountedTry(std::string path, mode_t mode) : path_(std::move(path)), before_(ReadCount(path_)) {
  const std::string count = std::to_string(before_ + 1);
  const Bytes bytes = {reinterpret_cast<const std::byte*>(count.data()), count.size()};
  (void)WriteFileByRename(path_, bytes, mode).ok();
}

CountedTry::~CountedTry() {
  (void)RemoveFile(path_).ok();
}

}  // namespace vecckpt
