// amcostestimate: what an index scan in distance order costs.
//
// A search visits about ef_search nodes of each graph level 0 neighbourhood, whatever the table's size, reads
// the exact vectors of a few, and scans the tail. The estimate counts distance computations as operator
// calls: ef nodes of 2m links each, of which about a third are new, and one random page a re-ranked entry.
//
// The total is that of a scan to the last row, of which the planner takes a share for a LIMIT: the search
// goes on for vhnsw.max_scan_tuples; for a table with more rows the whole log is read and its rows are sorted
// (scan_exact.hpp).
//
// Without an ORDER BY the index cannot be used at all, nor for the distances from two queries.

#include "pg/access_method.hpp"
#include "pg/log_read.hpp"
#include "pg/options.hpp"

extern "C" {
#include "optimizer/optimizer.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"
}

#include <cmath>
#include <limits>

namespace vecckpt {
namespace {
constexpr double kNewLinksShare = 1.0 / 3;  // of a visited node's links, seen for the first time
constexpr double kRerankedPerRow = 2;
constexpr double kPagesPerRerank = 2;   // directory and vector page, mostly cached
constexpr double kSortedRowBytes = 72;  // a tuple of SortedRows, with what the sort adds

// Reading the whole log and sorting its rows: N log2 N comparisons of two operators' cost each, as the
// planner reckons, and each row written and read once where they do not fit into memory.
double CostOfRest(const IndexPath* path, double tuples) {
  double seq_page_cost;
  get_tablespace_page_costs(path->indexinfo->reltablespace, nullptr, &seq_page_cost);
  double pages = path->indexinfo->pages;
  double bytes = tuples * kSortedRowBytes;
  if (bytes > work_mem * 1024.0) pages += 2 * bytes / BLCKSZ;
  return pages * seq_page_cost + tuples * (cpu_index_tuple_cost + cpu_operator_cost) +
         2 * cpu_operator_cost * tuples * std::log2(tuples + 1);
}

}  // namespace

void vhnswcostestimate(PlannerInfo* root, IndexPath* path, double loop_count, Cost* startup_cost,
                       Cost* total_cost, Selectivity* selectivity, double* correlation, double* pages) {
  *selectivity = 1;
  *correlation = 0;
  *pages = 0;
  if (list_length(path->indexorderbys) != 1) {
    // Some plan shapes look at the cost of a path that will not be used; infinity keeps it out of all.
    *startup_cost = *total_cost = std::numeric_limits<double>::infinity();
    DisablePath(&path->path);
    return;
  }
  GenericCosts costs = {};
  genericcostestimate(root, path, loop_count, &costs);

  Relation index = index_open(path->indexinfo->indexoid, NoLock);
  double m = OptionsOf(index).m;
  index_close(index, NoLock);
  double tuples = Max(path->indexinfo->tuples, 1.0);
  double seen = Min(tuples, ef_search * (1 + 2 * m * kNewLinksShare) + m * std::log2(tuples + 1));
  double distances = seen * cpu_operator_cost;
  double random_page_cost;
  get_tablespace_page_costs(path->indexinfo->reltablespace, &random_page_cost, nullptr);
  double first_reads = Min(10.0, tuples) * kRerankedPerRow * kPagesPerRerank * random_page_cost / 10;

  *startup_cost = distances + first_reads;
  // Of each row that the search returns: its share of the graph, and its pages.
  double found = Min(tuples, seen + max_scan_tuples);
  double run = found * (cpu_index_tuple_cost + cpu_operator_cost * kRerankedPerRow +
                        kRerankedPerRow * kPagesPerRerank * random_page_cost / 10);
  if (found < tuples && on_scan_limit == static_cast<int>(OnScanLimit::kExact))
    run += CostOfRest(path, tuples);
  *total_cost = *startup_cost + Max(run, costs.indexTotalCost);
  *selectivity = costs.indexSelectivity;
  *pages = costs.numIndexPages;
}

}  // namespace vecckpt
