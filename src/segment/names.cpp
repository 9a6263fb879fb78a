// Writing and reading the names of the checkpoint's files.

#include "segment/names.hpp"

#include <charconv>
#include <cinttypes>
#include <cstdio>

namespace vecckpt {

namespace {

constexpr size_t kIdDigits = 16;

std::string KeyName(const IndexKey& key) {
  return std::to_string(key.database) + "_" + std::to_string(key.tablespace) + "_" +
         std::to_string(key.relation);
}

std::string NameWithId(const IndexKey& key, uint64_t id, const char* suffix) {
  char hex[kIdDigits + 1];
  std::snprintf(hex, sizeof(hex), "%016" PRIx64, id);
  return KeyName(key) + "." + hex + suffix;
}

bool RemovePrefix(std::string_view& text, char prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(1);
  return true;
}

bool RemoveSuffix(std::string_view& text, std::string_view suffix) {
  if (!text.ends_with(suffix)) return false;
  text.remove_suffix(suffix.size());
  return true;
}

// Takes a number without leading zeros off the front of `text`.
std::optional<uint32_t> TakeNumber(std::string_view& text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const size_t digits = static_cast<size_t>(end - text.data());
  if (error != std::errc() || (text.front() == '0' && digits > 1)) return std::nullopt;
  text.remove_prefix(digits);
  return value;
}

std::optional<IndexKey> TakeKey(std::string_view& text) {
  const auto database = TakeNumber(text);
  if (!database || !RemovePrefix(text, '_')) return std::nullopt;
  const auto tablespace = TakeNumber(text);
  if (!tablespace || !RemovePrefix(text, '_')) return std::nullopt;
  const auto relation = TakeNumber(text);
  if (!relation) return std::nullopt;
  return IndexKey{*database, *tablespace, *relation};
}

// `text` as a whole: exactly 16 lower-case hex digits.
std::optional<uint64_t> ParseId(std::string_view text) {
  if (text.size() != kIdDigits || text.find_first_not_of("0123456789abcdef") != text.npos) {
    return std::nullopt;
  }
  uint64_t id = 0;
  std::from_chars(text.data(), text.data() + text.size(), id, 16);
  return id;
}

}  // namespace

std::string DurableManifestName(const IndexKey& key) {
  return KeyName(key) + ".ckpt";
}

std::string GenerationManifestName(const IndexKey& key, uint64_t manifest_id) {
  return NameWithId(key, manifest_id, ".gen");
}

std::string SegmentName(const IndexKey& key, uint64_t segment_id) {
  return NameWithId(key, segment_id, ".seg");
}

std::string LivenessBitmapName(const IndexKey& key, uint64_t bitmap_id) {
  return NameWithId(key, bitmap_id, ".live");
}

std::string TriesName(const IndexKey& key, uint64_t segment_id) {
  return NameWithId(key, segment_id, ".tries");
}

std::optional<FileName> ParseFileName(std::string_view name) {
  FileName result;
  result.temporary = RemoveSuffix(name, ".tmp");
  const auto key = TakeKey(name);
  if (!key) return std::nullopt;
  result.key = *key;

  if (name == ".ckpt") {
    result.kind = FileKind::kDurableManifest;
    return result;
  }
  if (RemoveSuffix(name, ".gen")) {
    result.kind = FileKind::kGenerationManifest;
  } else if (RemoveSuffix(name, ".seg")) {
    result.kind = FileKind::kSegment;
  } else if (RemoveSuffix(name, ".live")) {
    result.kind = FileKind::kLivenessBitmap;
  } else if (RemoveSuffix(name, ".tries")) {
    result.kind = FileKind::kTries;
  } else {
    return std::nullopt;
  }
  if (!RemovePrefix(name, '.')) return std::nullopt;
  const auto id = ParseId(name);
  if (!id) return std::nullopt;
  result.id = *id;
  return result;
}

}  // namespace vecckpt
