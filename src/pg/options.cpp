// See options.hpp.

#include "pg/options.hpp"

#include <unistd.h>

#include <climits>

namespace vecckpt {

int ef_search = 40;
int iterative_scan = static_cast<int>(IterativeScan::kStrictOrder);
int max_scan_tuples = 20000;
double scan_mem_multiplier = 1;
int on_scan_limit = static_cast<int>(OnScanLimit::kExact);
int checkpoint_timeout = 300;
int build_memory = 1024 * 1024;
int build_threads = 0;
int max_indexes = 1000;
bool builder_enabled = true;

namespace {

relopt_kind option_kind;

relopt_enum_elt_def kQuantizationOptions[] = {{"sq8", static_cast<int>(CodeKind::kSq8)},
                                              {"sq4", static_cast<int>(CodeKind::kSq4)},
                                              {"none", static_cast<int>(CodeKind::kNone)},
                                              {nullptr, 0}};

const config_enum_entry kIterativeScanOptions[] = {
    {"off", static_cast<int>(IterativeScan::kOff), false},
    {"relaxed_order", static_cast<int>(IterativeScan::kRelaxedOrder), false},
    {"strict_order", static_cast<int>(IterativeScan::kStrictOrder), false},
    {nullptr, 0, false}};

const config_enum_entry kOnScanLimitOptions[] = {{"exact", static_cast<int>(OnScanLimit::kExact), false},
                                                 {"stop", static_cast<int>(OnScanLimit::kStop), false},
                                                 {nullptr, 0, false}};

void DefineSearchSettings() {
  DefineCustomIntVariable("vhnsw.ef_search", "Number of nearest nodes a search keeps.",
                          "More is slower and finds more of the true neighbours.", &ef_search, 40, 1, 10000,
                          PGC_USERSET, 0, nullptr, nullptr, nullptr);
  DefineCustomEnumVariable("vhnsw.iterative_scan", "How a scan goes on when its first batch is used up.",
                           nullptr, &iterative_scan, static_cast<int>(IterativeScan::kStrictOrder),
                           kIterativeScanOptions, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("vhnsw.max_scan_tuples",
                          "Number of entries that the search of a scan visits beyond its first batch.",
                          "What happens then is up to vhnsw.on_scan_limit.", &max_scan_tuples, 20000, 1,
                          INT_MAX, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  DefineCustomRealVariable("vhnsw.scan_mem_multiplier",
                           "Memory that the search of a scan may use, as a multiple of work_mem.",
                           "What happens then is up to vhnsw.on_scan_limit.", &scan_mem_multiplier, 1, 1,
                           1000, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  DefineCustomEnumVariable("vhnsw.on_scan_limit",
                           "What a scan does when it has visited vhnsw.max_scan_tuples or used its memory.",
                           "\"exact\" compares all other rows with the query and returns them in order; "
                           "\"stop\" ends the scan, as pgvector does.",
                           &on_scan_limit, static_cast<int>(OnScanLimit::kExact), kOnScanLimitOptions,
                           PGC_USERSET, 0, nullptr, nullptr, nullptr);
}

void DefineBuilderSettings(bool preloaded) {
  DefineCustomIntVariable("vecckpt.checkpoint_timeout", "Time between checkpoints of changed indexes.",
                          nullptr, &checkpoint_timeout, 300, 1, 86400, PGC_SIGHUP, GUC_UNIT_S, nullptr,
                          nullptr, nullptr);
  DefineCustomIntVariable("vecckpt.build_memory", "Memory a builder may use to build one graph.", nullptr,
                          &build_memory, 1024 * 1024, 16 * 1024, MAX_KILOBYTES, PGC_SIGHUP, GUC_UNIT_KB,
                          nullptr, nullptr, nullptr);
  DefineCustomIntVariable("vecckpt.build_threads", "Threads that build one graph.",
                          "0 means one for each core.", &build_threads, 0, 0, 256, PGC_USERSET, 0, nullptr,
                          nullptr, nullptr);
  DefineCustomBoolVariable("vecckpt.builder", "Lets builders seal, merge and build segments.",
                           "For developers: off leaves every new entry in the tail.", &builder_enabled, true,
                           PGC_SIGHUP, GUC_NOT_IN_SAMPLE, nullptr, nullptr, nullptr);
  // A postmaster setting cannot be defined later.
  if (preloaded)
    DefineCustomIntVariable("vecckpt.max_indexes", "Number of vhnsw indexes that can have segments.", nullptr,
                            &max_indexes, 1000, 1, 1000000, PGC_POSTMASTER, 0, nullptr, nullptr, nullptr);
}

}  // namespace

void DefineOptions(bool preloaded) {
  option_kind = add_reloption_kind();
  add_int_reloption(option_kind, "m", "Number of links of a graph node above level 0", kDefaultM, kMinM,
                    kMaxM, AccessExclusiveLock);
  add_int_reloption(option_kind, "ef_construction", "Number of nearest nodes kept while a node is inserted",
                    kDefaultEfConstruction, kMinEfConstruction, kMaxEfConstruction, AccessExclusiveLock);
  add_int_reloption(option_kind, "dims", "Number of dimensions; 0 lets the first vector decide", 0, 0,
                    static_cast<int>(kMaxDims), AccessExclusiveLock);
  add_enum_reloption(option_kind, "quantization", "How segments keep vectors for search",
                     kQuantizationOptions, static_cast<int>(kDefaultQuantization),
                     "Valid values are \"sq8\", \"sq4\" and \"none\".", AccessExclusiveLock);
  DefineSearchSettings();
  DefineBuilderSettings(preloaded);
  MarkGUCPrefixReserved("vhnsw");
  if (preloaded) MarkGUCPrefixReserved("vecckpt");
}

IndexOptions OptionsOf(Relation index) {
  if (index->rd_options != nullptr) return *reinterpret_cast<IndexOptions*>(index->rd_options);
  return {0, kDefaultM, kDefaultEfConstruction, 0, static_cast<int>(kDefaultQuantization)};
}

uint32 BuildThreads() {
  if (build_threads > 0) return static_cast<uint32>(build_threads);
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  return cores < 1 ? 1 : static_cast<uint32>(cores);
}

void IgnoreSessionSettings() {
  const char* const timeouts[] = {"statement_timeout", "lock_timeout", "transaction_timeout",
                                  "idle_in_transaction_session_timeout", "idle_session_timeout"};
  for (const char* name : timeouts)
    if (GetConfigOption(name, true, false) != nullptr)  // transaction_timeout is of 17 and later
      SetConfigOption(name, "0", PGC_SUSET, PGC_S_OVERRIDE);
  SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
}

bytea* vhnswoptions(Datum reloptions, bool validate) {
  // Later versions have a member more.
  auto element = [](const char* name, relopt_type type, size_t offset) {
    relopt_parse_elt result = {};
    result.optname = name;
    result.opttype = type;
    result.offset = static_cast<int>(offset);
    return result;
  };
  static const relopt_parse_elt kOptions[] = {
      element("m", RELOPT_TYPE_INT, offsetof(IndexOptions, m)),
      element("ef_construction", RELOPT_TYPE_INT, offsetof(IndexOptions, ef_construction)),
      element("dims", RELOPT_TYPE_INT, offsetof(IndexOptions, dims)),
      element("quantization", RELOPT_TYPE_ENUM, offsetof(IndexOptions, quantization))};
  return static_cast<bytea*>(build_reloptions(reloptions, validate, option_kind, sizeof(IndexOptions),
                                              kOptions, lengthof(kOptions)));
}

}  // namespace vecckpt
