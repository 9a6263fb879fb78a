// See catalog.hpp.

#include "pg/catalog.hpp"

#include "pg/shared_state.hpp"

extern "C" {
#include "access/heapam.h"
#include "catalog/pg_am.h"
}

namespace vecckpt {
namespace {

// Whether `oid` is a valid index of the same kind on the same table.
bool TakesPlaceOf(Oid oid, Relation index) {
  HeapTuple relation = SearchSysCache1(RELOID, ObjectIdGetDatum(oid));
  HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(oid));
  bool takes = false;
  if (HeapTupleIsValid(relation) && HeapTupleIsValid(tuple)) {
    auto* form = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
    takes = form->indisvalid && form->indrelid == index->rd_index->indrelid &&
            reinterpret_cast<Form_pg_class>(GETSTRUCT(relation))->relam == index->rd_rel->relam;
  }
  if (HeapTupleIsValid(tuple)) ReleaseSysCache(tuple);
  if (HeapTupleIsValid(relation)) ReleaseSysCache(relation);
  return takes;
}

}  // namespace

int ListVhnswIndexes(Oid** oids) {
  int count = 0;
  int room = 64;
  *oids = static_cast<Oid*>(palloc(sizeof(Oid) * room));
  Oid access_method = get_am_oid("vhnsw", true);
  if (!OidIsValid(access_method)) return 0;
  Relation classes = table_open(RelationRelationId, AccessShareLock);
  TableScanDesc scan = table_beginscan_catalog(classes, 0, nullptr);
  while (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection)) {
    auto* form = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
    if (form->relkind != RELKIND_INDEX || form->relam != access_method ||
        form->relpersistence == RELPERSISTENCE_TEMP)
      continue;
    if (count == room) *oids = static_cast<Oid*>(repalloc(*oids, sizeof(Oid) * (room *= 2)));
    (*oids)[count++] = form->oid;
  }
  table_endscan(scan);
  table_close(classes, AccessShareLock);
  return count;
}

Relation OpenForLooking(Oid oid) {
  if (!ConditionalLockRelationOid(oid, AccessShareLock)) return nullptr;
  Relation index = nullptr;
  if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(oid))) index = relation_open(oid, NoLock);
  bool readable = index != nullptr && index->rd_rel->relkind == RELKIND_INDEX &&
                  index->rd_rel->relpersistence != RELPERSISTENCE_TEMP &&
                  !(RecoveryInProgress() && index->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED);
  if (readable) return index;
  if (index != nullptr)
    relation_close(index, AccessShareLock);
  else
    UnlockRelationOid(oid, AccessShareLock);
  return nullptr;
}

void RaiseGone(Oid oid) {
  ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist", oid),
                  OidIsValid(oid)
                      ? errhint("It was dropped, or replaced by REINDEX CONCURRENTLY: give its name again.")
                      : 0));
}

void RequireVhnswIndex(Oid oid, const char* partitions) {
  HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(oid));
  if (!HeapTupleIsValid(tuple)) RaiseGone(oid);
  auto* form = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
  if (form->relkind != RELKIND_INDEX || form->relam != get_am_oid("vhnsw", true))
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                    errmsg("\"%s\" is not a vhnsw index", NameStr(form->relname)),
                    form->relkind == RELKIND_PARTITIONED_INDEX ? errhint("%s", partitions) : 0));
  ReleaseSysCache(tuple);
}

void RequireContents(Relation index) {
  if (index->rd_rel->relpersistence != RELPERSISTENCE_UNLOGGED || !RecoveryInProgress()) return;
  ereport(ERROR,
          (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
           errmsg("unlogged index \"%s\" has no contents during recovery", RelationGetRelationName(index)),
           errhint("Ask the primary.")));
}

Oid SuccessorOf(Relation index) {
  if (index->rd_index->indisvalid) return InvalidOid;
  constexpr char kSuffix[] = "_ccold";
  constexpr size_t kSuffixLength = sizeof(kSuffix) - 1;
  const char* name = RelationGetRelationName(index);
  size_t length = strlen(name);
  while (length > 0 && isdigit(static_cast<unsigned char>(name[length - 1]))) length--;
  if (length <= kSuffixLength || strncmp(name + length - kSuffixLength, kSuffix, kSuffixLength) != 0)
    return InvalidOid;
  Oid oid = get_relname_relid(pnstrdup(name, length - kSuffixLength), RelationGetNamespace(index));
  if (!OidIsValid(oid) || !TakesPlaceOf(oid, index)) return InvalidOid;
  ereport(NOTICE, (errmsg("index \"%s\" has been replaced by \"%s\", which is taken instead", name,
                          get_rel_name(oid))));
  return oid;
}

Oid TableOf(Oid index) {
  Oid table = IndexGetRelation(index, true);
  if (!OidIsValid(table)) RaiseGone(index);
  return table;
}

Relation OpenNow(Oid oid) {
  for (;;) {
    Relation index = try_relation_open(oid, AccessShareLock);
    if (index == nullptr) RaiseGone(oid);
    Oid successor = SuccessorOf(index);
    if (!OidIsValid(successor)) return index;
    relation_close(index, AccessShareLock);
    oid = successor;
  }
}

Relation OpenForReading(Oid oid, const char* partitions) {
  if (shared == nullptr)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("vecckpt must be preloaded to look into vhnsw indexes"),
                    errhint("Add vecckpt to shared_preload_libraries and restart the server.")));
  RequireVhnswIndex(oid, partitions);
  // The table first, as every statement locks them.
  table_close(table_open(TableOf(oid), AccessShareLock), NoLock);
  Relation index = OpenNow(oid);
  if (!index->rd_index->indisvalid)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("index \"%s\" is not valid", RelationGetRelationName(index)),
                    errhint("Please REINDEX or drop it.")));
  RequireContents(index);
  return index;
}

}  // namespace vecckpt
