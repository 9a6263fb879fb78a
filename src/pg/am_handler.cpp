// The handler function of access method vhnsw, and the check of its operator classes.

#include "pg/access_method.hpp"
#include "pg/options.hpp"
#include "pg/vector_input.hpp"

extern "C" {
#include "access/amvalidate.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_amproc.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_opfamily.h"
#include "commands/progress.h"
#include "commands/vacuum.h"
#include "utils/regproc.h"
}

namespace vecckpt {
namespace {

constexpr uint16 kStrategies = 1;
constexpr uint16 kSupportFunctions = 1;

bool CheckOperators(CatCList* operators, Oid opclass_type, const char* opclass) {
  bool good = operators->n_members == 1;
  if (!good)
    ereport(INFO,
            (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
             errmsg("operator class \"%s\" of access method %s must have one operator", opclass, "vhnsw")));
  for (int i = 0; i < operators->n_members; i++) {
    auto* form = reinterpret_cast<Form_pg_amop>(GETSTRUCT(&operators->members[i]->tuple));
    if (form->amopstrategy == 1 && form->amoppurpose == AMOP_ORDER &&
        opfamily_can_sort_type(form->amopsortfamily, get_op_rettype(form->amopopr)) &&
        check_amop_signature(form->amopopr, FLOAT8OID, opclass_type, opclass_type))
      continue;
    ereport(
        INFO,
        (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
         errmsg("operator class \"%s\" of access method %s contains operator %s with an invalid definition",
                opclass, "vhnsw", format_operator(form->amopopr))));
    good = false;
  }
  return good;
}

bool CheckFunctions(CatCList* functions, const char* opclass) {
  bool good = functions->n_members == 1;
  for (int i = 0; i < functions->n_members; i++) {
    auto* form = reinterpret_cast<Form_pg_amproc>(GETSTRUCT(&functions->members[i]->tuple));
    if (form->amprocnum != 1 || !check_amproc_signature(form->amproc, INTERNALOID, true, 1, 1, INTERNALOID))
      good = false;
  }
  if (!good)
    ereport(
        INFO,
        (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
         errmsg(
             "operator class \"%s\" of access method %s must have support function 1(internal) and no other",
             opclass, "vhnsw")));
  return good;
}

// What the support function reads must be what the operator class gives it. REQUIRES: CheckFunctions was
// content.
bool CheckType(CatCList* functions, Oid opclass_type, const char* opclass) {
  auto* form = reinterpret_cast<Form_pg_amproc>(GETSTRUCT(&functions->members[0]->tuple));
  auto* support = reinterpret_cast<const OpclassSupport*>(
      DatumGetPointer(OidFunctionCall1(form->amproc, PointerGetDatum(nullptr))));
  HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(opclass_type));
  if (!HeapTupleIsValid(tuple)) elog(ERROR, "cache lookup failed for type %u", opclass_type);
  bool good =
      strcmp(NameStr(reinterpret_cast<Form_pg_type>(GETSTRUCT(tuple))->typname), support->type_name) == 0;
  ReleaseSysCache(tuple);
  if (!good)
    ereport(INFO,
            (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
             errmsg("operator class \"%s\" of access method %s is for type %s, its support function is not",
                    opclass, "vhnsw", format_type_be(opclass_type))));
  return good;
}

}  // namespace

bool vhnswvalidate(Oid opclass_oid) {
  HeapTuple tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass_oid));
  if (!HeapTupleIsValid(tuple)) elog(ERROR, "cache lookup failed for operator class %u", opclass_oid);
  auto* form = reinterpret_cast<Form_pg_opclass>(GETSTRUCT(tuple));
  CatCList* operators = SearchSysCacheList1(AMOPSTRATEGY, ObjectIdGetDatum(form->opcfamily));
  CatCList* functions = SearchSysCacheList1(AMPROCNUM, ObjectIdGetDatum(form->opcfamily));
  bool good = CheckOperators(operators, form->opcintype, NameStr(form->opcname));
  good = CheckFunctions(functions, NameStr(form->opcname)) &&
         CheckType(functions, form->opcintype, NameStr(form->opcname)) && good;
  ReleaseCatCacheList(functions);
  ReleaseCatCacheList(operators);
  ReleaseSysCache(tuple);
  return good;
}

char* vhnswbuildphasename(int64 phase) {
  switch (phase) {
    case PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE:
      return const_cast<char*>("initializing");
    case kPhaseLoad:
      return const_cast<char*>("writing log");
    case kPhaseLogPages:
      return const_cast<char*>("writing WAL");
    case kPhaseEncode:
      return const_cast<char*>("encoding vectors");
    case kPhaseGraph:
      return const_cast<char*>("building graph");
    case kPhaseRepair:
      return const_cast<char*>("making nodes findable");
    case kPhaseWrite:
      return const_cast<char*>("writing segment");
    default:
      return nullptr;
  }
}

}  // namespace vecckpt

extern "C" {

PG_FUNCTION_INFO_V1(vhnsw_handler);
PGDLLEXPORT Datum vhnsw_handler(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  using namespace vecckpt;
  IndexAmRoutine* routine = makeNode(IndexAmRoutine);
  routine->amstrategies = kStrategies;
  routine->amsupport = kSupportFunctions;
  routine->amcanorderbyop = true;
  routine->amoptionalkey = true;
  routine->amparallelvacuumoptions = VACUUM_OPTION_PARALLEL_BULKDEL | VACUUM_OPTION_PARALLEL_COND_CLEANUP;
  routine->amkeytype = InvalidOid;
  routine->ambuild = vhnswbuild;
  routine->ambuildempty = vhnswbuildempty;
  routine->aminsert = vhnswinsert;
  routine->ambulkdelete = vhnswbulkdelete;
  routine->amvacuumcleanup = vhnswvacuumcleanup;
  routine->amcostestimate = vhnswcostestimate;
  routine->amoptions = vhnswoptions;
  routine->ambuildphasename = vhnswbuildphasename;
  routine->amvalidate = vhnswvalidate;
  routine->ambeginscan = vhnswbeginscan;
  routine->amrescan = vhnswrescan;
  routine->amgettuple = vhnswgettuple;
  routine->amendscan = vhnswendscan;
  PG_RETURN_POINTER(routine);
}
}
