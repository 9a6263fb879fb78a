// Whether this processor has the instructions that add up products of bytes without saturation, which
// Highway 1.0 lacks. x86-64 only.

#pragma once

#include <cpuid.h>

namespace vecckpt {

inline bool HasAvx512Vnni() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vnni");
}

// Compilers do not all know its name. AVX2's answer includes that the system saves the registers.
inline bool HasAvxVnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) &&
         (eax & 1u << 4) != 0;
}

}  // namespace vecckpt
