// The pages of the log: the main fork of a vhnsw index.
//
//   block 0      meta page
//   block 1      first map page
//   block 2 ...  extents of pages_per_extent pages each: extent e starts at block 2 + e * pages_per_extent
//
// An extent is a directory page and behind it vector pages, whose contents form one byte stream: slot s has
// its vector at bytes s * vector_bytes of the stream. An extent number may also be spent on map pages (a *map
// extent*). A map page holds the extent of kMapEntries sequences; the meta page holds the blocks of the map
// pages as a ring, so that a map page whose sequences are all gone serves again.
//
// Every page keeps pd_lower behind its last used byte, because generic WAL zeroes what lies between pd_lower
// and pd_upper. A page of zeros (a crash came between extending the file and WAL) counts as absent.

#pragma once

#include "pg/pg.hpp"

#include "hnsw/stored_vector.hpp"

namespace vecckpt {

constexpr uint32 kLogMagic = 0x56484E57;  // "VHNW"
constexpr uint32 kLogVersion = 1;

enum PageKind : uint16 { kMetaPageKind = 1, kMapPageKind = 2, kDirectoryPageKind = 3, kVectorPageKind = 4 };

// The special space of every page; the last two bytes tell page inspectors whose it is.
struct PageTail {
  uint16 kind;
  uint16 reserved[2];
  uint16 page_id;
};
constexpr uint16 kPageId = 0xFFA4;

constexpr uint32 kPageCapacity = BLCKSZ - SizeOfPageHeaderData - MAXALIGN(sizeof(PageTail));

constexpr uint32 kNoExtent = 0xFFFFFFFF;
constexpr uint32 kFreedSequence = 0xFFFFFFFF;  // in a map page: the sequence's extent is gone
#ifdef VECCKPT_FAULT_POINTS
// Small extents and map pages, so that tests fill many with few rows, and go round the ring of map pages.
constexpr uint32 kMapEntries = 8;
constexpr uint32 kMaxMapPages = 64;
constexpr uint32 kMostSlots = 64;
#else
constexpr uint32 kMapEntries = kPageCapacity / sizeof(uint32);
constexpr uint32 kMaxMapPages = 1980;
constexpr uint32 kMostSlots = BLCKSZ;
#endif
constexpr BlockNumber kMetaBlock = 0;
constexpr BlockNumber kFirstMapBlock = 1;
constexpr BlockNumber kFirstExtentBlock = 2;

struct MetaPage {
  uint32 magic;
  uint32 version;
  uint64 identity;  // random; 0: an unlogged index after a reset, to be drawn by the first insert
  uint32 dims;      // 0 until known; the fields down to vector_bytes then too
  uint32 slots_per_extent;
  uint32 pages_per_extent;
  uint32 vector_bytes;
  uint32 slot_size;  // sizeof(Slot) of this format
  uint32 m;
  uint32 ef_construction;
  uint8 metric;
  uint8 element_type;
  uint8 code_kind;  // the one wanted, until dims are known
  uint8 reserved;
  uint64 first_sequence;  // no earlier one has an extent
  uint64 next_sequence;   // the tail is the one before; 0: no extent yet
  uint32 tail_extent;
  uint32 extent_count;  // extent numbers given out, map extents included
  uint32 free_head;     // first of the list of free extents, or kNoExtent
  uint32 map_extent;    // where the next map page goes, or kNoExtent
  uint32 map_extent_used;
  uint32 reserved2;
  BlockNumber map_blocks[kMaxMapPages];  // ring, by (sequence / kMapEntries) % kMaxMapPages; 0: none
  // Transaction ids with their epoch, see build_horizon.hpp. 0: unknown; an earlier version's page ends here.
  uint64 build_xid;
  uint64 dead_before;
};
static_assert(sizeof(MetaPage) <= kPageCapacity);
constexpr uint32 kShortMetaPage = offsetof(MetaPage, build_xid);

struct Slot {
  ItemPointerData tid;
  uint16 flags;
  uint32 hash;  // of TID and vector
};
static_assert(sizeof(Slot) == 12);
constexpr uint16 kSlotDead = 1;

enum ExtentState : uint32 { kExtentLive = 1, kExtentFree = 2 };

struct DirectoryHeader {
  uint64 sequence;
  uint64 running_hash;  // over all entries of all earlier sequences
  uint32 extent;
  uint32 state;      // ExtentState
  uint32 used;       // slots written; raising it publishes an entry
  uint32 live;       // of those, not dead
  uint32 next_free;  // state free: next of the free list, or kNoExtent
  uint32 reserved;
};
static_assert(sizeof(DirectoryHeader) == 40);

constexpr uint32 kMaxSlots = Min(kMostSlots, (kPageCapacity - sizeof(DirectoryHeader)) / sizeof(Slot));
constexpr uint32 kMinSlots = 16;
constexpr uint32 kMaxExtentBytes = 1024 * 1024;

inline MetaPage* MetaOf(Page page) {
  return reinterpret_cast<MetaPage*>(PageGetContents(page));
}
inline uint32* MapOf(Page page) {
  return reinterpret_cast<uint32*>(PageGetContents(page));
}
inline DirectoryHeader* DirectoryOf(Page page) {
  return reinterpret_cast<DirectoryHeader*>(PageGetContents(page));
}
inline Slot* SlotsOf(Page page) {
  return reinterpret_cast<Slot*>(PageGetContents(page) + sizeof(DirectoryHeader));
}
inline char* StreamOf(Page page) {
  return PageGetContents(page);
}
inline PageTail* TailOf(Page page) {
  return reinterpret_cast<PageTail*>(PageGetSpecialPointer(page));
}

// An empty page of this kind.
void InitLogPage(Page page, PageKind kind);
// True if the page is one of ours of this kind.
bool IsLogPage(Page page, PageKind kind);
// Sets pd_lower behind `used` bytes of content.
inline void SetPageUsed(Page page, uint32 used) {
  reinterpret_cast<PageHeader>(page)->pd_lower = static_cast<LocationIndex>(SizeOfPageHeaderData + used);
}
inline uint32 PageUsed(Page page) {
  return reinterpret_cast<PageHeader>(page)->pd_lower - static_cast<uint32>(SizeOfPageHeaderData);
}

// Fills the geometry of `meta` for vectors of this many dimensions. REQUIRES: its element type is set.
void SetGeometry(MetaPage* meta, uint32 dims);

inline BlockNumber DirectoryBlock(uint32 extent, uint32 pages_per_extent) {
  return kFirstExtentBlock + extent * pages_per_extent;
}

inline uint32 MapRingIndex(uint64 sequence) {
  return (sequence / kMapEntries) % kMaxMapPages;
}

// A vector of this log, from its bytes.
inline StoredVector VectorIn(const MetaPage& meta, const void* bytes) {
  return {static_cast<ElementType>(meta.element_type), meta.dims, bytes};
}

// The hash of an entry that its slot stores.
uint32 EntryHash(const ItemPointerData& tid, const StoredVector& vector);
// The running hash behind the first `count` slots of an extent whose running hash is `before`.
uint64 RunningHash(uint64 before, const Slot* slots, uint32 count);

}  // namespace vecckpt
