// See sql_check.hpp: findings, and copies of pages.

#include "pg/sql_check.hpp"

#include "pg/subtransaction.hpp"

namespace vecckpt {
namespace {

// More findings than these are only counted.
constexpr uint64 kMostFindings = 1000;

const char* NameOf(Severity severity) {
  return severity == Severity::kError ? "error" : "warning";
}

void PutRow(IndexCheck* check, const char* severity, const char* place, const char* message) {
  Datum values[] = {CStringGetTextDatum(severity), CStringGetTextDatum(place), CStringGetTextDatum(message)};
  bool nulls[lengthof(values)] = {};
  tuplestore_putvalues(check->result->setResult, check->result->setDesc, values, nulls);
  for (Datum value : values) pfree(DatumGetPointer(value));
}

void CopyPagesOrRaise(IndexCheck* check, BlockNumber first, uint32 count, char* images) {
  for (uint32 i = 0; i < count; i++) {
    Buffer buffer = ReadBufferExtended(check->index, MAIN_FORKNUM, first + i, RBM_NORMAL, check->strategy);
    LockBuffer(buffer, BUFFER_LOCK_SHARE);
    memcpy(images + uint64{i} * BLCKSZ, BufferGetPage(buffer), BLCKSZ);
    UnlockReleaseBuffer(buffer);
  }
}

// What the server says of a page or block that it cannot make sense of.
bool IsDamage(int sqlstate) {
  return sqlstate == ERRCODE_DATA_CORRUPTED || sqlstate == ERRCODE_INDEX_CORRUPTED ||
         sqlstate == ERRCODE_IO_ERROR;
}

// Null, or the server's message.
char* TryCopyPages(IndexCheck* check, BlockNumber first, uint32 count, char* images) {
  return TryInSubtransaction(IsDamage, [=] { CopyPagesOrRaise(check, first, count, images); });
}

}  // namespace

EntryKey EntryKeyOf(const ItemPointerData& tid, uint32 hash) {
  return {ItemPointerGetBlockNumberNoCheck(&tid), ItemPointerGetOffsetNumberNoCheck(&tid), hash};
}

Place MakePlace(const char* format, ...) {
  Place place;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(place.text, sizeof(place.text), format, arguments);
  va_end(arguments);
  return place;
}

Place BlockPlace(BlockNumber block, const char* what) {
  return MakePlace("block %u (%s)", block, what);
}

Place ExtentPlace(const IndexCheck* check, uint32 extent) {
  return MakePlace("block %u (directory page of extent %u)",
                   DirectoryBlock(extent, check->meta.pages_per_extent), extent);
}

void Report(IndexCheck* check, Severity severity, const Place& place, const char* format, ...) {
  check->findings++;
  if (severity == Severity::kError) check->errors++;
  if (check->findings > kMostFindings) {
    check->left_out++;
    check->left_out_errors = check->left_out_errors || severity == Severity::kError;
    return;
  }
  char message[600];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof(message), format, arguments);
  va_end(arguments);
  PutRow(check, NameOf(severity), place.text, message);
}

void ReportLeftOut(IndexCheck* check) {
  if (check->left_out == 0) return;
  char message[64];
  snprintf(message, sizeof(message), UINT64_FORMAT " more findings", check->left_out);
  PutRow(check, NameOf(check->left_out_errors ? Severity::kError : Severity::kWarning), "index", message);
}

void CopyPages(IndexCheck* check, BlockNumber first, uint32 count, char* images, bool* readable) {
  CHECK_FOR_INTERRUPTS();
  if (TryCopyPages(check, first, count, images) == nullptr) {
    memset(readable, true, count);
    return;
  }
  for (uint32 i = 0; i < count; i++) {
    CHECK_FOR_INTERRUPTS();
    char* message = TryCopyPages(check, first + i, 1, images + uint64{i} * BLCKSZ);
    readable[i] = message == nullptr;
    if (message != nullptr)
      Report(check, Severity::kError, MakePlace("block %u", first + i), "cannot be read: %s", message);
  }
}

bool CopyPage(IndexCheck* check, BlockNumber block, char* image) {
  bool readable;
  CopyPages(check, block, 1, image, &readable);
  return readable;
}

bool CopyMetaNow(IndexCheck* check, MetaPage* meta) {
  PGAlignedBlock page;
  if (!CopyPage(check, kMetaBlock, page.data) || !IsLogPage(page.data, kMetaPageKind)) return false;
  memcpy(meta, MetaOf(page.data), sizeof(MetaPage));
  return meta->magic == kLogMagic && meta->identity == check->meta.identity &&
         meta->pages_per_extent == check->meta.pages_per_extent;
}

Mapped MapEntryNow(IndexCheck* check, uint64 sequence, uint32* extent) {
  PGAlignedBlock page;
  MetaPage meta;
  if (!CopyMetaNow(check, &meta)) return Mapped::kDamaged;
  if (sequence >= meta.next_sequence) return Mapped::kNotGiven;
  if (sequence < meta.first_sequence) return Mapped::kFreed;
  BlockNumber block = meta.map_blocks[MapRingIndex(sequence)];
  if (block == 0 || block >= RelationGetNumberOfBlocks(check->index) || !CopyPage(check, block, page.data) ||
      !IsLogPage(page.data, kMapPageKind))
    return Mapped::kDamaged;
  *extent = MapOf(page.data)[sequence % kMapEntries];
  if (*extent == kFreedSequence) return Mapped::kFreed;
  // A map page whose sequences are all gone serves again for others.
  if (!CopyMetaNow(check, &meta)) return Mapped::kDamaged;
  return sequence < meta.first_sequence ? Mapped::kFreed : Mapped::kExtent;
}

bool CopyDirectory(IndexCheck* check, uint32 extent, char* image) {
  BlockNumber block = DirectoryBlock(extent, check->meta.pages_per_extent);
  Place place = ExtentPlace(check, extent);
  if (!CopyPage(check, block, image)) return false;
  if (!IsLogPage(image, kDirectoryPageKind)) {
    Report(check, Severity::kError, place, PageIsNew(image) ? "is empty" : "is not a directory page");
    return false;
  }
  const DirectoryHeader* header = DirectoryOf(image);
  if (header->extent != extent) {
    Report(check, Severity::kError, place, "says that it is extent %u", header->extent);
    return false;
  }
  if (header->used > check->meta.slots_per_extent) {
    Report(check, Severity::kError, place, "has %u slots used, of %u", header->used,
           check->meta.slots_per_extent);
    return false;
  }
  if (header->state != kExtentLive && header->state != kExtentFree) {
    Report(check, Severity::kError, place, "has the unknown state %u", header->state);
    return false;
  }
  return true;
}

}  // namespace vecckpt
