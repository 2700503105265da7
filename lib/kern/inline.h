/* inline.h - for loops whose counts are constants once functions are inlined */
#ifndef DS_KERN_INLINE_H
#define DS_KERN_INLINE_H

#define INLINE static inline __attribute__((always_inline))
/* Before a loop over vectors that are to stay in registers. */
#ifdef V16_PLAIN /* plain C: there is nothing to win */
#define UNROLL
#elif defined __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#endif
