/* Rows of bytes, copied or filled: parts of the move table, and what its other parts share. */
#ifndef IFD_KERNELS_MOVE_ROWS_H
#define IFD_KERNELS_MOVE_ROWS_H

#include "kernels/move/move.h"
#include "kernels/simd.h"

/* Elements where they lie: data may be aligned less than the runs that the plan calls elements. */
#define UNALIGNED __attribute__((aligned(1), may_alias))
typedef uint8_t e1;
typedef uint16_t UNALIGNED e2;
typedef uint32_t UNALIGNED e4;
typedef uint64_t UNALIGNED e8;
typedef uint64_t e16 __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t e32 __attribute__((vector_size(32), aligned(1), may_alias));
typedef struct {
  e32 half[2];
} e64;

/* Short runs by pieces that overlap: calling memcpy would cost more. It copies long ones by rep movsb, which
 * some processors (Zen 3 and 4) do seven times slower where both sides begin alike on their pages. */
#define AT(type, p)     (*(type *)(p))
#define MOVE(type, at)  AT(type, to + (at)) = AT(const type, from + (at))
#define MOVE_ENDS(type) MOVE(type, 0), MOVE(type, n - sizeof(type))
IFD_INLINE void copy_run(char *restrict to, const char *restrict from, size_t n) {
  if (n >= 64) {
    for (size_t i = 64; i < n; i += 64) MOVE(e64, i - 64);
    MOVE(e64, n - 64);
  } else if (n >= 32)
    MOVE_ENDS(e32);
  else if (n >= 16)
    MOVE_ENDS(e16);
  else if (n >= 8)
    MOVE_ENDS(e8);
  else if (n >= 4)
    MOVE_ENDS(e4);
  else
    for (size_t i = 0; i < n; i++) to[i] = from[i];
}

/* As the table has them. */
void IFD_K(ifd_move_gather)(const ifd_k_gather *g, void *to, const void *from, const void *index, int64_t n,
                            bool *failed);
void IFD_K(ifd_move_copy_rows)(char *to, int64_t to_stride, const char *from, int64_t from_stride,
                               int64_t n_rows, size_t n);
void IFD_K(ifd_move_fill_rows)(char *to, int64_t to_stride, const char *from, int64_t from_stride,
                               int64_t n_rows, size_t size, int64_t n);

#endif
