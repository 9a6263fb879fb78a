// What a log may lack for old snapshots.
//
// A build leaves out row versions that are dead to it: a plain one what is dead to every snapshot that the
// primary knows of, a concurrent one whatever its snapshot does not see. On a primary no snapshot is left
// that sees more by the time the index is used: the server waits for them. A standby's can be older: replay
// of the catalogs makes the index known to it all the same, and an index of the server's own would then
// return less without a word.
//
// So the meta page remembers the transaction that ended the build, and before which transaction a row must
// have been deleted to be left out. For a snapshot taken in recovery that sees the first one as running
// still, and that may see rows deleted before the second one, nothing is promised. A snapshot taken later
// sees that the first one has ended, whatever else holds back its xmin, and is served.

#pragma once

#include "pg/log_format.hpp"

namespace vecckpt {

// Notes a plain build of a log on its meta page, which nobody else sees yet. REQUIRES: the heap has been
// read.
void NoteBuild(MetaPage* meta, Relation heap);

// Notes a concurrent build, when the server compares a new index with its table. That it does by
// ambulkdelete, with the snapshot whose rows it will then insert. Does nothing in a VACUUM.
void NoteValidation(Relation index);

// Whether `snapshot` may see rows that the log of this meta page lacks.
bool MayLackRows(const MetaPage& meta, Snapshot snapshot);

// Raises an error if so.
void RequireAllRows(Relation index, const MetaPage& meta, Snapshot snapshot);

}  // namespace vecckpt
