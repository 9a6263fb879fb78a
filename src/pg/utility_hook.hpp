// What vecckpt does around utility commands: CHECKPOINT also makes vector indexes durable, and commands that
// need a database for themselves first ask its builder to leave.

#pragma once

namespace vecckpt {

void InstallUtilityHook();

}  // namespace vecckpt
