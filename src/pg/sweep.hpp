// The sweep removes files that nothing refers to, and entries whose relation is gone. So DROP, rollback and
// crashes need no hooks. The launcher alone does it, from the first consistent moment on.

#pragma once

namespace vecckpt {

// One pass over the entries and, unless it is another server's, the files directory. Files of strange names
// are left alone. Also notices files that are referred to and no longer there, and sets them aside.
void SweepFiles();

}  // namespace vecckpt
