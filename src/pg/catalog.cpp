// See catalog.hpp.

#include "pg/catalog.hpp"

extern "C" {
#include "access/heapam.h"
#include "catalog/pg_am.h"
}

namespace vecckpt {

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

void RequireVhnswIndex(Oid oid, const char* partitions) {
  HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(oid));
  if (!HeapTupleIsValid(tuple))
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist", oid)));
  auto* form = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
  if (form->relkind != RELKIND_INDEX || form->relam != get_am_oid("vhnsw", true))
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                    errmsg("\"%s\" is not a vhnsw index", NameStr(form->relname)),
                    form->relkind == RELKIND_PARTITIONED_INDEX ? errhint("%s", partitions) : 0));
  ReleaseSysCache(tuple);
}

}  // namespace vecckpt
