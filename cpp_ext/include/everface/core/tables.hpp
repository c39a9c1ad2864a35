// A room's kernel tables: a function in the namespace of each instruction set that the room is compiled for (see
// cmake/kernels.cmake), and the choice among them.
#pragma once

#include "everface/core/isa.hpp"

// USE(namespace, member of Isa, ...) for each set: bfloat16 has one of its own.
#if defined(EVERFACE_X86_KERNELS)
#define EVERFACE_FLOAT_SETS(USE, ...) \
  USE(base, kBase, __VA_ARGS__) USE(avx2, kAvx2, __VA_ARGS__) USE(avx512, kAvx512, __VA_ARGS__)
#define EVERFACE_BF16_SETS(USE, ...) EVERFACE_FLOAT_SETS(USE, __VA_ARGS__) USE(avx512bf16, kAvx512Bf16, __VA_ARGS__)
#else
#define EVERFACE_FLOAT_SETS(USE, ...) USE(base, kBase, __VA_ARGS__)
#define EVERFACE_BF16_SETS EVERFACE_FLOAT_SETS
#endif

#define EVERFACE_DECLARE_TABLE(isa, value, Table, function) \
  namespace isa {                                           \
  Table function();                                         \
  }
#define EVERFACE_TABLE_OF_SET(isa, value, Table, function) {Isa::value, isa::function},

// Declares Table function() of each set, and defines choose_function(), which calls the one that the processor runs.
#define EVERFACE_TABLES(SETS, Table, function)  \
  SETS(EVERFACE_DECLARE_TABLE, Table, function) \
  static Table choose_##function() { return choose_kernels<Table>({SETS(EVERFACE_TABLE_OF_SET, Table, function)}); }

// Besides, kernels<E>(), declared before: the table of this process.
#define EVERFACE_KERNELS(SETS, E, function)              \
  EVERFACE_TABLES(SETS, Kernels<E>, function)            \
  template <>                                            \
  const Kernels<E>& kernels<E>() {                       \
    static const Kernels<E> table = choose_##function(); \
    return table;                                        \
  }
