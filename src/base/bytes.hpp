// Small helpers for bytes: alignment, and views of typed arrays as bytes and back.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace vecckpt {

using Bytes = std::span<const std::byte>;

// `value` rounded up to a multiple of `alignment`. REQUIRES: alignment is a power of two.
constexpr uint64_t AlignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

template <typename T>
Bytes AsBytes(std::span<const T> values) {
  static_assert(std::is_trivially_copyable_v<T>);
  return std::as_bytes(values);
}

template <typename T>
constexpr bool kIsSpan = false;
template <typename T, size_t N>
constexpr bool kIsSpan<std::span<T, N>> = true;

// The bytes of one value. A view or pointer would give its own bytes, not those it refers to: refused.
template <typename T>
Bytes AsBytes(const T& value) {
  static_assert(std::is_trivially_copyable_v<T> && !kIsSpan<T> && !std::is_pointer_v<T>);
  return std::as_bytes(std::span<const T>(&value, 1));
}

// The typed array that starts at `bytes`. REQUIRES: the bytes are aligned for T; a remainder is left out.
template <typename T>
std::span<const T> ViewAs(Bytes bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
}

}  // namespace vecckpt
