// What the system catalogs know of vhnsw indexes.

#pragma once

#include "pg/pg.hpp"

namespace vecckpt {

// The OIDs of this database's vhnsw indexes that have storage, palloc'd. REQUIRES: a transaction.
int ListVhnswIndexes(Oid** oids);

}  // namespace vecckpt
