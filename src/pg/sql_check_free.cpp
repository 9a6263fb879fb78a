// See sql_check.hpp: extents that are no sequence's, the free list, and what lies outside of all extents.
// Every extent is one of three: a sequence's, taken for map pages, or free and on the list once.

#include "pg/sql_check.hpp"

#include "pg/wall.hpp"

namespace vecckpt {
namespace {

// A list that changes under every walk is left alone after so many.
constexpr int kMostWalks = 100;
// Extents missing from the list that are looked at again at a time.
constexpr uint32 kMostSuspects = 1000;

struct Suspect {
  uint32 extent;
  uint64 sequence;
};

// What the walks need; allocated once.
struct Rest {
  IndexCheck* check;
  uint64* free;     // bits by extent: seen to be free
  uint64* on_list;  // bits by extent: seen by the last walk along the list
  PGAlignedBlock page;
  PGAlignedBlock again;
  char* vectors;  // vector pages of one extent
  bool* readable;
  Suspect* suspects;
  uint32 suspect_count;
};

Rest* NewRest(IndexCheck* check) {
  uint32 pages = check->meta.pages_per_extent - 1;
  auto* rest = static_cast<Rest*>(palloc0(sizeof(Rest)));
  rest->check = check;
  rest->free = NewBits(check->extent_count);
  rest->on_list = NewBits(check->extent_count);
  rest->vectors = static_cast<char*>(palloc(uint64{pages} * BLCKSZ));
  rest->readable = static_cast<bool*>(palloc(pages));
  rest->suspects = static_cast<Suspect*>(palloc(kMostSuspects * sizeof(Suspect)));
  return rest;
}

// ---- extents

// A directory page that is live although the walk through the map has not seen it: of a sequence that is
// newer than that walk, or lost.
void CheckUnseen(Rest* rest, uint32 extent) {
  IndexCheck* check = rest->check;
  uint64 sequence = DirectoryOf(rest->page.data)->sequence;
  uint32 mapped;
  Mapped state = MapEntryNow(check, sequence, &mapped);
  if (state == Mapped::kDamaged || (state == Mapped::kExtent && mapped == extent)) return;
  // Freed between the two looks?
  if (!CopyDirectory(check, extent, rest->again.data)) return;
  const DirectoryHeader* now = DirectoryOf(rest->again.data);
  if (now->state != kExtentLive || now->sequence != sequence) return;
  Report(check, Severity::kError, ExtentPlace(check, extent),
         "holds sequence " UINT64_FORMAT ", which the map does not give to extent %u", sequence, extent);
}

// The vector pages of a free extent, which its next sequence will write to.
void CheckFreeVectorPages(Rest* rest, uint32 extent) {
  IndexCheck* check = rest->check;
  BlockNumber first = DirectoryBlock(extent, check->meta.pages_per_extent) + 1;
  BlockNumber blocks = RelationGetNumberOfBlocks(check->index);
  uint32 there = blocks <= first ? 0 : Min(check->meta.pages_per_extent - 1, blocks - first);
  if (there > 0) CopyPages(check, first, there, rest->vectors, rest->readable);
  for (uint32 i = 0; i < there; i++) {
    Page page = rest->vectors + uint64{i} * BLCKSZ;
    if (rest->readable[i] && !PageIsNew(page) && !IsLogPage(page, kVectorPageKind))
      Report(check, Severity::kError,
             MakePlace("block %u (vector page %u of extent %u)", first + i, i, extent),
             "is not a vector page");
  }
}

void CheckFree(Rest* rest, uint32 extent) {
  IndexCheck* check = rest->check;
  const DirectoryHeader* header = DirectoryOf(rest->page.data);
  if (header->live != 0)
    Report(check, Severity::kError, ExtentPlace(check, extent), "is free and counts %u live entries",
           header->live);
  if (header->used != check->meta.slots_per_extent)
    Report(check, Severity::kError, ExtentPlace(check, extent), "is free and has %u slots used, of %u",
           header->used, check->meta.slots_per_extent);
  SetBit(rest->free, extent);
  CheckFreeVectorPages(rest, extent);
}

void CheckExtents(Rest* rest) {
  IndexCheck* check = rest->check;
  for (uint32 extent = 0; extent < check->extent_count; extent++) {
    CHECK_FOR_INTERRUPTS();
    if (HasBit(check->live_extents, extent) || HasBit(check->map_extents, extent)) continue;
    if (CopyDirectory(check, extent, rest->page.data)) {
      VECCKPT_FAULT_POINT_RAISE(CheckStep, MakePlace("other extent %u", extent).text);
      if (DirectoryOf(rest->page.data)->state == kExtentFree)
        CheckFree(rest, extent);
      else
        CheckUnseen(rest, extent);
    }
    MemoryContextReset(check->context);
  }
}

// ---- the free list

enum class Followed { kYes, kChanged, kBroken };

// Where the list was entered or gone through last.
struct Link {
  uint32 from;      // kNoExtent: the meta page
  uint64 sequence;  // of `from`; of the meta page, the next one
  uint32 to;
};

// Whether `link` has been as it was read all the time. A head that is the same again may have been taken and
// freed between, but not without a new sequence.
bool StillLinked(Rest* rest, const Link& link) {
  IndexCheck* check = rest->check;
  if (link.from == kNoExtent) {
    MetaPage now;
    return CopyMetaNow(check, &now) && now.free_head == link.to && now.next_sequence == link.sequence;
  }
  if (!CopyPage(check, DirectoryBlock(link.from, check->meta.pages_per_extent), rest->again.data) ||
      !IsLogPage(rest->again.data, kDirectoryPageKind))
    return false;
  const DirectoryHeader* now = DirectoryOf(rest->again.data);
  return now->state == kExtentFree && now->sequence == link.sequence && now->next_free == link.to;
}

Followed ReportBroken(Rest* rest, const Link& link, const char* what) {
  IndexCheck* check = rest->check;
  if (!StillLinked(rest, link)) return Followed::kChanged;
  Report(check, Severity::kError,
         link.from == kNoExtent ? BlockPlace(kMetaBlock, "meta page") : ExtentPlace(check, link.from),
         "leads the free list to extent %u, which %s", link.to, what);
  return Followed::kBroken;
}

// Goes to link->to and makes *link the link from there. Each step is checked to be from one member of the
// list to the next at one time.
Followed Step(Rest* rest, Link* link, uint32 extent_count) {
  IndexCheck* check = rest->check;
  if (link->to >= extent_count) return ReportBroken(rest, *link, "there is not");
  if (link->to < check->extent_count && HasBit(check->map_extents, link->to))
    return ReportBroken(rest, *link, "is taken for map pages");
  BlockNumber block = DirectoryBlock(link->to, check->meta.pages_per_extent);
  if (block >= RelationGetNumberOfBlocks(check->index))
    return ReportBroken(rest, *link, "lies beyond the end of the file");
  VECCKPT_FAULT_POINT_RAISE(CheckStep, MakePlace("free list to extent %u", link->to).text);
  if (!CopyPage(check, block, rest->page.data)) return Followed::kBroken;
  VECCKPT_FAULT_POINT_RAISE(CheckStep, MakePlace("free list at extent %u", link->to).text);
  const DirectoryHeader* header = DirectoryOf(rest->page.data);
  if (!IsLogPage(rest->page.data, kDirectoryPageKind) || header->state != kExtentFree)
    return ReportBroken(rest, *link, "is not free");
  Link next = {link->to, header->sequence, header->next_free};
  if (!StillLinked(rest, *link)) return Followed::kChanged;
  *link = next;
  return Followed::kYes;
}

// One walk along the list, marking what it meets. A list that leads back into itself meets an extent again;
// only if it then comes by a third time, and it was on the list all the time, is it a ring.
Followed WalkList(Rest* rest) {
  IndexCheck* check = rest->check;
  MetaPage now;
  if (!CopyMetaNow(check, &now)) return Followed::kBroken;
  memset(rest->on_list, 0, (check->extent_count / 64 + 1) * sizeof(uint64));
  Link link = {kNoExtent, now.next_sequence, now.free_head};
  uint32 ring = kNoExtent;
  uint64 ring_sequence = 0;
  for (uint32 steps = 0; link.to != kNoExtent; steps++) {
    CHECK_FOR_INTERRUPTS();
    if (steps > 2 * now.extent_count) return Followed::kChanged;
    Link before = link;
    Followed followed = Step(rest, &link, now.extent_count);
    MemoryContextReset(check->context);
    if (followed != Followed::kYes) return followed;
    if (link.from >= check->extent_count) continue;  // newer than the check
    if (!HasBit(rest->on_list, link.from)) {
      SetBit(rest->on_list, link.from);
    } else if (ring == kNoExtent) {
      ring = link.from;
      ring_sequence = link.sequence;
    } else if (ring == link.from) {
      if (ring_sequence != link.sequence) return Followed::kChanged;
      return ReportBroken(rest, before, "is on it already");
    }
  }
  return Followed::kYes;
}

// Walks until the list holds still for one walk.
Followed FollowList(Rest* rest) {
  Followed followed = Followed::kChanged;
  for (int i = 0; i < kMostWalks && followed == Followed::kChanged; i++) followed = WalkList(rest);
  if (followed == Followed::kChanged)
    ereport(DEBUG1, (errmsg_internal("free list of index \"%s\" changed all the time",
                                     RelationGetRelationName(rest->check->index))));
  return followed;
}

// Free extents that the last walk did not meet, with the sequences that they held.
void FindSuspects(Rest* rest) {
  IndexCheck* check = rest->check;
  rest->suspect_count = 0;
  for (uint32 extent = 0; extent < check->extent_count && rest->suspect_count < kMostSuspects; extent++) {
    CHECK_FOR_INTERRUPTS();
    if (!HasBit(rest->free, extent) || HasBit(rest->on_list, extent)) continue;
    if (!CopyDirectory(check, extent, rest->page.data)) continue;
    const DirectoryHeader* header = DirectoryOf(rest->page.data);
    if (header->state == kExtentFree) rest->suspects[rest->suspect_count++] = {extent, header->sequence};
    MemoryContextReset(check->context);
  }
}

// An extent that is free with the same sequence before and after a walk was on the list all that time, or
// never is.
void CheckFreeList(Rest* rest) {
  IndexCheck* check = rest->check;
  if (FollowList(rest) != Followed::kYes) return;
  VECCKPT_FAULT_POINT_RAISE(CheckStep, "free list walked");
  FindSuspects(rest);
  VECCKPT_FAULT_POINT_RAISE(CheckStep, "suspects");
  if (rest->suspect_count == 0 || FollowList(rest) != Followed::kYes) return;
  for (uint32 i = 0; i < rest->suspect_count; i++) {
    const Suspect& suspect = rest->suspects[i];
    if (HasBit(rest->on_list, suspect.extent) || !CopyDirectory(check, suspect.extent, rest->page.data))
      continue;
    const DirectoryHeader* header = DirectoryOf(rest->page.data);
    if (header->state != kExtentFree || header->sequence != suspect.sequence) continue;
    Report(check, Severity::kWarning, ExtentPlace(check, suspect.extent),
           "is free, but not on the free list: its space is lost");
    MemoryContextReset(check->context);
  }
}

// ---- outside of extents

// Whether a block belongs to no extent and is no map page as of `meta`.
bool IsOutside(const MetaPage* meta, BlockNumber block) {
  for (uint32 ring = 0; ring < kMaxMapPages; ring++)
    if (meta->map_blocks[ring] == block) return false;
  uint32 extent = (block - kFirstExtentBlock) / meta->pages_per_extent;
  if (extent >= meta->extent_count) return true;
  if (extent == meta->map_extent) return true;
  for (uint32 ring = 0; ring < kMaxMapPages; ring++)
    if (meta->map_blocks[ring] >= kFirstExtentBlock &&
        (meta->map_blocks[ring] - kFirstExtentBlock) / meta->pages_per_extent == extent)
      return true;
  return false;
}

// Blocks that no extent and no map page uses yet must be empty, because who takes them believes it.
void CheckOutside(Rest* rest, BlockNumber begin, BlockNumber end) {
  IndexCheck* check = rest->check;
  for (BlockNumber block = begin; block < end; block++) {
    CHECK_FOR_INTERRUPTS();
    if (!IsOutside(&check->meta, block)) continue;
    if (!CopyPage(check, block, rest->page.data) || PageIsNew(rest->page.data)) continue;
    MetaPage now;
    if (CopyMetaNow(check, &now) && IsOutside(&now, block))
      Report(check, Severity::kError, MakePlace("block %u", block), "is not in use, but not empty");
    MemoryContextReset(check->context);
  }
}

}  // namespace

void CheckOtherExtents(IndexCheck* check) {
  Rest* rest = NewRest(check);
  MemoryContext caller = MemoryContextSwitchTo(check->context);
  CheckExtents(rest);
  CheckFreeList(rest);
  uint32 pages = check->meta.pages_per_extent;
  for (uint32 extent = 0; extent < check->extent_count; extent++)
    if (HasBit(check->map_extents, extent))
      CheckOutside(rest, DirectoryBlock(extent, pages),
                   Min(DirectoryBlock(extent + 1, pages), RelationGetNumberOfBlocks(check->index)));
  CheckOutside(rest, DirectoryBlock(check->extent_count, pages), RelationGetNumberOfBlocks(check->index));
  MemoryContextSwitchTo(caller);
}

}  // namespace vecckpt
