// Words that every layer above shares: metric, element type, code kind.
// The values are written to disk; never renumber them.

#pragma once

#include <cstddef>
#include <cstdint>

namespace vecckpt {

enum class Metric : uint8_t { kL2 = 1, kInnerProduct = 2, kCosine = 3, kL1 = 4 };
// Of the vectors in the log. What segments keep depends on the code kind alone.
enum class ElementType : uint8_t { kFloat32 = 1, kFloat16 = 2 };
// kNone: float32 codes, no quantization. kSq8, kSq4: 8 and 4 bits a dimension.
enum class CodeKind : uint8_t { kNone = 1, kSq8 = 2, kSq4 = 3 };

constexpr bool IsElementType(uint8_t value) {
  return value >= static_cast<uint8_t>(ElementType::kFloat32) &&
         value <= static_cast<uint8_t>(ElementType::kFloat16);
}
constexpr bool IsCodeKind(uint8_t value) {
  return value >= static_cast<uint8_t>(CodeKind::kNone) && value <= static_cast<uint8_t>(CodeKind::kSq4);
}

constexpr uint32_t kMaxDims = 16000;

// A float16 value (IEEE 754 binary16): 1 bit sign, 5 bits exponent, 10 bits mantissa.
struct Half {
  uint16_t bits;
};

constexpr size_t ElementBytes(ElementType type) {
  return type == ElementType::kFloat16 ? sizeof(Half) : sizeof(float);
}

// Ends a list of links that is not full.
constexpr uint32_t kNoNode = 0xFFFFFFFFu;

}  // namespace vecckpt
