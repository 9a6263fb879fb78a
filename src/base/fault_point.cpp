// See fault_point.hpp. Plain system calls: this runs in the postmaster, in backends and in compute threads.

#include "base/fault_point.hpp"

#ifdef VECCKPT_FAULT_POINTS

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>

namespace vecckpt {

namespace {

constexpr useconds_t kLookMicroseconds = 5000;

// For the tests, which read it out of the library and compare it with their table.
#define VECCKPT_FAULT_POINT_TEXT(name) #name " "
[[gnu::used]] const char kFaultPointNames[] =
    "fault points: " VECCKPT_FAULT_POINT_LIST(VECCKPT_FAULT_POINT_TEXT);

#define VECCKPT_FAULT_POINT_NAME(name) #name,
constexpr const char* kNames[] = {VECCKPT_FAULT_POINT_LIST(VECCKPT_FAULT_POINT_NAME)};

// The first line of a file; empty if there is none.
std::string ReadLine(const std::string& path) {
  char text[256];
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  const ssize_t got = read(fd, text, sizeof(text));
  close(fd);
  if (got <= 0) return {};
  const std::string line(text, static_cast<size_t>(got));
  return line.substr(0, line.find('\n'));
}

void Trace(const char* name, const std::string& detail) {
  const int fd = open("fault_points/trace", O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd < 0) return;
  const std::string line = std::string(name) + " " + detail + "\n";
  [[maybe_unused]] const ssize_t written = write(fd, line.data(), line.size());
  close(fd);
}

void Wait(const std::string& path) {
  const pid_t parent = getppid();
  const std::string waiting = path + ".waiting";
  if (rename(path.c_str(), waiting.c_str()) != 0) return;
  while (access(waiting.c_str(), F_OK) == 0) {
    if (getppid() != parent) _exit(1);  // the server is gone
    usleep(kLookMicroseconds);
  }
}

}  // namespace

Status PassFaultPoint(FaultPoint point, const std::string& detail) {
  const char* name = kNames[static_cast<size_t>(point)];
  const std::string path = std::string("fault_points/") + name;
  Trace(name, detail);
  const std::string line = ReadLine(path);
  const std::string action = line.substr(0, line.find(' '));
  if (action.empty()) return Status::Ok();
  if (action.size() < line.size() && detail.find(line.substr(action.size() + 1)) == std::string::npos) {
    return Status::Ok();
  }
  if (action == "wait") {
    Wait(path);
    return Status::Ok();
  }
  // Of all who come by, the one that takes the file away.
  if (action != "fail" && unlink(path.c_str()) != 0) return Status::Ok();
  if (action == "crash") kill(getpid(), SIGKILL);
  return Status(StatusCode::kIoError, std::string("fault point ") + name + " " + detail);
}

}  // namespace vecckpt

#endif
