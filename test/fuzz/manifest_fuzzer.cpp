// ParseManifest takes any bytes: it gives a manifest or a Status. What it accepts survives being written
// again. Each input is also tried with a right checksum, which mutation alone would hardly ever find.

#include <cstdint>
#include <cstring>
#include <vector>

#include "base/checksum.hpp"
#include "fuzzing.hpp"
#include "segment/manifest.hpp"

namespace {

void Try(vecckpt::Bytes bytes) {
  vecckpt::Result<vecckpt::Manifest> manifest = vecckpt::ParseManifest(bytes, "fuzz");
  if (!manifest.ok()) return;
  const std::vector<std::byte> again = vecckpt::SerializeManifest(*manifest);
  EXPECT(vecckpt::ParseManifest(again, "again").ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const vecckpt::Bytes bytes(reinterpret_cast<const std::byte*>(data), size);
  Try(bytes);
  if (size < sizeof(uint64_t)) return 0;
  std::vector<std::byte> sealed(bytes.begin(), bytes.end());
  const size_t body = size - sizeof(uint64_t);
  const uint64_t checksum = vecckpt::Checksum(bytes.first(body));
  std::memcpy(sealed.data() + body, &checksum, sizeof(checksum));
  Try(sealed);
  return 0;
}
