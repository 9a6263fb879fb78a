// See vector_site.hpp. Names and expressions are looked up when there is an error to report, never before.

#include "pg/vector_site.hpp"

extern "C" {
#include "utils/fmgrprotos.h"
}

namespace vecckpt {
namespace {

const char* TableOf(const VectorSite& site) {
  Oid table = site.index->rd_index->indrelid;
  return quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)), get_rel_name(table));
}

// What the index is on, as SQL.
const char* ExpressionOf(const VectorSite& site) {
  Datum definition = DirectFunctionCall3(pg_get_indexdef_ext, ObjectIdGetDatum(RelationGetRelid(site.index)),
                                         Int32GetDatum(1), BoolGetDatum(true));
  return TextDatumGetCString(definition);
}

// `format` with the expression in place of its %s.
const char* WithExpression(const VectorSite& site, const char* format) {
  const char* place = strstr(format, "%s");
  return psprintf("%.*s%s%s", static_cast<int>(place - format), format, ExpressionOf(site), place + 2);
}

}  // namespace

int DetailOf(const VectorSite& site) {
  if (site.index == nullptr || site.tid == nullptr) return 0;
  const char* index = RelationGetRelationName(site.index);
  if (!site.building) return errdetail("The vector is for index \"%s\".", index);
  return errdetail("It is in row (%u,%u) of table %s, for index \"%s\".", ItemPointerGetBlockNumber(site.tid),
                   ItemPointerGetOffsetNumber(site.tid), TableOf(site), index);
}

int HintOf(const VectorSite& site, const char* condition) {
  if (!site.building) return 0;
  return errhint("This finds all such rows: SELECT ctid FROM %s WHERE %s", TableOf(site),
                 WithExpression(site, condition));
}

void RaiseWrongDims(const VectorSite& site, uint32 expected, uint32 actual) {
  const char* index = RelationGetRelationName(site.index);
  if (site.building)
    ereport(ERROR,
            (errcode(ERRCODE_DATA_EXCEPTION), errmsg("expected %u dimensions, not %u", expected, actual),
             DetailOf(site),
             errhint("This counts the rows of each number of dimensions: SELECT %s, count(*), min(ctid) "
                     "FROM %s GROUP BY 1",
                     WithExpression(site, site.count_dims), TableOf(site))));
  ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("expected %u dimensions, not %u", expected, actual),
                  errdetail("Index \"%s\" holds vectors of %u dimensions.", index, expected),
                  site.tid == nullptr
                      ? 0
                      : errhint("Its option dims or its first vector decided that, until the next REINDEX, "
                                "even if the row has been deleted.")));
  pg_unreachable();
}

}  // namespace vecckpt
