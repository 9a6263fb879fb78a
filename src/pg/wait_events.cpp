// See wait_events.hpp.

#include "pg/wait_events.hpp"

namespace vecckpt {

uint32 WaitEventOf(Wait wait) {
  static const char* const kNames[] = {"VecckptLauncherMain", "VecckptBuilderMain", "VecckptCreateIndex",
                                       "VecckptIndexCheck",   "VecckptCheckpoint",  "VecckptBuilderExit"};
  static_assert(lengthof(kNames) == static_cast<size_t>(Wait::kCount));
  static uint32 known[lengthof(kNames)];  // 0: not asked for yet in this process
  int i = static_cast<int>(wait);
  if (known[i] == 0) known[i] = NamedWaitEvent(kNames[i]);
  return known[i];
}

}  // namespace vecckpt
