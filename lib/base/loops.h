/*
 * loops.h - how the loops of kernels are compiled
 *
 * UNROLL stands before loops over vectors that are to stay in registers; their counts are constants
 * once inlined.  DS_KERN_ROLLED leaves them as they are: instrumented by a sanitizer the unrolled
 * ones take a compiler minutes and a gigabyte a file.
 */
#ifndef DS_BASE_LOOPS_H
#define DS_BASE_LOOPS_H

#define INLINE static inline __attribute__((always_inline))

#ifdef DS_KERN_ROLLED
#define UNROLL
#elif defined __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#endif
