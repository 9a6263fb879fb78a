// Rows in the order of their distances, more than fit into memory: a tuplesort, which spills to a temporary
// file beyond work_mem.
//
// Lives in the memory context it was made in. EndSortedRows comes before that context goes, but for an abort
// of the transaction, which closes the file by itself.

#pragma once

#include "pg/pg.hpp"

#include "index/candidate_heap.hpp"

namespace vecckpt {

struct SortedRow {
  bool late;  // comes behind all that are not
  RowKey key;
  uint64 locator;
};

struct SortedRows;

SortedRows* NewSortedRows();
void PutRow(SortedRows* rows, const SortedRow& row);
// REQUIRES: no PutRow after it.
void SortRows(SortedRows* rows);
// The next row, which stays the next until TakeRow; null behind the last. REQUIRES: SortRows came before.
const SortedRow* NextRow(SortedRows* rows);
void TakeRow(SortedRows* rows);
void EndSortedRows(SortedRows* rows);

}  // namespace vecckpt
