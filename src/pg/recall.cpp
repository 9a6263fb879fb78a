// See recall.hpp.

#include "pg/recall.hpp"

#include "pg/access_method.hpp"
#include "pg/entry_reader.hpp"

extern "C" {
#include "common/pg_prng.h"
#include "portability/instr_time.h"
}

#include <algorithm>
#include <cmath>
#include <limits>

#include "hnsw/exact.hpp"

namespace vecckpt {
namespace {

double Since(const instr_time& start) {
  instr_time now;
  INSTR_TIME_SET_CURRENT(now);
  INSTR_TIME_SUBTRACT(now, start);
  return INSTR_TIME_GET_MILLISEC(now);
}

uint64 FirstPosition(const RecallTest* test) {
  return test->reader.meta->first_sequence * test->reader.meta->slots_per_extent;
}

// Copies a query's vector; false if its extent is gone.
bool ReadQuery(LogReader* reader, const SampledQuery& query, float* vector) {
  char* bytes = static_cast<char*>(palloc(reader->meta->vector_bytes));
  bool there = ReadVectors(reader, query.extent, query.sequence, query.slot, query.slot + 1, bytes);
  if (there) ToFloats(VectorIn(*reader->meta, bytes), vector);
  pfree(bytes);
  return there;
}

// The nearest entries to some of the queries, seen so far.
struct Block {
  uint32 begin;  // of test->queries
  uint32 count;
  float* vectors;    // count x dims
  double* nearest;   // count x k: distances, a heap each with the largest on top
  uint32* held;      // of each heap
  double* distance;  // of one run to one query
};

// Takes the distances of one run's entries to a query into its heap.
void KeepNearest(Block* block, uint32 n, uint32 k, uint32 count) {
  double* heap = block->nearest + uint64{n} * k;
  uint32 held = block->held[n];
  for (uint32 i = 0; i < count; i++) {
    double distance = block->distance[i];
    if (held < k) {
      heap[held++] = distance;
      std::push_heap(heap, heap + held);
    } else if (distance < heap[0]) {
      std::pop_heap(heap, heap + held);
      heap[held - 1] = distance;
      std::push_heap(heap, heap + held);
    }
  }
  block->held[n] = held;
}

void CompareRun(const RecallTest* test, Block* block, const EntryRun* run) {
  const MetaPage* meta = test->reader.meta;
  const float* vectors = FloatsOf(test->reader, *run);
  for (uint32 n = 0; n < block->count; n++) {
    CHECK_FOR_INTERRUPTS();
    const SampledQuery& query = test->queries[block->begin + n];
    uint64 own = uint64{query.extent} * meta->slots_per_extent + query.slot;
    bool own_extent = query.sequence == run->extent.sequence;
    const float* vector = block->vectors + uint64{n} * meta->dims;
    uint32 count = 0;
    for (uint32 i = 0; i < run->count; i++) {
      if (own_extent && run->ordinals[i] == own) continue;
      double distance =
          ExactDistance(test->support->metric, vector, vectors + uint64{i} * meta->dims, meta->dims);
      block->distance[count++] = std::isnan(distance) ? std::numeric_limits<double>::infinity() : distance;
    }
    KeepNearest(block, n, test->k, count);
  }
}

// Finds the true answers of the block's queries.
void CompareBlock(RecallTest* test, Block* block, EntryRun* run) {
  const MetaPage* meta = test->reader.meta;
  memset(block->held, 0, block->count * sizeof(uint32));
  for (uint32 n = 0; n < block->count; n++) {
    SampledQuery* query = &test->queries[block->begin + n];
    // Of a query that is gone all that counts is `wanted`.
    query->wanted = ReadQuery(&test->reader, *query, block->vectors + uint64{n} * meta->dims) ? test->k : 0;
  }
  for (uint64 position = FirstPosition(test); position < test->end;) {
    position = ReadRun(&test->reader, position, test->end, run);
    if (run->count > 0) CompareRun(test, block, run);
  }
  for (uint32 n = 0; n < block->count; n++) {
    SampledQuery* query = &test->queries[block->begin + n];
    query->wanted = Min(query->wanted, block->held[n]);
    if (query->wanted > 0)
      query->kth = SqlDistance(test->support->metric, block->nearest[uint64{n} * test->k]);
  }
}

void* AllocateLarge(uint64 bytes) {
  return palloc_extended(Max(bytes, uint64{1}), MCXT_ALLOC_HUGE);
}

// The rows of the index for a query that are as near as those of the true answer, as a share of these.
double RecallOf(IndexScanDesc scan, const SampledQuery& query, StoredVector* vector) {
  ScanKeyData key = {};
  key.sk_flags = SK_ORDER_BY | kVectorArgument;
  key.sk_attno = 1;
  key.sk_strategy = 1;
  key.sk_argument = PointerGetDatum(vector);
  vhnswrescan(scan, nullptr, 0, &key, 1);
  uint32 returned = 0;
  uint32 found = 0;
  while (returned < query.wanted && vhnswgettuple(scan, ForwardScanDirection)) {
    ItemPointerData own = query.tid;
    if (ItemPointerEquals(&scan->xs_heaptid, &own)) continue;
    returned++;
    if (DatumGetFloat8(scan->xs_orderbyvals[0]) <= query.kth) found++;
  }
  return static_cast<double>(found) / query.wanted;
}

void SetEfSearch(int ef_search) {
  set_config_option("vhnsw.ef_search", psprintf("%d", ef_search), PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
                    true, 0, false);
}

bool IsBefore(const SampledQuery& a, const SampledQuery& b) {
  return a.sequence != b.sequence ? a.sequence < b.sequence : a.slot < b.slot;
}

}  // namespace

void DrawQueries(RecallTest* test, Relation index, uint32 k, uint32 samples, uint64 seed) {
  memset(test, 0, sizeof(*test));
  test->index = index;
  test->support = SupportOf(index);
  test->k = k;
  if (!OpenLog(&test->reader, index, GetAccessStrategy(BAS_BULKREAD))) return;
  const MetaPage* meta = test->reader.meta;
  if (meta->next_sequence == 0) return;
  test->end = LogEnd(&test->reader);
  test->queries = static_cast<SampledQuery*>(AllocateLarge(samples * sizeof(SampledQuery)));
  pg_prng_state random;
  pg_prng_seed(&random, seed);
  auto* copy = static_cast<ExtentCopy*>(palloc(sizeof(ExtentCopy)));
  for (uint64 sequence = meta->first_sequence; sequence < meta->next_sequence; sequence++) {
    CHECK_FOR_INTERRUPTS();
    if (!ReadDirectory(&test->reader, sequence, copy)) continue;
    uint64 first = sequence * meta->slots_per_extent;
    for (uint32 slot = 0; slot < copy->header.used && first + slot < test->end; slot++) {
      if (copy->slots[slot].flags & kSlotDead) continue;
      // Reservoir sampling: the n-th entry takes a place with probability samples / n.
      uint64 n = ++test->entries;
      uint64 place = n <= samples ? n - 1 : pg_prng_uint64_range(&random, 0, n - 1);
      if (place < samples)
        test->queries[place] = {sequence, copy->header.extent, slot, copy->slots[slot].tid, 0, 0};
    }
  }
  pfree(copy);
  test->count = static_cast<uint32>(Min(test->entries, uint64{samples}));
  std::sort(test->queries, test->queries + test->count, IsBefore);
}

void FindTrueAnswers(RecallTest* test) {
  if (test->count == 0) return;
  const MetaPage* meta = test->reader.meta;
  uint64 bytes = uint64{meta->dims} * sizeof(float) + test->k * sizeof(double) + sizeof(uint32);
  uint64 fitting = uint64{static_cast<uint32>(maintenance_work_mem)} * 1024 / bytes;
  uint32 at_once = static_cast<uint32>(Min(Max(fitting, uint64{1}), uint64{test->count}));
  Block block = {};
  block.vectors = static_cast<float*>(AllocateLarge(uint64{at_once} * meta->dims * sizeof(float)));
  block.nearest = static_cast<double*>(AllocateLarge(uint64{at_once} * test->k * sizeof(double)));
  block.held = static_cast<uint32*>(AllocateLarge(at_once * sizeof(uint32)));
  block.distance = static_cast<double*>(palloc(meta->slots_per_extent * sizeof(double)));
  EntryRun* run = NewEntryRun(test->reader);
  instr_time start;
  INSTR_TIME_SET_CURRENT(start);
  for (block.begin = 0; block.begin < test->count; block.begin += block.count) {
    block.count = Min(at_once, test->count - block.begin);
    CompareBlock(test, &block, run);
  }
  test->exact_ms = Since(start) / test->count;
  pfree(block.vectors);
  pfree(block.nearest);
  pfree(block.held);
}

uint32 MeasureRecalls(const RecallTest* test, int ef_search, double* recalls, double* search_ms) {
  uint32 measured = 0;
  double spent = 0;
  *search_ms = 0;
  if (test->count == 0) return 0;
  int nesting = NewGUCNestLevel();
  if (ef_search > 0) SetEfSearch(ef_search);
  LogReader reader = test->reader;
  auto* vector = static_cast<float*>(palloc(reader.meta->dims * sizeof(float)));
  StoredVector query = {ElementType::kFloat32, reader.meta->dims, vector};
  IndexScanDesc scan = vhnswbeginscan(test->index, 0, 1);
  scan->xs_snapshot = GetActiveSnapshot();
  for (uint32 i = 0; i < test->count; i++) {
    CHECK_FOR_INTERRUPTS();
    const SampledQuery& sampled = test->queries[i];
    if (sampled.wanted == 0 || !ReadQuery(&reader, sampled, vector)) continue;
    instr_time start;
    INSTR_TIME_SET_CURRENT(start);
    recalls[measured++] = RecallOf(scan, sampled, &query);
    spent += Since(start);
  }
  vhnswendscan(scan);
  IndexScanEnd(scan);
  pfree(vector);
  AtEOXact_GUC(false, nesting);
  if (measured > 0) *search_ms = spent / measured;
  return measured;
}

}  // namespace vecckpt
