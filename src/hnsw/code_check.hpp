// Whether a code can be that of a vector.

#pragma once

#include <cstddef>

#include "hnsw/codec.hpp"

namespace vecckpt {

// True if `code` lies as near to the vector as it says itself (Codec::CodeError), roundings aside: always for
// the vector's own code, encoded or transcoded. False for a code that is damaged, or another vector's, unless
// that is as near. `scratch` has room for dims() values. REQUIRES: the vector is finite, non-zero under
// cosine.
bool CodeStandsFor(const Codec& codec, const std::byte* code, const float* vector, float* scratch);

}  // namespace vecckpt
