// A builder: one background worker for a database that has work. See builder.cpp.

#pragma once

#include "pg/shared_state.hpp"

namespace vecckpt {

// True if an entry needs a builder now. REQUIRES: the entry's mutex is held.
bool BuilderWanted(IndexEntry* entry, Moment now);

}  // namespace vecckpt

extern "C" PGDLLEXPORT void vecckpt_builder_main(Datum argument);
