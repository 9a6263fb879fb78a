// See kept_text.hpp.

#include "pg/kept_text.hpp"

extern "C" {
#include "commands/dbcommands.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
}

namespace vecckpt {
namespace {

char* Escape(const char* text, int length) {
  StringInfoData escaped;
  initStringInfo(&escaped);
  for (int i = 0; i < length; i++) {
    auto byte = static_cast<unsigned char>(text[i]);
    if (IS_HIGHBIT_SET(byte))
      appendStringInfo(&escaped, "\\x%02x", byte);
    else
      appendStringInfoChar(&escaped, text[i]);
  }
  return escaped.data;
}

bool IsValid(int encoding, const char* text, int length) {
  return pg_encoding_verifymbstr(encoding, text, length) == length;
}

}  // namespace

void KeptText::Set(const char* message) {
  encoding = GetDatabaseEncoding();
  strlcpy(text, message, sizeof(text));
}

char* ShowKept(const KeptText& kept) {
  int length = static_cast<int>(strlen(kept.text));
  if (length + 1 == sizeof(kept.text)) length = WholeCharacters(kept.encoding, kept.text, length);
  bool as_it_is = kept.encoding == GetDatabaseEncoding() && IsValid(kept.encoding, kept.text, length);
  return as_it_is ? pnstrdup(kept.text, static_cast<Size>(length)) : Escape(kept.text, length);
}

char* ShowDatabaseName(Oid database) {
  char* name = get_database_name(database);
  if (name == nullptr || database == MyDatabaseId) return name;
  int length = static_cast<int>(strlen(name));
  return IsValid(GetDatabaseEncoding(), name, length) ? name : Escape(name, length);
}

int WholeCharacters(int encoding, const char* text, int length) {
  int valid = pg_encoding_verifymbstr(encoding, text, length);
  return length - valid < pg_encoding_max_length(encoding) ? valid : length;
}

}  // namespace vecckpt
