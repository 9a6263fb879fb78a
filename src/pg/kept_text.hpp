// Texts that processes of one database leave for those of others, which may have another encoding.
//
// Such a text is kept as its writer has it, with the writer's encoding. Where it is shown it is whole
// characters of the reader's encoding: as it is if the encodings are the same, else with \xNN for each byte
// that is not ASCII. (The bytes of a character that is not ASCII are none of ASCII in any encoding of a
// database.)

#pragma once

#include "pg/pg.hpp"

namespace vecckpt {

#ifdef VECCKPT_FAULT_POINTS
constexpr size_t kKeptBytes = 70;  // so that a test has a text cut off
#else
constexpr size_t kKeptBytes = 200;
#endif

// In shared memory. Assignments only, so for use under a spinlock.
struct KeptText {
  int encoding;
  char text[kKeptBytes];
  void Set(const char* message);
  void Clear() { text[0] = '\0'; }
  bool empty() const { return text[0] == '\0'; }
};

// What this database can show of it, palloc'd.
char* ShowKept(const KeptText& kept);

// The name of a database, palloc'd: pg_database has it as whoever gave it had it. Our own stays as it is.
char* ShowDatabaseName(Oid database);

// How many of the first `length` bytes of a text are whole characters; all of them if the fault is not at
// their end. Raises nothing.
int WholeCharacters(int encoding, const char* text, int length);

}  // namespace vecckpt
