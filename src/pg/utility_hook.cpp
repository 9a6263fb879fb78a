// See utility_hook.hpp.

#include "pg/pg.hpp"

#include "pg/launcher.hpp"
#include "pg/shared_state.hpp"
#include "pg/utility_hook.hpp"

extern "C" {
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
}

namespace vecckpt {
namespace {

ProcessUtility_hook_type previous_hook = nullptr;

const char* TemplateOf(const CreatedbStmt* statement) {
  ListCell* cell;
  foreach (cell, statement->options) {
    auto* option = reinterpret_cast<DefElem*>(lfirst(cell));
    if (strcmp(option->defname, "template") == 0 && option->arg != nullptr) return defGetString(option);
  }
  return "template1";
}

bool MovesDatabase(const AlterDatabaseStmt* statement) {
  ListCell* cell;
  foreach (cell, statement->options)
    if (strcmp(reinterpret_cast<DefElem*>(lfirst(cell))->defname, "tablespace") == 0) return true;
  return false;
}

// The database that a statement needs for itself; InvalidOid for all other statements.
Oid DatabaseNeeded(Node* statement) {
  const char* name = nullptr;
  switch (nodeTag(statement)) {
    case T_DropdbStmt:
      name = reinterpret_cast<DropdbStmt*>(statement)->dbname;
      break;
    case T_CreatedbStmt:
      name = TemplateOf(reinterpret_cast<CreatedbStmt*>(statement));
      break;
    case T_AlterDatabaseStmt:
      if (MovesDatabase(reinterpret_cast<AlterDatabaseStmt*>(statement)))
        name = reinterpret_cast<AlterDatabaseStmt*>(statement)->dbname;
      break;
    case T_RenameStmt:
      if (reinterpret_cast<RenameStmt*>(statement)->renameType == OBJECT_DATABASE)
        name = reinterpret_cast<RenameStmt*>(statement)->subname;
      break;
    default:
      break;
  }
  return name == nullptr ? InvalidOid : get_database_oid(name, true);
}

bool MayCreateDatabases() {
  if (superuser()) return true;
  HeapTuple role = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
  if (!HeapTupleIsValid(role)) return false;
  bool creates = reinterpret_cast<Form_pg_authid>(GETSTRUCT(role))->rolcreatedb;
  ReleaseSysCache(role);
  return creates;
}

bool IsTemplate(Oid database) {
  HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
  if (!HeapTupleIsValid(tuple)) return false;
  bool is_template = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple))->datistemplate;
  ReleaseSysCache(tuple);
  return is_template;
}

// Only for a statement that its user may run, here and now, a builder leaves: else one who may not could keep
// it from ever finishing a graph. These are PostgreSQL's own checks (commands/dbcommands.c); the statement
// itself raises the error.
bool MayDisturb(Node* statement, Oid database, bool top_level) {
  bool owner = superuser() || OwnsDatabase(database, GetUserId());
  bool rename = IsA(statement, RenameStmt);
  if (XactReadOnly || (!rename && IsInTransactionBlock(top_level))) return false;
  if (IsA(statement, CreatedbStmt)) return MayCreateDatabases() && (owner || IsTemplate(database));
  if (!owner || database == MyDatabaseId) return false;
  if (rename) return MayCreateDatabases();
  return !IsA(statement, DropdbStmt) || !IsTemplate(database);
}

void RunUtility(PlannedStmt* statement, const char* query, bool read_only_tree, ProcessUtilityContext context,
                ParamListInfo params, QueryEnvironment* environment, DestReceiver* receiver,
                QueryCompletion* completion) {
  Node* node = statement->utilityStmt;
  Oid database = DatabaseNeeded(node);
  bool disturb = OidIsValid(database) && MayDisturb(node, database, context == PROCESS_UTILITY_TOPLEVEL);
  bool checkpoint = IsA(node, CheckPointStmt);
  bool drop = IsA(node, DropdbStmt);
  if (disturb) AskBuilderToLeave(database);
  auto next = previous_hook != nullptr ? previous_hook : standard_ProcessUtility;
  PG_TRY();
  { next(statement, query, read_only_tree, context, params, environment, receiver, completion); }
  PG_FINALLY();
  {
    if (disturb && !drop) LetBuilderReturn(database);
  }
  PG_END_TRY();
  // Its entries would have a builder started for a database that is gone; its files are the sweep's.
  if (drop && OidIsValid(database)) ForgetDatabase(database);
  if (checkpoint) PersistAllAndWait();
}

}  // namespace

void InstallUtilityHook() {
  previous_hook = ProcessUtility_hook;
  ProcessUtility_hook = RunUtility;
}

}  // namespace vecckpt
