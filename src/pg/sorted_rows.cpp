// See sorted_rows.hpp.

#include "pg/sorted_rows.hpp"

extern "C" {
#include "access/tupdesc.h"
#include "executor/tuptable.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"
}

namespace vecckpt {

struct SortedRows {
  Tuplesortstate* sort;
  TupleTableSlot* in;
  TupleTableSlot* out;
  SortedRow next;
  bool has_next;
};

namespace {

// A row as a tuple. All but the locator are keys of the sort, in this order.
enum Column { kLate, kDistance, kSequence, kOrdinal, kLocator, kColumns };
constexpr int kKeys = kLocator;
constexpr Oid kTypes[kColumns] = {BOOLOID, FLOAT8OID, INT8OID, INT8OID, INT8OID};

TupleDesc DescribeRow() {
  TupleDesc desc = CreateTemplateTupleDesc(kColumns);
  for (int i = 0; i < kColumns; i++)
    TupleDescInitEntry(desc, static_cast<AttrNumber>(i + 1), nullptr, kTypes[i], -1, 0);
  return desc;
}

// Reads the next tuple, if there is one.
void Fetch(SortedRows* rows) {
  rows->has_next = tuplesort_gettupleslot(rows->sort, true, false, rows->out, nullptr);
  if (!rows->has_next) return;
  slot_getallattrs(rows->out);
  const Datum* values = rows->out->tts_values;
  rows->next.late = DatumGetBool(values[kLate]);
  rows->next.key = {DatumGetFloat8(values[kDistance]), static_cast<uint64>(DatumGetInt64(values[kSequence])),
                    static_cast<uint64>(DatumGetInt64(values[kOrdinal]))};
  rows->next.locator = static_cast<uint64>(DatumGetInt64(values[kLocator]));
}

}  // namespace

SortedRows* NewSortedRows() {
  SortedRows* rows = static_cast<SortedRows*>(palloc0(sizeof(SortedRows)));
  TupleDesc desc = DescribeRow();
  AttrNumber columns[kKeys];
  Oid operators[kKeys];
  Oid collations[kKeys] = {};
  bool nulls_first[kKeys] = {};
  for (int i = 0; i < kKeys; i++) {
    columns[i] = static_cast<AttrNumber>(i + 1);
    operators[i] = lookup_type_cache(kTypes[i], TYPECACHE_LT_OPR)->lt_opr;
  }
  rows->sort = tuplesort_begin_heap(desc, kKeys, columns, operators, collations, nulls_first, work_mem,
                                    nullptr, TUPLESORT_NONE);
  rows->in = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
  rows->out = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
  return rows;
}

void PutRow(SortedRows* rows, const SortedRow& row) {
  ExecClearTuple(rows->in);
  Datum* values = rows->in->tts_values;
  values[kLate] = BoolGetDatum(row.late);
  values[kDistance] = Float8GetDatum(row.key.distance);
  values[kSequence] = Int64GetDatum(static_cast<int64>(row.key.sequence));
  values[kOrdinal] = Int64GetDatum(static_cast<int64>(row.key.ordinal));
  values[kLocator] = Int64GetDatum(static_cast<int64>(row.locator));
  memset(rows->in->tts_isnull, 0, kColumns * sizeof(bool));
  ExecStoreVirtualTuple(rows->in);
  tuplesort_puttupleslot(rows->sort, rows->in);
}

void SortRows(SortedRows* rows) {
  tuplesort_performsort(rows->sort);
  Fetch(rows);
}

const SortedRow* NextRow(SortedRows* rows) {
  return rows->has_next ? &rows->next : nullptr;
}

void TakeRow(SortedRows* rows) {
  Fetch(rows);
}

void EndSortedRows(SortedRows* rows) {
  ExecDropSingleTupleTableSlot(rows->in);
  ExecDropSingleTupleTableSlot(rows->out);
  tuplesort_end(rows->sort);
  pfree(rows);
}

}  // namespace vecckpt
