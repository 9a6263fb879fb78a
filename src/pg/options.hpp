// Settings (GUCs) and index options (reloptions).

#pragma once

#include "pg/pg.hpp"

#include "index/merged_search.hpp"

namespace vecckpt {

// What a scan does where its search ends before it has been through everything.
enum class OnScanLimit { kExact, kStop };

// Settings of a search; pgvector's names with vhnsw for hnsw.
extern int ef_search;               // vhnsw.ef_search
extern int iterative_scan;          // vhnsw.iterative_scan, an IterativeScan
extern int max_scan_tuples;         // vhnsw.max_scan_tuples
extern double scan_mem_multiplier;  // vhnsw.scan_mem_multiplier, times work_mem
extern int on_scan_limit;           // vhnsw.on_scan_limit, an OnScanLimit

// Settings of builders and checkpoints.
extern int checkpoint_timeout;  // vecckpt.checkpoint_timeout, seconds
extern int build_memory;        // vecckpt.build_memory, kB
extern int build_threads;       // vecckpt.build_threads, 0: one for each core
extern int max_indexes;         // vecckpt.max_indexes
extern bool builder_enabled;    // vecckpt.builder, for developers

struct IndexOptions {
  int32 vl_len_;  // varlena header, do not touch directly
  int m;
  int ef_construction;
  int dims;          // 0: the first vector decides
  int quantization;  // a CodeKind
};

constexpr int kDefaultM = 16;
constexpr int kMinM = 2;
constexpr int kMaxM = 100;
constexpr int kDefaultEfConstruction = 64;
constexpr int kMinEfConstruction = 4;
constexpr int kMaxEfConstruction = 1000;
constexpr CodeKind kDefaultQuantization = CodeKind::kSq8;  // L1 and up to 8 dimensions have none

// Called once from _PG_init. `preloaded`: the library is in shared_preload_libraries.
void DefineOptions(bool preloaded);

// The options of an index, defaults where none are set.
IndexOptions OptionsOf(Relation index);

// vecckpt.build_threads with 0 replaced by the number of cores.
uint32 BuildThreads();

// Called by a worker once it is connected: timeouts and transaction modes that are set for sessions of the
// server or the database are not its own, as they are not autovacuum's.
void IgnoreSessionSettings();

extern "C" bytea* vhnswoptions(Datum reloptions, bool validate);

}  // namespace vecckpt
