// Writing the log: appending entries, taking and freeing extents, and the meta page of a new index.
//
// Lock order: meta -> map -> directory (ascending sequence) -> vector pages (ascending). Buffers enter a WAL
// record in that order; the extension lock is taken inside. See src/README for the records.

#pragma once

#include "pg/log_format.hpp"
#include "pg/vector_site.hpp"

namespace vecckpt {

// What a new index starts with.
struct LogOptions {
  uint32 dims;  // 0: the first vector decides
  uint32 m;
  uint32 ef_construction;
  Metric metric;
  ElementType element_type;
  CodeKind code_kind;  // wanted; see Codec::KindFor
};

LogOptions LogOptionsOf(Relation index);

// Fills a page as the meta page of an empty log. Identity 0 for an init fork.
void InitMetaPage(Page page, const LogOptions& options, uint64 identity);

uint64 DrawIdentity();

// Appends one entry. Returns its position. Raises an error, which tells of `site`, if the dims differ from
// the index's.
uint64 AppendEntry(Relation index, const ItemPointerData& tid, const StoredVector& vector,
                   const VectorSite& site);

// Flags the given slots of a sequence dead, in one WAL record. `count` slot numbers. Returns how many were
// alive, or -1 if the extent holds another sequence by now.
int FlagDead(Relation index, uint32 pages_per_extent, uint32 extent, uint64 sequence, const uint32* slots,
             uint32 count);

// Frees a wholly dead, full extent that is not the tail. False if it no longer is that.
bool FreeExtent(Relation index, uint64 sequence);

// Moves the log's first sequence past those that have been freed.
void AdvanceFirstSequence(Relation index);

// Writes many entries to a log nobody else sees, without WAL; BulkFinish logs all pages at once.
struct BulkWriter {
  Relation index;
  MetaPage* meta;
  char* extent;  // pages_per_extent pages; null until dims are known
  uint32 used;   // slots used in it
  uint32 extent_number;
  uint64 running_hash;
  uint32* map;  // extent of every sequence
  uint64 map_size;
};

void BulkBegin(BulkWriter* writer, Relation index);
void BulkAdd(BulkWriter* writer, const ItemPointerData& tid, const StoredVector& vector,
             const VectorSite& site);
// Returns the number of entries written.
uint64 BulkFinish(BulkWriter* writer);

}  // namespace vecckpt
