// Slots are found by the upper bits of a 32-bit hash and probed linearly, so that the table can have any
// size.

#include "index/node_table.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/checksum.hpp"
#include "hnsw/node_key.hpp"
#include "hnsw/types.hpp"

namespace vecckpt {

namespace {

constexpr uint64_t kFirstSlots = 1024;
constexpr size_t kRecentBytes = size_t{4} << 20;
constexpr size_t kChunk = 8192;  // values gathered for one Append
constexpr uint64_t kMaxEntries = std::numeric_limits<uint32_t>::max();

uint32_t Hash(const std::byte* code, size_t stride) {
  return static_cast<uint32_t>(Checksum({code, stride}));
}

uint64_t SlotsFor(uint64_t nodes) {
  return nodes * 10 / 7 + kFirstSlots;
}

bool Seen(const std::atomic<bool>* cancel) {
  return cancel != nullptr && cancel->load(std::memory_order_relaxed);
}

}  // namespace

void NodeTable::Reserve(uint64_t nodes) {
  const uint64_t slots = SlotsFor(nodes);
  if (slots > slots_.size()) Rehash(slots);
  first_ordinals_.reserve(nodes);
}

void NodeTable::Rehash(uint64_t slots) {
  std::vector<Slot> old(slots, Slot{0, kNoNode});
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.node == kNoNode) continue;
    uint64_t at = uint64_t{slot.hash} * slots_.size() >> 32;
    while (slots_[at].node != kNoNode) at = at + 1 == slots_.size() ? 0 : at + 1;
    slots_[at] = slot;
  }
}

// The slot of an equal code, or the free one where it belongs.
NodeTable::Slot& NodeTable::FindSlot(uint32_t hash, const std::byte* code) {
  uint64_t at = uint64_t{hash} * slots_.size() >> 32;
  for (;;) {
    Slot& slot = slots_[at];
    if (slot.node == kNoNode) return slot;
    if (slot.hash == hash && std::memcmp(CodeOf(slot.node), code, stride_) == 0) return slot;
    at = at + 1 == slots_.size() ? 0 : at + 1;
  }
}

const std::byte* NodeTable::CodeOf(uint32_t node) const {
  if (node >= mapped_nodes_) return recent_codes_.data() + (node - mapped_nodes_) * stride_;
  return mapping_.bytes().data() + writer_->section_offset(SectionKind::kCodes) + uint64_t{node} * stride_;
}

Status NodeTable::Remap() {
  VECCKPT_RETURN_IF_ERROR(writer_->Flush());
  Result<Mapping> mapping = Mapping::Open(writer_->temporary_path());
  if (!mapping.ok()) return mapping.status();
  const uint64_t end = writer_->section_offset(SectionKind::kCodes) + uint64_t{node_count()} * stride_;
  if (mapping->bytes().size() < end) {
    return Status::Corruption("file \"" + writer_->temporary_path() + "\" is shorter than what was written");
  }
  mapping_ = std::move(*mapping);
  mapped_nodes_ = node_count();
  recent_codes_.clear();
  return Status::Ok();
}

Status NodeTable::CheckReadable() const {
  if (!mapping_.damaged()) return Status::Ok();
  return Status(StatusCode::kIoError, "could not read file \"" + writer_->temporary_path() + "\" back");
}

Result<uint32_t> NodeTable::Append(const std::byte* code) {
  if (first_ordinals_.size() >= kMostKeyedNodes) {
    return Status::InvalidArgument("too many distinct vectors for segment \"" + writer_->temporary_path() +
                                   "\"");
  }
  const uint32_t node = node_count();
  VECCKPT_RETURN_IF_ERROR(writer_->Append({code, stride_}));
  recent_codes_.insert(recent_codes_.end(), code, code + stride_);
  first_ordinals_.push_back(kNoOrdinal);
  if (!last_further_.empty()) last_further_.push_back(kNoNode);
  if (recent_codes_.size() >= kRecentBytes) VECCKPT_RETURN_IF_ERROR(Remap());
  return node;
}

Result<uint32_t> NodeTable::Add(const std::byte* code) {
  if (SlotsFor(node_count()) >= slots_.size()) Rehash(SlotsFor(node_count() + node_count() / 2 + 1));
  const uint32_t hash = Hash(code, stride_);
  Slot& slot = FindSlot(hash, code);
  Result<uint32_t> node = Append(code);
  if (node.ok() && slot.node == kNoNode) slot = {hash, *node};
  return node;
}

Result<uint32_t> NodeTable::FindOrAdd(const std::byte* code) {
  if (SlotsFor(node_count()) >= slots_.size()) Rehash(SlotsFor(node_count() + node_count() / 2 + 1));
  const uint32_t hash = Hash(code, stride_);
  Slot& slot = FindSlot(hash, code);
  if (slot.node != kNoNode) return uint32_t{slot.node};
  Result<uint32_t> node = Append(code);
  if (node.ok()) slot = {hash, *node};
  return node;
}

Status NodeTable::AddOrdinal(uint32_t node, uint64_t ordinal) {
  if (entry_count_ >= kMaxEntries || further_ordinals_.size() >= kNoNode - 1) {
    return Status::InvalidArgument("too many entries for segment \"" + writer_->temporary_path() + "\"");
  }
  ++entry_count_;
  if (first_ordinals_[node] == kNoOrdinal) {
    first_ordinals_[node] = ordinal;
    return Status::Ok();
  }
  if (last_further_.empty()) last_further_.assign(node_count(), kNoNode);
  const uint32_t added = static_cast<uint32_t>(further_ordinals_.size());
  uint32_t& last = last_further_[node];
  further_ordinals_.push_back(ordinal);
  if (last == kNoNode) {
    further_next_.push_back(added);
  } else {
    further_next_.push_back(further_next_[last]);
    further_next_[last] = added;
  }
  last = added;
  return Status::Ok();
}

template <typename Function>
void NodeTable::ForEachOrdinal(uint32_t node, Function function) const {
  if (first_ordinals_[node] != kNoOrdinal) function(first_ordinals_[node]);
  if (last_further_.empty() || last_further_[node] == kNoNode) return;
  const uint32_t last = last_further_[node];
  uint32_t at = last;
  do {
    at = further_next_[at];
    if (further_ordinals_[at] != kNoOrdinal) function(further_ordinals_[at]);
  } while (at != last);
}

uint64_t NodeTable::AnyOrdinal(uint32_t node) const {
  uint64_t found = kNoOrdinal;
  ForEachOrdinal(node, [&](uint64_t ordinal) {
    if (found == kNoOrdinal) found = ordinal;
  });
  return found;
}

uint32_t NodeTable::CountEmpty() const {
  uint32_t empty = 0;
  for (uint32_t node = 0; node < node_count(); ++node) empty += AnyOrdinal(node) == kNoOrdinal;
  return empty;
}

Status NodeTable::FinishCodes() {
  slots_ = {};
  VECCKPT_RETURN_IF_ERROR(Remap());
  recent_codes_ = {};
  return Status::Ok();
}

Bytes NodeTable::codes() const {
  return mapping_.bytes().subspan(writer_->section_offset(SectionKind::kCodes),
                                  uint64_t{node_count()} * stride_);
}

Status NodeTable::WriteEntries(const std::atomic<bool>* cancel) {
  VECCKPT_RETURN_IF_ERROR(writer_->BeginSection(SectionKind::kEntries));
  std::vector<uint32_t> offsets{0};
  offsets.reserve(kChunk + 1);
  uint32_t offset = 0;
  for (uint32_t node = 0; node < node_count(); ++node) {
    ForEachOrdinal(node, [&](uint64_t) { ++offset; });
    offsets.push_back(offset);
    if (offsets.size() < kChunk) continue;
    if (Seen(cancel)) return Status::Cancelled();
    VECCKPT_RETURN_IF_ERROR(writer_->Append(AsBytes<uint32_t>(offsets)));
    offsets.clear();
  }
  if (node_count() % 2 == 0) offsets.push_back(0);  // padding to 8 bytes
  VECCKPT_RETURN_IF_ERROR(writer_->Append(AsBytes<uint32_t>(offsets)));

  std::vector<uint64_t> ordinals;
  ordinals.reserve(kChunk);
  Status status;
  const auto flush = [&] {
    if (Seen(cancel)) status = Status::Cancelled();
    if (status.ok()) status = writer_->Append(AsBytes<uint64_t>(ordinals));
    ordinals.clear();
  };
  for (uint32_t node = 0; node < node_count() && status.ok(); ++node) {
    ForEachOrdinal(node, [&](uint64_t ordinal) {
      ordinals.push_back(ordinal);
      if (ordinals.size() == kChunk) flush();
    });
  }
  flush();
  return status;
}

size_t NodeTable::memory_bytes() const {
  return slots_.capacity() * sizeof(Slot) + recent_codes_.capacity() +
         (first_ordinals_.capacity() + further_ordinals_.capacity()) * sizeof(uint64_t) +
         (last_further_.capacity() + further_next_.capacity()) * sizeof(uint32_t);
}

}  // namespace vecckpt
